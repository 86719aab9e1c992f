"""One record is one line, without secrets and without control characters."""

import logging

import pytest

from hubsite.logs import LineFormatter


def line(message: str, *args: object, error: BaseException | None = None) -> str:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("hub", logging.INFO, __file__, 1, message, args, info)
    return LineFormatter().format(record)


@pytest.mark.parametrize(
    "hostile", ["a\r\nb", "\x1b[31mred", "\u202egnitrid", "nul\x00", "next\u2028line", "\x85"]
)
def test_hostile_text_stays_on_one_line_and_is_visible(hostile: str) -> None:
    formatted = line("said %s", hostile)
    assert len(formatted.splitlines()) == 1
    assert not set(formatted) & set("\r\n\x1b\u202e\x00\u2028\x85")
    assert "\\" in formatted


@pytest.mark.parametrize("name", ["sid", "token", "access", "refresh", "secret", "sig", "password"])
def test_secrets_in_addresses_are_masked(name: str) -> None:
    formatted = line(f"GET /socket.io/?EIO=4&{name}=hush-hush&t=1")
    assert "hush-hush" not in formatted
    assert f"{name}=***" in formatted
    assert "t=1" in formatted


def test_a_traceback_follows_indented_and_escaped() -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("one\x1btwo")
    formatted = line("failed", error=caught.value)
    first, *rest = formatted.split("\n")
    assert first.endswith("failed")
    assert all(each.startswith("    ") for each in rest)
    assert "\x1b" not in formatted
