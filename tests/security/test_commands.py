"""The commands ``person`` and ``service``, as a shell sees them."""

import io
import json
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command

from security.management.commands.person import STAFF_GROUP
from security.models import ServiceAccount, User
from security.signatures import from_base64url

pytestmark = pytest.mark.django_db


class Terminal(io.StringIO):
    """Standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def entries(monkeypatch: Any) -> list[tuple[str, dict[str, Any]]]:
    written: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        "security.audit.append", lambda action, **facts: written.append((action, facts))
    )
    return written


def run(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def run_json(*words: str) -> Any:
    text = run(*words, "--json")
    assert text.count("\n") == 1
    return json.loads(text)


@pytest.fixture
def type_in(monkeypatch: Any) -> Any:
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


# person


def test_a_password_from_standard_input_is_set_and_not_printed(type_in: Any) -> None:
    type_in("correct horse battery\n")
    facts = run_json("person", "add", "ada", "--password-stdin")
    user = User.objects.get()
    assert facts == {"username": "ada", "user_id": user.pk, "staff": False}
    assert user.check_password("correct horse battery")
    assert not user.is_staff


def test_without_a_terminal_a_password_is_made_up_and_shown_once(type_in: Any) -> None:
    type_in("")
    facts = run_json("person", "add", "ada")
    assert User.objects.get().check_password(facts["password"])
    assert len(facts["password"]) >= 16


def test_for_people_the_same_is_said_in_sentences(type_in: Any) -> None:
    type_in("")
    text = run("person", "add", "ada")
    assert "Added ada" in text
    assert User.objects.get().check_password(text.split()[-1])


def test_on_a_terminal_the_password_is_asked_for_twice(monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    answers = iter(["correct horse battery", "correct horse battery"])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(answers))
    assert "horse" not in run("person", "add", "ada")
    assert User.objects.get().check_password("correct horse battery")


@pytest.mark.parametrize("answers", [("one", "other"), ("12345", "12345"), ("", "")])
def test_typed_passwords_must_agree_and_be_good(monkeypatch: Any, answers: Any) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    typed = iter(answers)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(typed))
    with pytest.raises(CommandError):
        run("person", "add", "ada")
    assert not User.objects.exists()


@pytest.mark.parametrize("text", ["", "\n", "two\nlines", "nul\x00"])
def test_standard_input_that_is_no_password_is_refused(type_in: Any, text: str) -> None:
    type_in(text)
    with pytest.raises(CommandError, match="one line"):
        run("person", "add", "ada", "--password-stdin")
    assert not User.objects.exists()


def test_a_weak_password_from_a_script_is_taken_with_a_warning(type_in: Any) -> None:
    type_in("ada")
    errors = io.StringIO()
    call_command("person", "add", "ada", "--password-stdin", stdout=io.StringIO(), stderr=errors)
    assert "Warning" in errors.getvalue()
    assert User.objects.get().check_password("ada")


def test_a_taken_name_is_refused_in_a_sentence(type_in: Any) -> None:
    type_in("")
    run("person", "add", "ada")
    with pytest.raises(CommandError, match='already a person named "ada"') as caught:
        run("person", "add", "ada")
    assert caught.value.returncode == 1


@pytest.mark.parametrize("name", ["", "a b", "a" * 151, "a\n", "<script>"])
def test_a_name_that_cannot_be_is_refused(type_in: Any, name: str) -> None:
    type_in("")
    with pytest.raises(CommandError, match="cannot be a name"):
        run("person", "add", name)


def test_staff_may_see_everything_and_change_nothing_but_ends(type_in: Any, entries: Any) -> None:
    type_in("")
    assert run_json("person", "add", "admin", "--staff")["staff"]
    user = User.objects.get()
    group = Group.objects.get(name=STAFF_GROUP)
    assert user.is_staff
    assert user.has_perm("security.view_violation")
    assert user.has_perm("security.end_session")
    names = set(group.permissions.values_list("codename", flat=True))
    assert {name for name in names if not name.startswith("view_")} == {
        "block_principal",
        "disconnect_connection",
        "end_session",
        "grant_rooms",
        "switch_serviceaccount",
    }
    assert entries == [("person_added", {"target": f"user:{user.pk}", "detail": {"staff": True}})]


def test_a_second_member_of_staff_joins_the_same_group(type_in: Any) -> None:
    type_in("")
    run("person", "add", "one", "--staff")
    run("person", "add", "two", "--staff")
    assert Group.objects.get().user_set.count() == 2


# service


def test_adding_a_service_prints_its_secret(entries: Any) -> None:
    facts = run_json("service", "add", "engine", "engine-1")
    assert set(facts) == {"kind", "name", "secret"}
    assert len(from_base64url(facts["secret"])) == 32
    assert entries == [("service_added", {"target": "engine:engine-1", "detail": None})]


def test_rotating_prints_another_secret() -> None:
    old = run_json("service", "add", "agent", "one")
    new = run_json("service", "rotate", "agent", "one")
    assert (new["kind"], new["name"]) == ("agent", "one")
    assert new["secret"] != old["secret"]
    assert "Secret, shown only now: " in run("service", "rotate", "agent", "one")


def test_disabling_and_enabling() -> None:
    run("service", "add", "engine", "one")
    assert run_json("service", "disable", "engine", "one")["enabled"] is False
    assert not ServiceAccount.objects.get().enabled
    assert run("service", "enable", "engine", "one") == "engine:one is enabled.\n"
    assert ServiceAccount.objects.get().enabled


def test_listing_is_one_object_and_shows_no_secret() -> None:
    secret = run_json("service", "add", "engine", "one")["secret"]
    run("service", "add", "agent", "two")
    assert [each["name"] for each in run_json("service", "list")["services"]] == ["two", "one"]
    listed = run_json("service", "list", "engine")["services"]
    assert [each["name"] for each in listed] == ["one"]
    assert secret not in json.dumps(listed) + run("service", "list")
    assert "engine:one  enabled" in run("service", "list")


def test_an_agent_is_added_with_rooms_granted_more_and_loses_some(entries: Any) -> None:
    added = run_json("service", "add", "agent", "coach", "--rooms", "lobby,garden")
    assert (added["kind"], added["rooms"]) == ("agent", ["garden", "lobby"])
    assert run_json("service", "grant", "agent", "coach", "attic")["rooms"] == [
        "attic", "garden", "lobby",
    ]  # fmt: skip
    said = run("service", "revoke", "agent", "coach", "attic", "lobby")
    assert said == "agent:coach hears: garden.\n"
    assert run_json("service", "list", "agent")["services"][0]["rooms"] == ["garden"]
    assert "rooms garden" in run("service", "list")
    assert [(action, facts["detail"]) for action, facts in entries] == [
        ("service_added", {"rooms": ["garden", "lobby"]}),
        ("service_granted", {"rooms": ["attic", "garden", "lobby"]}),
        ("service_revoked", {"rooms": ["garden"]}),
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("add", "agent", "two", "--rooms", "hub:staff"), "is no room"),
        (("add", "engine", "two", "--rooms", "lobby"), "only agents hear rooms"),
        (("grant", "engine", "one", "lobby"), "only agents hear rooms"),
        (("grant", "agent", "nobody", "lobby"), "no service agent:nobody"),
        (("add", "engine", "a b"), "no possible service"),
        (("rotate", "engine", "nobody"), "no service engine:nobody"),
        (("disable", "engine", "nobody"), "no service engine:nobody"),
        (("add", "engine", "one"), "already a service engine:one"),
    ],
)
def test_refusals_are_sentences_with_exit_code_1(words: Any, sentence: str) -> None:
    run("service", "add", "engine", "one")
    with pytest.raises(CommandError, match=sentence) as caught:
        run("service", *words)
    assert caught.value.returncode == 1


def test_another_kind_of_service_does_not_exist() -> None:
    with pytest.raises(CommandError, match="invalid choice"):
        run("service", "add", "user", "ada")
