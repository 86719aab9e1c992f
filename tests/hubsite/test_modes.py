"""Which command may use which keys."""

import pytest

from hubsite.modes import choose_mode


def mode_of(*argv: str, **environ: str) -> dict[str, str]:
    variables = dict(environ)
    choose_mode(["manage.py", *argv], variables)
    return variables


def test_a_development_command_is_in_debug() -> None:
    assert mode_of("migrate")["DEBUG"] == "1"
    assert mode_of()["DEBUG"] == "1"


def test_what_the_caller_set_stays() -> None:
    assert mode_of("migrate", DEBUG="0")["DEBUG"] == "0"


def test_serve_is_production_unless_told_otherwise() -> None:
    assert mode_of("serve") == {}
    assert mode_of("serve", DEBUG="1") == {"DEBUG": "1"}


@pytest.mark.parametrize("variable", ["DJANGO_SECRET_KEY", "HUB_MASTER_KEYS", "HUB_JWT_KEYS"])
@pytest.mark.parametrize("command", ["migrate", "runserver", "demo"])
def test_a_machine_with_real_keys_never_makes_others(command: str, variable: str) -> None:
    environ = mode_of(command, **{variable: "set"})
    assert "DEBUG" not in environ
    assert "HUB_DEVELOPMENT_KEYS" not in environ


def test_the_demo_makes_keys_but_shows_no_debug_pages() -> None:
    environ = mode_of("demo", DEBUG="1")
    assert environ == {"DEBUG": "0", "HUB_DEVELOPMENT_KEYS": "1"}


@pytest.mark.parametrize("argv", [("--data-dir", "/x"), ("--data-dir=/x",)])
def test_the_data_directory_is_known_before_the_settings(argv: tuple[str, ...]) -> None:
    assert mode_of("demo", *argv)["HUB_DATA_DIR"] == "/x"
