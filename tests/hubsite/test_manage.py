"""The command line refuses a bad configuration in one sentence."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from security.signatures import to_base64url
from tests.live import MANAGE


def run(tmp_path: Path, *command: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, str(MANAGE), *command],
        env={**inherited, "HUB_DATA_DIR": str(tmp_path), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"DJANGO_SECRET_KEY": ""}, "DJANGO_SECRET_KEY"),
        ({"DJANGO_SECRET_KEY": "short"}, "DJANGO_SECRET_KEY"),
        ({"HUB_MASTER_KEYS": ""}, "HUB_MASTER_KEYS: is not set"),
        ({"HUB_JWT_KEYS": "k1:AAAA"}, "HUB_JWT_KEYS"),
        ({"HUB_MASTER_KEYS": "k1:" + "A" * 43}, "HUB_MASTER_KEYS: key k1 is a template"),
    ],
)
def test_serve_refuses_to_start_without_keys_of_its_own(
    tmp_path: Path, wrong: dict[str, str], said: str
) -> None:
    right = {
        "DJANGO_SECRET_KEY": "correct-horse-battery-staple-0123456789",
        "HUB_MASTER_KEYS": f"k1:{to_base64url(secrets.token_bytes(32))}",
        "HUB_JWT_KEYS": f"k1:{to_base64url(secrets.token_bytes(32))}",
    }
    done = run(tmp_path, "serve", **{**right, **wrong})
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("The hub does not start. ")
    assert said in sentence
    assert not (tmp_path / "development_keys.json").exists()


def test_a_setting_of_the_wrong_kind_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "migrate", HUB_MESSAGES_PER_S="fast")
    assert done.returncode == 1
    assert "HUB_MESSAGES_PER_S must be a number of zero or more, not 'fast'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_on_an_empty_database_says_so_in_one_sentence(tmp_path: Path) -> None:
    done = run(tmp_path, "service", "list")
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert "migrate" in sentence


def test_serve_wants_a_database_that_is_up_to_date(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--port", "0", DEBUG="1")
    assert done.returncode == 1
    assert "manage.py migrate" in done.stderr


def key() -> str:
    return to_base64url(secrets.token_bytes(32))


def deployment() -> dict[str, str]:
    """The environment of docs/operations.md, "A minimal production start"."""
    return {
        "DJANGO_SECRET_KEY": key(),
        "HUB_MASTER_KEYS": f"m1:{key()}",
        "HUB_JWT_KEYS": f"j1:{key()}",
        "ALLOWED_HOSTS": "hub.example",
        "HUB_ALLOWED_ORIGINS": "https://hub.example",
        "HUB_TRUSTED_PROXIES": "127.0.0.1",
    }


def test_a_well_configured_site_has_nothing_to_be_told(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "--deploy", "--fail-level", "WARNING", **deployment())
    assert (done.returncode, done.stderr) == (0, "")
    assert "no issues" in done.stdout


BAD = {
    "DEBUG": "1",  # with a public host: hub.E005
    "WEB_CONCURRENCY": "4",  # without Redis: hub.E006
    "HUB_ALLOWED_ORIGINS": "https://hub.example/,http://hub.example",  # hub.E007, hub.W015
    "HUB_TRUSTED_PROXIES": "0.0.0.0/0",  # hub.E009
    "HUB_DRIFT_MS": "60000",  # above the services': hub.W010
    "HUB_LOGIN_FAILURES": "0",  # hub.E011
    "HUB_ENGINE_HEARTBEAT_S": "600",  # hub.E041
}


def test_a_badly_configured_site_is_refused_and_each_fault_has_its_id(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "--deploy", **{**deployment(), **BAD})
    assert done.returncode == 1
    faults = ("E005", "E006", "E007", "E009", "W010", "E011", "W015", "E041")
    assert [each for each in faults if f"(hub.{each})" not in done.stderr] == []
    assert "docs/checks.md#hube005" in done.stderr
    assert run(tmp_path, "serve", **{**deployment(), **BAD}).returncode == 1
