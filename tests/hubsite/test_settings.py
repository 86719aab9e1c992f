"""What the settings derive from the environment."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NAMES = (
    "CSRF_TRUSTED_ORIGINS",
    "SESSION_COOKIE_SECURE",
    "CSRF_COOKIE_SECURE",
    "DATABASES",
    "CHANNEL_LAYERS",
    "SECURE_SSL_REDIRECT",
    "SECURE_HSTS_SECONDS",
)
PROGRAM = f"""
import json
from hubsite import settings
print(json.dumps({{name: getattr(settings, name) for name in {NAMES!r}}}, default=str))
"""


def settings_of(tmp_path: Path, **environ: str) -> dict[str, Any]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**inherited, "HUB_DATA_DIR": str(tmp_path), "DEBUG": "1", **environ},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    settings: dict[str, Any] = json.loads(done.stdout)
    return settings


def test_cookies_are_secure_where_browsers_see_https(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, HUB_ALLOWED_ORIGINS="https://hub.example,https://b.example")
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://hub.example", "https://b.example"]
    assert settings["SESSION_COOKIE_SECURE"] is True
    assert settings["CSRF_COOKIE_SECURE"] is True


@pytest.mark.parametrize("origins", ["", "http://localhost:3000", "https://a.example,http://b"])
def test_cookies_work_over_plain_http_where_somebody_needs_it(tmp_path: Path, origins: str) -> None:
    assert settings_of(tmp_path, HUB_ALLOWED_ORIGINS=origins)["SESSION_COOKIE_SECURE"] is False


@pytest.mark.parametrize(
    ("origins", "proxies", "redirect", "hsts_s"),
    [
        ("https://hub.example", "10.0.0.1", True, 86_400),
        ("https://hub.example", "", False, 86_400),  # nobody could say that a browser uses TLS
        ("http://hub.example", "10.0.0.1", False, 0),
        ("", "10.0.0.1", False, 0),
    ],
)
def test_pages_move_to_tls_where_browsers_have_it_and_a_proxy_can_say_so(
    tmp_path: Path, origins: str, proxies: str, redirect: bool, hsts_s: int
) -> None:
    settings = settings_of(tmp_path, HUB_ALLOWED_ORIGINS=origins, HUB_TRUSTED_PROXIES=proxies)
    assert (settings["SECURE_SSL_REDIRECT"], settings["SECURE_HSTS_SECONDS"]) == (redirect, hsts_s)


def test_sqlite_waits_for_its_lock_from_the_start_of_a_transaction(tmp_path: Path) -> None:
    options = settings_of(tmp_path)["DATABASES"]["default"]["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in options["init_command"]


def test_two_variables_switch_to_postgresql_and_redis(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, DATABASE_URL="postgres://u:p@db/hub", REDIS_URL="redis://cache:6379/0"
    )
    assert settings["DATABASES"]["default"]["ENGINE"].endswith("postgresql")
    assert settings["DATABASES"]["default"]["OPTIONS"]["pool"]
    layer = settings["CHANNEL_LAYERS"]["default"]
    assert layer["BACKEND"].endswith("RedisPubSubChannelLayer")
    [host] = layer["CONFIG"]["hosts"]
    assert (host["host"], host["port"], host["db"]) == ("cache", 6379, 0)
    assert (host["socket_timeout"], host["socket_keepalive"]) == (None, True)
