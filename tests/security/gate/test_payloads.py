"""Payloads are strict JSON within the bounds of their type."""

import hashlib

import pytest

from security.gate import Signed
from security.refusals import Refused
from tests.security.gate.gate_bench import NONCE, NOW, gate


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ('{"a":1,"a":2}', "payload_invalid"),
        ("NaN", "payload_invalid"),
        ("{} {}", "payload_invalid"),
        ("\ufeff{}", "payload_invalid"),
        ("", "payload_invalid"),
        ("[[[]]]", "payload_too_complex"),
        ("[1,2,3,4,5]", "payload_too_complex"),
        ('"123456789"', "payload_too_complex"),
    ],
)
def test_payloads_are_strict_json_within_the_bounds_of_their_type(payload: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        gate().read(Signed("tree", payload, NOW, NONCE))
    assert caught.value.code == code
    assert caught.value.payload_sha256 == hashlib.sha256(payload.encode()).hexdigest()


def test_a_payload_within_its_bounds_is_read() -> None:
    assert gate().read(Signed("tree", '{"a":[1,2]}', NOW, NONCE)) == {"a": [1, 2]}
