"""The doctor finds what is wrong, says it in words, and makes a restored database safe."""

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError

from engine import feed
from engine.models import FeedCounter
from hubsite import doctor
from security import anchors, clock, database
from security.keys import Key, KeyRing, Keys
from security.models import ServiceAccount, User
from security.recorder import Recorder
from security.services import add
from tests.security.test_verification import note, tamper

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def rows(settings: Any, tmp_path: Path) -> Iterator[list[int]]:
    settings.DATA_DIR = tmp_path
    writer = Recorder(capacity=100, anchors_due=anchors.Due(every_rows=2))
    yield note(writer, 2)
    writer.close(20.0)
    database.shutdown()


def run(*words: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("doctor", *words, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def answer(question: str) -> tuple[str, str]:
    (found,) = [each for each in doctor.examine() if each.question == question]
    return found.verdict, found.said


def test_a_sound_hub_is_exit_code_0() -> None:
    code, said = run()
    assert code == 0
    for question in doctor.QUESTIONS:
        assert question in said
    code, said = run("--json")
    assert (code, json.loads(said)["ok"]) == (0, True)


def test_a_question_that_fails_is_answered_by_its_failure(monkeypatch: Any) -> None:
    def gone() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setitem(doctor.QUESTIONS, "database", gone)
    code, said = run("--json")
    answers = {each["question"]: each for each in json.loads(said)["answers"]}
    assert code == 1
    assert answers["database"]["said"] == "OperationalError: connection refused"
    assert answers["keys"]["verdict"] == "ok"


def test_a_cut_chain_is_found(rows: list[int]) -> None:
    tamper("DELETE FROM security_violation WHERE id = %s", rows[1])
    verdict, said = answer("records")
    assert verdict == "bad"
    assert f"row {rows[1]}" in said


def test_a_database_behind_the_code_is_found(monkeypatch: Any) -> None:
    monkeypatch.setattr(doctor, "pending_migrations", lambda: True)
    assert answer("migrations") == ("bad", "run manage.py migrate")


def test_clocks_that_are_apart_are_told(monkeypatch: Any) -> None:
    ahead = clock.moment(clock.now_ms()) + timedelta(seconds=5)
    monkeypatch.setattr(doctor, "database_now", lambda: ahead)
    assert answer("clocks")[0] == "warn"


def test_an_old_key_that_services_still_sign_with_is_told(settings: Any) -> None:
    add("engine", "one")
    old: Keys = settings.KEYS
    ring = KeyRing((Key("new", bytes(range(32))), *old.master))
    settings.KEYS = Keys(old.django, ring, old.jwt)
    kid = old.master.signing.kid
    assert ServiceAccount.objects.get().kid == kid
    assert answer("keys") == (
        "warn",
        f"services still sign with {kid}: rotate them, then drop it",
    )


def test_settings_that_would_harm_are_told(settings: Any) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = True, ["hub.example"]
    verdict, said = answer("settings")
    assert verdict == "bad"
    assert "hub.E005" in said


def test_after_a_restore_feeds_begin_anew_and_anchors_are_kept_aside(tmp_path: Path) -> None:
    user = User.objects.create_user("ada", password="x")
    before = feed.position(user.pk)
    tamper("DELETE FROM security_violation")
    tamper("DELETE FROM security_anchor")
    assert answer("records")[0] == "bad"
    code, said = run("--after-restore", "--json")
    restored = json.loads(said)["restored"]
    assert (code, restored["feeds_renewed"]) == (0, 1)
    assert FeedCounter.objects.get().epoch != before.epoch
    assert len(list(Path(restored["anchors_moved_to"]).glob("*.jsonl"))) == 1
    assert answer("records")[0] == "ok"
    assert "Feeds with a new epoch: 1" in run("--after-restore")[1]
