"""What a refusal of the gate tells staff, and what it never holds."""

import hashlib
from typing import Any

import pytest

from security.gate import SERVICE_CODES, WEB_CODES, Signed
from security.refusals import Refused, rule
from tests.security.gate.gate_bench import NONCE, NOW, SIGNED, envelope, refusal, without


@pytest.mark.parametrize(
    "message",
    [
        envelope(type="fly"),
        envelope(payload="x" * 65),
        envelope(ts=0),
        envelope(sig="0" * 64),
    ],
)
def test_once_an_envelope_could_be_read_its_refusal_names_type_and_digest(
    message: dict[str, Any],
) -> None:
    refused = refusal(message)
    assert refused.event_type == message["type"]
    assert refused.payload_sha256 == hashlib.sha256(message["payload"].encode()).hexdigest()


def test_an_envelope_that_could_not_be_read_is_about_nothing() -> None:
    refused = refusal(without("sig"))
    assert (refused.event_type, refused.payload_sha256) == ("", "")


def test_a_refusal_keeps_the_first_message_it_was_about() -> None:
    refused = Signed("tree", "1", NOW, NONCE).blame(SIGNED.blame(Refused("forbidden")))
    assert refused.event_type == "click"


@pytest.mark.parametrize("message", [envelope(sig="0" * 64), envelope(payload='"secret-words"')])
def test_a_refusal_never_holds_payload_signature_or_nonce(message: dict[str, Any]) -> None:
    text = str(refusal(message, now_ms=0).detail)
    assert not any(str(message[key]) in text for key in ("payload", "sig", "nonce"))


@pytest.mark.parametrize("codes", [WEB_CODES, SERVICE_CODES])
def test_every_step_has_a_declared_code(codes: dict[Any, str]) -> None:
    assert all(rule(code) for code in codes.values())
    assert codes.keys() == WEB_CODES.keys()
