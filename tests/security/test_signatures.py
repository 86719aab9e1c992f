"""The key schedule and the signature reproduce every shared vector and refuse every near miss."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.signatures import (
    BadBase64Url,
    Direction,
    MessageKey,
    WrongKeyLength,
    enc,
    from_base64url,
    mac_input,
    service_secret,
    session_secret,
    socket_key,
    to_base64url,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "contracts" / "signing_vectors.json").read_text("utf-8")
)
SCHEDULE: list[dict[str, Any]] = VECTORS["key_schedule"]
SIGNATURES: list[dict[str, Any]] = VECTORS["signatures"]

KEY = bytes(range(32))
PLACE: dict[str, Any] = {
    "direction": "c2s",
    "namespace": "/",
    "principal": "user:42",
    "sid": "sOpfXZjJh15B2W_mKq2k",
}
MESSAGE: dict[str, Any] = {
    "type": "move",
    "ts": 1_795_000_031_980,
    "nonce": "LPYbUMRwyI0wDal9t1cVFhFel6ZTwzCV",
    "payload": '{"x":1,"name":"café"}',
}
SIG = MessageKey(KEY, **PLACE).sign(**MESSAGE)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
places = st.fixed_dictionaries(
    {
        "direction": st.sampled_from(["c2s", "s2c"]),
        "namespace": texts,
        "principal": texts,
        "sid": texts,
    }
)
messages = st.fixed_dictionaries(
    {
        "type": texts,
        "ts": st.integers(0, 2**53 - 1),
        "nonce": texts,
        "payload": texts | st.binary(max_size=40),
    }
)


# The shared vectors.


@pytest.mark.parametrize("vector", SCHEDULE, ids=lambda v: v["principal"])
def test_secrets_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    master = from_base64url(VECTORS["master"])
    if vector["kind"] == "user":
        fields = {name: vector[name] for name in ("user_id", "session_id")}
        secret = session_secret(master, kid=VECTORS["kid"], **fields)
    else:
        fields = {name: vector[name] for name in ("kind", "name", "key_version")}
        secret = service_secret(master, kid=VECTORS["kid"], **fields)
    assert to_base64url(secret) == vector["secret"]


@pytest.mark.parametrize("direction", ["c2s", "s2c"])
@pytest.mark.parametrize("vector", SCHEDULE, ids=lambda v: v["principal"])
def test_socket_keys_are_those_of_the_vectors(vector: dict[str, Any], direction: Direction) -> None:
    key = socket_key(
        from_base64url(vector["secret"]),
        server_nonce=from_base64url(vector["server_nonce"]),
        client_nonce=from_base64url(vector["client_nonce"]),
        namespace=vector["namespace"],
        principal=vector["principal"],
        sid=vector["sid"],
        direction=direction,
    )
    assert to_base64url(key) == vector[f"key_{direction}"]


@pytest.mark.parametrize("vector", SIGNATURES, ids=lambda v: v["sig_hex"][:8])
def test_signatures_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    place = {name: vector[name] for name in PLACE}
    message = {name: vector[name] for name in MESSAGE}
    key = MessageKey(from_base64url(vector["key"]), **place)
    assert key.sign(**message) == vector["sig_hex"]
    assert key.verify(**message, sig=vector["sig_hex"])
    if "mac_input_hex" in vector:
        assert mac_input(**place, **message).hex() == vector["mac_input_hex"]


def test_some_vectors_spell_out_the_mac_input() -> None:
    assert sum("mac_input_hex" in vector for vector in SIGNATURES) >= 1


# The prepared key is nothing but HMAC over mac_input.


@given(st.binary(min_size=32, max_size=32), places, messages)
def test_a_signature_is_hmac_sha256_of_the_plain_mac_input(
    key: bytes, place: dict[str, Any], message: dict[str, Any]
) -> None:
    plain = hmac.new(key, mac_input(**place, **message), hashlib.sha256).hexdigest()
    assert MessageKey(key, **place).sign(**message) == plain


@given(places, messages, messages)
def test_signing_one_message_leaves_no_trace_in_the_next(
    place: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    used = MessageKey(KEY, **place)
    used.sign(**first)
    assert used.sign(**second) == MessageKey(KEY, **place).sign(**second)


def test_text_and_its_utf8_bytes_are_the_same_payload() -> None:
    as_bytes = MESSAGE | {"payload": MESSAGE["payload"].encode()}
    assert MessageKey(KEY, **PLACE).verify(**as_bytes, sig=SIG)


@given(st.lists(texts, max_size=6), st.lists(texts, max_size=6))
def test_different_lists_of_parts_have_different_encodings(one: list[str], two: list[str]) -> None:
    assert (enc(*one) == enc(*two)) == (one == two)


# Near misses.


@pytest.mark.parametrize("bit", range(256))
def test_each_flipped_bit_of_a_signature_is_refused(bit: int) -> None:
    flipped = f"{int(SIG, 16) ^ (1 << bit):064x}"
    assert not MessageKey(KEY, **PLACE).verify(**MESSAGE, sig=flipped)


@pytest.mark.parametrize(
    "sig",
    [
        "",
        SIG[:-1],
        SIG + "0",
        SIG.upper(),
        SIG + "\n",
        " " + SIG,
        "é" * 64,
        "\ud800" * 64,
        "0x" + SIG,
    ],
)
def test_anything_but_the_signature_itself_is_refused_without_an_exception(sig: str) -> None:
    assert not MessageKey(KEY, **PLACE).verify(**MESSAGE, sig=sig)


@pytest.mark.parametrize("index", range(len(MESSAGE["payload"].encode())))
def test_each_changed_payload_byte_is_refused(index: int) -> None:
    payload = bytearray(MESSAGE["payload"].encode())
    payload[index] ^= 1
    changed = MESSAGE | {"payload": bytes(payload)}
    assert not MessageKey(KEY, **PLACE).verify(**changed, sig=SIG)


@pytest.mark.parametrize(
    "change",
    [
        {"direction": "s2c"},
        {"namespace": "/engine"},
        {"principal": "user:4"},
        {"principal": "engine:42"},
        {"sid": "sOpfXZjJh15B2W_mKq2l"},
        {"type": "emote"},
        {"ts": MESSAGE["ts"] + 1},
        {"nonce": MESSAGE["nonce"] + "A"},
        {"payload": MESSAGE["payload"] + " "},
        {"payload": MESSAGE["payload"].replace("é", "e\u0301")},
    ],
    ids=str,
)
def test_a_signature_holds_only_where_it_was_made(change: dict[str, Any]) -> None:
    place = {name: change.get(name, value) for name, value in PLACE.items()}
    message = {name: change.get(name, value) for name, value in MESSAGE.items()}
    assert not MessageKey(KEY, **place).verify(**message, sig=SIG)


def test_another_key_does_not_verify() -> None:
    assert not MessageKey(bytes(32), **PLACE).verify(**MESSAGE, sig=SIG)


@pytest.mark.parametrize(
    "shifted",
    [
        {"ts": 179_500_003_198, "nonce": "0" + MESSAGE["nonce"]},
        {"nonce": MESSAGE["nonce"] + "{", "payload": MESSAGE["payload"][1:]},
        {"nonce": MESSAGE["nonce"][:-1], "payload": MESSAGE["nonce"][-1] + MESSAGE["payload"]},
        {"type": "mov"},
    ],
    ids=["ts to nonce", "payload to nonce", "nonce to payload", "type to principal"],
)
def test_moving_characters_over_a_boundary_is_refused(shifted: dict[str, Any]) -> None:
    place = PLACE | ({"principal": "euser:42"} if shifted == {"type": "mov"} else {})
    assert not MessageKey(KEY, **place).verify(**(MESSAGE | shifted), sig=SIG)


@given(places, messages, places, messages)
def test_two_messages_share_a_signature_only_if_they_are_the_same(
    place: dict[str, Any], message: dict[str, Any], place2: dict[str, Any], message2: dict[str, Any]
) -> None:
    same = mac_input(**place, **message) == mac_input(**place2, **message2)
    sig = MessageKey(KEY, **place).sign(**message)
    assert MessageKey(KEY, **place2).verify(**message2, sig=sig) == same


@pytest.mark.parametrize("field", ["type", "nonce", "payload"])
def test_a_lone_surrogate_in_a_field_is_refused_without_an_exception(field: str) -> None:
    assert not MessageKey(KEY, **PLACE).verify(**(MESSAGE | {field: "\ud800"}), sig=SIG)


# The schedule separates what it must.


def test_a_session_secret_depends_on_every_input() -> None:
    base: dict[str, Any] = {"kid": "k1", "user_id": "42", "session_id": "s_1"}
    secrets = {
        session_secret(KEY, **base),
        session_secret(bytes(32), **base),
        *(session_secret(KEY, **(base | {name: base[name] + "1"})) for name in base),
        session_secret(KEY, kid="k14", user_id="2", session_id="s_1"),
        service_secret(KEY, kid="k1", kind="engine", name="42", key_version=1),
        service_secret(KEY, kid="k1", kind="engine", name="4", key_version=21),
        service_secret(KEY, kid="k1", kind="agent", name="42", key_version=1),
    }
    assert len(secrets) == 9


def test_a_socket_key_depends_on_every_input() -> None:
    base: dict[str, Any] = PLACE | {"server_nonce": bytes(32), "client_nonce": b""}
    changes: list[dict[str, Any]] = [
        {},
        {"server_nonce": KEY},
        {"client_nonce": KEY},
        {"namespace": "/engine"},
        {"principal": "user:43"},
        {"sid": "other"},
        {"direction": "s2c"},
    ]
    assert len({socket_key(KEY, **(base | change)) for change in changes}) == len(changes)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"server_nonce": b""}, "server_nonce"),
        ({"server_nonce": bytes(31)}, "server_nonce"),
        ({"client_nonce": bytes(1)}, "client_nonce"),
        ({"client_nonce": bytes(64)}, "client_nonce"),
    ],
)
def test_nonces_of_another_length_are_named(change: dict[str, bytes], name: str) -> None:
    nonces: dict[str, Any] = {"server_nonce": bytes(32), "client_nonce": bytes(32)} | change
    with pytest.raises(WrongKeyLength, match=f"{name} must be 32 bytes long, not") as seen:
        socket_key(KEY, **PLACE, **nonces)
    assert (seen.value.name, seen.value.expected) == (name, 32)


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_keys_of_another_length_are_named(size: int) -> None:
    with pytest.raises(WrongKeyLength, match="master"):
        session_secret(bytes(size), kid="k", user_id="1", session_id="s")
    with pytest.raises(WrongKeyLength, match="master"):
        service_secret(bytes(size), kid="k", kind="engine", name="e", key_version=1)
    with pytest.raises(WrongKeyLength, match="secret"):
        socket_key(bytes(size), **PLACE, server_nonce=bytes(32), client_nonce=b"")
    with pytest.raises(WrongKeyLength, match="key"):
        MessageKey(bytes(size), **PLACE)


# base64url.


@given(st.binary(max_size=100))
def test_bytes_survive_the_way_to_text_and_back(raw: bytes) -> None:
    text = to_base64url(raw)
    assert from_base64url(text) == raw
    assert "=" not in text


@given(st.text("AQgw_-=+/ \n", max_size=9) | texts)
def test_each_value_has_exactly_one_spelling(text: str) -> None:
    try:
        raw = from_base64url(text)
    except BadBase64Url:
        return
    assert to_base64url(raw) == text


@pytest.mark.parametrize(
    "text", ["A", "AAAAA", "AB", "AAB", "AA==", "AA\n", "A A", "+/", "éé", "\uff21\uff21", "\ud800"]
)
def test_other_spellings_are_refused_by_name_without_repeating_them(text: str) -> None:
    with pytest.raises(BadBase64Url) as seen:
        from_base64url(text)
    assert (
        str(seen.value)
        == f"{len(text)} characters that are not canonical base64url without padding"
    )
