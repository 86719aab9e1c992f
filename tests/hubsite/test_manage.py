"""The command line refuses a bad configuration in one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import MANAGE

KEY = "k1:" + "A" * 43
SECRET = "correct-horse-battery-staple-0123456789"


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
    ("environ", "said"),
    [
        ({}, "DJANGO_SECRET_KEY: is missing"),
        ({"DJANGO_SECRET_KEY": "short"}, "DJANGO_SECRET_KEY: is missing, short"),
        (
            {"DJANGO_SECRET_KEY": "correct-horse-battery-staple-0123456789"},
            "HUB_MASTER_KEYS: is not set",
        ),
        (
            {"DJANGO_SECRET_KEY": SECRET, "HUB_MASTER_KEYS": KEY},
            "HUB_MASTER_KEYS: key k1 is a template",
        ),
    ],
)
def test_serve_refuses_to_start_without_keys_of_its_own(
    tmp_path: Path, environ: dict[str, str], said: str
) -> None:
    done = run(tmp_path, "serve", **environ)
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


def test_serve_wants_a_database_that_is_up_to_date(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--port", "0", DEBUG="1")
    assert done.returncode == 1
    assert "manage.py migrate" in done.stderr
