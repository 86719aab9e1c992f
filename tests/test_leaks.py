"""The search for secrets finds each kind of secret in each kind of place, and nothing else."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from security.signatures import service_secret, session_secret, to_base64url
from tests import leaks

MASTER, JWT = b"m" * 31 + b"!", b"j" * 31 + b"!"
SESSION = session_secret(MASTER, kid="m1", user_id="7", session_id="login-1")
SERVICE = service_secret(MASTER, kid="m1", kind="engine", name="forge", key_version=2)
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3IiwiaXNzIjoiaHViIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
SECRETS = {
    "HUB_MASTER_KEYS": to_base64url(MASTER),
    "HUB_JWT_KEYS": to_base64url(JWT),
    "DJANGO_SECRET_KEY": "d" * 43,
    "a session secret": to_base64url(SESSION),
    "a service secret": SERVICE.hex(),
    "a token": TOKEN,
    "a signature of this test": "5" * 63 + "f",
}
HARMLESS = "a" * 64 + " 2026-11-22 user:7 login-1 forge engine-name-that-is-quite-long " + "b" * 43


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data directory of a hub with one login and one engine."""
    keys = {
        "HUB_MASTER_KEYS": f"m1:{to_base64url(MASTER)}",
        "HUB_JWT_KEYS": f"j1:{to_base64url(JWT)}",
        "DJANGO_SECRET_KEY": SECRETS["DJANGO_SECRET_KEY"],
    }
    (tmp_path / "development_keys.json").write_text(json.dumps(keys))
    with closing(sqlite3.connect(tmp_path / "hub.sqlite3")) as database:
        database.executescript(
            "CREATE TABLE security_session (id, user_id, kid);"
            "INSERT INTO security_session VALUES ('login-1', 7, 'm1'), ('other', 8, 'dropped');"
            "CREATE TABLE security_serviceaccount (kid, kind, name, key_version);"
            "INSERT INTO security_serviceaccount VALUES ('m1', 'engine', 'forge', 2);"
            "CREATE TABLE notes (text);"
        )
    leaks.know("a signature of this test", SECRETS["a signature of this test"])
    return tmp_path


def note(data_dir: Path, text: str) -> None:
    with closing(sqlite3.connect(data_dir / "hub.sqlite3")) as database:
        database.execute("INSERT INTO notes VALUES (?)", [text])
        database.commit()


def test_where_no_secret_is_nothing_is_found(data_dir: Path) -> None:
    note(data_dir, HARMLESS)
    secrets = leaks.secrets_of(data_dir, {})
    leaks.search_data(data_dir, {}, secrets)
    leaks.search_text("a log", HARMLESS, secrets)


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("around", ["{}", "?sid=x&t={}&y", "glued{}glued", '{{"key":"{}"}}'])
def test_each_secret_is_found_in_a_log_and_in_a_row(data_dir: Path, kind: str, around: str) -> None:
    text = around.format(SECRETS[kind])
    secrets = leaks.secrets_of(data_dir, {})
    with pytest.raises(leaks.Found) as found:
        leaks.search_text("a log", text, secrets)
    assert found.value.kinds == [kind]
    assert SECRETS[kind] not in str(found.value)
    note(data_dir, text)
    with pytest.raises(leaks.Found, match=r"hub\.sqlite3"):
        leaks.search_data(data_dir, {}, secrets)


def test_the_bytes_of_a_key_are_found_in_any_file(data_dir: Path) -> None:
    (data_dir / "media").mkdir()
    (data_dir / "media" / "world.glb").write_bytes(b"glTF" + SESSION + b"...")
    with pytest.raises(leaks.Found, match="a session secret"):
        leaks.search_data(data_dir, {}, leaks.secrets_of(data_dir, {}))


def test_keys_may_come_from_the_environment(data_dir: Path) -> None:
    (data_dir / "development_keys.json").unlink()
    environ = {"HUB_MASTER_KEYS": f"m1:{to_base64url(MASTER)}"}
    with pytest.raises(leaks.Found, match="a session secret"):
        leaks.search_text("a log", to_base64url(SESSION), leaks.secrets_of(data_dir, environ))
