"""Keys are added first and dropped later, and nothing that depends on one is lost unseen."""

import io
import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from security import anchors, database, rotation, services
from security.keys import DEVELOPMENT_FILE, Key, KeyRing, Keys, load_keys
from security.models import ServiceAccount, Session, User
from security.recorder import Recorder
from security.sessions import RequestMeta, open_session
from security.verification import verify
from tests.security.test_verification import note

WAIT_S = 20.0
pytestmark = pytest.mark.django_db(transaction=True)


def key(kid: str) -> Key:
    return Key(kid, bytes(ord(kid[0]) ^ each for each in range(32)))


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.DATA_DIR = tmp_path
    settings.KEYS = load_keys({}, tmp_path, development=True)
    for variable in ("HUB_MASTER_KEYS", "HUB_JWT_KEYS", "DJANGO_SECRET_KEY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def two_keys(settings: Any) -> Keys:
    """New keys sign, those of the development file still verify."""
    old: Keys = settings.KEYS
    settings.KEYS = Keys(
        old.django, KeyRing((key("m"), *old.master)), KeyRing((key("j"), *old.jwt))
    )
    (Path(settings.DATA_DIR) / DEVELOPMENT_FILE).unlink()
    return settings.KEYS  # type: ignore[no-any-return]  # the fixture's settings know no types


@pytest.fixture
def entries(monkeypatch: Any) -> list[tuple[str, str]]:
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "security.audit.append",
        lambda action, **facts: written.append((action, facts["target"])),
    )
    return written


def run(*words: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("rotate_keys", "--json", *words, stdout=out)
    said: dict[str, Any] = json.loads(out.getvalue())
    return said


def load(values: dict[str, str], django: str) -> Keys:
    environ = {**values, "DJANGO_SECRET_KEY": django}
    return load_keys(environ, Path("/nonexistent"), development=False)


def test_new_keys_sign_and_old_ones_verify(two_keys: Keys, entries: list[Any]) -> None:
    said = run()
    keys = load(said["values"], two_keys.django)
    assert keys.master.signing.kid == keys.jwt.signing.kid == said["kid"]
    assert [each.kid for each in keys.master] == [said["kid"], "m", "dev1"]
    assert keys.master.get("dev1") == two_keys.master.get("dev1")
    assert entries == [("keys_rotated", f"kid:{said['kid']}")]


def test_an_old_key_is_dropped_from_both_rings(two_keys: Keys, entries: list[Any]) -> None:
    said = run("--drop", "dev1")
    keys = load(said["values"], two_keys.django)
    assert ([each.kid for each in keys.master], [each.kid for each in keys.jwt]) == (["m"], ["j"])
    assert entries == [("key_dropped", "kid:dev1")]


@pytest.mark.parametrize(("kid", "why"), [("m", "it signs now"), ("x", "no key of that name")])
def test_a_key_that_signs_or_is_not_there_cannot_be_dropped(
    two_keys: Keys, kid: str, why: str
) -> None:
    with pytest.raises(CommandError, match=why):
        run("--drop", kid)


def test_services_keep_a_key_from_being_dropped_and_are_named(
    two_keys: Keys, entries: list[Any]
) -> None:
    services.add("engine", "one")
    ServiceAccount.objects.update(kid="dev1")
    with pytest.raises(CommandError, match="engine:one"):
        run("--drop", "dev1")
    assert run("--drop", "dev1", "--force")["rotate_services"] == ["engine:one"]
    services.rotate("engine", "one", time.time())
    assert run("--drop", "dev1")["rotate_services"] == []


def test_it_is_said_how_many_logins_end(two_keys: Keys, entries: list[Any]) -> None:
    user = User.objects.create_user("ada", password="x")
    for _ in range(2):
        open_session(user, RequestMeta(), time.time())
    Session.objects.update(kid="dev1")
    assert run("--drop", "dev1")["sessions_ended"] == 2


def test_the_file_of_development_keys_is_written_anew(
    data_dir: Path, settings: Any, entries: list[Any]
) -> None:
    said = run()
    assert "values" not in said
    path = data_dir / DEVELOPMENT_FILE
    assert said["file"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = load_keys({}, data_dir, development=True)
    assert [each.kid for each in keys.master] == [said["kid"], "dev1"]
    assert keys.django == settings.KEYS.django
    assert list(data_dir.glob(".*")) == []


def test_for_people_the_values_stand_as_in_an_environment_file(
    two_keys: Keys, entries: list[Any]
) -> None:
    services.add("agent", "guide")
    out = io.StringIO()
    call_command("rotate_keys", stdout=out)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("HUB_MASTER_KEYS=k")
    assert lines[1].startswith("HUB_JWT_KEYS=k")
    assert "manage.py service rotate agent guide" in lines[-1]


@pytest.fixture
def old_chain() -> None:
    writer = Recorder(capacity=10, anchors_due=anchors.Due(every_rows=1))
    note(writer, 2)
    writer.close(WAIT_S)
    database.shutdown()


def test_records_stay_verifiable_when_their_key_is_dropped(
    old_chain: None, two_keys: Keys, settings: Any, entries: list[Any]
) -> None:
    assert run("--drop", "dev1")["marks_sealed_anew"] == 1
    assert rotation.seal_anew("dev1") == 0
    settings.KEYS = Keys(two_keys.django, KeyRing((key("m"),)), KeyRing((key("j"),)))
    report = verify()
    assert (report.sound, report.unverifiable) == (True, ())


def test_without_that_it_can_not_be_told(old_chain: None, two_keys: Keys, settings: Any) -> None:
    settings.KEYS = Keys(two_keys.django, KeyRing((key("m"),)), KeyRing((key("j"),)))
    assert len(verify().unverifiable) == 6
