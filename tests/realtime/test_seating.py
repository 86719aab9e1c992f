"""What a CONNECT is made into: the client's nonce, the keys, and the refusal."""

import pytest

from realtime.seating import client_nonce_of, connection_refused
from security.refusals import RULES, Refused
from security.signatures import to_base64url

GOOD = to_base64url(b"n" * 32)
BAD: list[object] = [
    "", "n", GOOD + "=", GOOD[:-1], GOOD + "A", GOOD + "\n", to_base64url(b"n" * 31),
    to_base64url(b"n" * 33), 0, True, [], {}, b"n" * 32, "\u00e9" * 43,
]  # fmt: skip


@pytest.mark.parametrize("required", [True, False])
def test_thirty_two_bytes_are_taken(required: bool) -> None:
    assert client_nonce_of(GOOD, required=required) == b"n" * 32


def test_none_is_taken_where_it_is_not_required() -> None:
    assert client_nonce_of(None, required=False) == b""
    with pytest.raises(Refused, match="client_nonce"):
        client_nonce_of(None, required=True)


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("required", [True, False])
def test_nothing_else_is_taken(text: object, required: bool) -> None:
    with pytest.raises(Refused, match="client_nonce") as caught:
        client_nonce_of(text, required=required)
    assert caught.value.code == "AUTH_INVALID"


@pytest.mark.parametrize("code", sorted(RULES))
def test_a_refused_connection_says_its_code_twice_and_no_reason(code: str) -> None:
    refused = connection_refused(Refused(code, reason="for staff only", detail={"x": "y"}))
    assert refused.message == code
    assert refused.data is not None
    assert refused.data.keys() == {"code", "retry", "server_time"}
    assert refused.data["code"] == code
