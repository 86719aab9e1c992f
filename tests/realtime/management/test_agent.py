"""``manage.py agent``: what it needs to start. ``tests/end_to_end`` shows it at work."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.core.management import CommandError, call_command

SECRET = "A" * 43
HUB = "http://127.0.0.1:1"


class Refusal(BaseHTTPRequestHandler):
    """A hub on which the account is disabled."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(403)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"code": "forbidden", "message": "disabled"}).encode())

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def unwelcoming() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run(*options: str, url: str = HUB) -> None:
    call_command("agent", "--url", url, "--name", "coach", *options, stderr=io.StringIO())


@pytest.mark.parametrize(
    ("secret", "sentence"), [("", "HUB_AGENT_SECRET is not set"), ("short", "base64url")]
)
def test_without_a_usable_secret_it_says_so(
    monkeypatch: pytest.MonkeyPatch, secret: str, sentence: str
) -> None:
    monkeypatch.setenv("HUB_AGENT_SECRET", secret)
    with pytest.raises(CommandError, match=sentence) as ended:
        run()
    assert ended.value.returncode == 1


@pytest.mark.parametrize(
    "options", [("--clicks", "0"), ("--still-s", "-1"), ("--cooldown-s", "0"), ("--within-s", "0")]
)
def test_impossible_options_are_refused(
    monkeypatch: pytest.MonkeyPatch, options: tuple[str, str]
) -> None:
    monkeypatch.setenv("HUB_AGENT_SECRET", SECRET)
    with pytest.raises(CommandError, match="above zero"):
        run(*options)


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_AGENT_SECRET", SECRET)
    with pytest.raises(CommandError, match="http://"):
        run(url="hub.example")


def test_a_hub_that_refuses_the_agent_ends_it_with_one(
    monkeypatch: pytest.MonkeyPatch, unwelcoming: str
) -> None:
    monkeypatch.setenv("HUB_AGENT_SECRET", SECRET)
    with pytest.raises(CommandError, match="forbidden") as ended:
        run(url=unwelcoming)
    assert ended.value.returncode == 1
    assert SECRET not in str(ended.value)
