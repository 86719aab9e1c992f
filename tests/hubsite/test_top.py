"""``manage.py top``: what it fetches, the rates it makes of two looks, and its exit codes."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rich.console import Console

from hubsite import top
from hubsite.management.commands import top as command
from hubsite.top import Unreachable, fetch, rates, screen
from tests.hubsite.test_vitals import process

Serve = Callable[..., str]


def vitals(at_s: float = 10.0, **changes: Any) -> dict[str, Any]:
    well = {
        "server_time": int(at_s * 1000),
        "degraded": [],
        "silent_processes": 0,
        "processes": [process("n_1", memory_bytes=64 * 1024 * 1024, since_ms=0)],
        "connections": 2,
        "namespaces": {"/": 2, "/agent": 1},
        "people": {"total": 2, "states": {"active": 1, "idle": 1}},
        "rooms": {"lobby": 2},
        "jobs": {"queued": 3, "dispatched": 0, "running": 1},
        "builds": {"queued": 0, "running": 1},
        "engines": [{"name": "[red]forge[/red]", "state": "busy", "busy": 1, "capacity": 4}],
        "waiting_jobs": 3,
        "violations": {"per_minute": 5, "kinds": {"malformed": 5}},
    }
    return {**well, **changes}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer every request with a status and a body; returns the address."""
    servers: list[HTTPServer] = []

    def start(body: object, status: int = 200, *, token: str = "") -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = not token or self.headers["Authorization"] == f"Bearer {token}"
                self.send_response(status if known else 403)
                self.end_headers()
                self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

            def log_message(self, *_args: Any) -> None: ...

        server = HTTPServer(("127.0.0.1", 0), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def shown(vitals: dict[str, Any], **per_second: float) -> str:
    out = io.StringIO()
    all_rates = {**dict.fromkeys(top.COUNTERS, 0.0), **per_second}
    Console(file=out, width=140).print(screen("http://hub", vitals, all_rates))
    return out.getvalue()


# -- fetching


def test_the_vitals_are_fetched_with_the_token(serve: Serve) -> None:
    assert fetch(serve(vitals(), token="letmein") + "/", "letmein") == vitals()


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({}, 403, "HTTP 403, set HUB_METRICS_TOKEN"),
        ({}, 500, "HTTP 500"),
        (b"<html>", 200, "Expecting value"),
        ({"processes?": 1}, 200, "this is no hub"),
        ([], 200, "this is no hub"),
    ],
)
def test_who_does_not_tell_is_named_with_the_reason(
    serve: Serve, body: object, status: int, reason: str
) -> None:
    with pytest.raises(Unreachable, match=reason):
        fetch(serve(body, status))


def test_where_nobody_listens_there_is_no_hub() -> None:
    with pytest.raises(Unreachable, match="refused"):
        fetch("http://127.0.0.1:1")


# -- rates


def test_rates_are_differences_per_second_of_processes_seen_twice() -> None:
    before = vitals(10, processes=[process("n_1", sent=100), process("n_gone", sent=9_000)])
    after = vitals(12, processes=[process("n_1", sent=150), process("n_new", sent=7_000)])
    assert rates(before, after) == {"received": 0.0, "sent": 25.0, "delivered": 0.0}


def test_two_looks_at_the_same_time_make_no_rate() -> None:
    assert rates(vitals(), vitals()) == {"received": 0.0, "sent": 0.0, "delivered": 0.0}


# -- the screen


def test_the_screen_shows_each_part() -> None:
    text = shown(vitals(), sent=25.0)
    for part in ("all well", "n_1", "64", "0:00:10", "sent 25.0/s", "agent", "#lobby", "malformed"):
        assert part in text
    assert "[red]forge[/red]" in text
    assert "jobs running" in text


def test_the_screen_names_what_is_degraded() -> None:
    ill = [process("n_1", draining=True), process("n_2", bus_healthy=False, state_degraded=True)]
    text = shown(vitals(degraded=["draining"], processes=ill, silent_processes=2))
    assert "DEGRADED: draining" in text
    assert "no channel layer" in text
    assert "2 living process(es) did not answer" in text


def test_the_screen_can_do_without_the_database() -> None:
    none = dict.fromkeys(("jobs", "builds", "engines", "waiting_jobs", "violations"))
    assert shown(vitals(**none)).count("the database does not answer") == 3


# -- the command


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the hub answers, look by look; nothing waits between two."""
    answers: list[Any] = []

    def answer(_url: str, _token: str) -> dict[str, Any]:
        said = answers.pop(0)
        if isinstance(said, BaseException):
            raise said
        return said  # type: ignore[no-any-return]  # what the test has put there

    monkeypatch.setattr(command, "fetch", answer)
    monkeypatch.setattr(command.time, "sleep", lambda _seconds: None)
    return answers


def run(*options: str) -> str:
    out = io.StringIO()
    call_command("top", *options, stdout=out)
    return out.getvalue()


def test_json_is_one_object_with_rates(looks: list[Any]) -> None:
    later = vitals(11, processes=[process("n_1", sent=30)])
    looks.extend([vitals(10), later])
    said = json.loads(run("--json"))
    assert said == {**later, "rates": {"received": 0.0, "sent": 10.0, "delivered": 0.0}}


def test_once_is_one_screen(looks: list[Any]) -> None:
    looks.extend([vitals(10), vitals(11)])
    assert "all well" in run("--once")


@pytest.mark.parametrize("option", ["--json", "--once"])
def test_a_degraded_hub_is_exit_code_1(looks: list[Any], option: str) -> None:
    looks.extend([vitals(10), vitals(11, degraded=["database"])])
    with pytest.raises(SystemExit) as ended:
        run(option)
    assert ended.value.code == 1


@pytest.mark.parametrize("option", ["--json", "--once"])
def test_no_hub_is_exit_code_2(looks: list[Any], option: str) -> None:
    looks.append(Unreachable("http://hub", "gone"))
    with pytest.raises(CommandError, match="gone") as ended:
        run(option)
    assert ended.value.returncode == 2


def test_an_interval_of_nothing_is_refused(looks: list[Any]) -> None:
    with pytest.raises(CommandError, match="above zero"):
        run("--every", "0")


def test_live_it_goes_on_without_a_hub_and_ends_with_ctrl_c(
    looks: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=140, height=40)
    monkeypatch.setattr(command.Command, "_console", lambda _self: terminal)
    looks.extend([vitals(10), Unreachable("http://hub", "away"), vitals(12), KeyboardInterrupt()])
    run()
    said = terminal.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert "asking again" in said
    assert said.count("all well") == 2


def test_without_a_terminal_one_screen_is_all(looks: list[Any]) -> None:
    looks.extend([vitals(10), vitals(11)])
    assert "all well" in run()
