"""Tokens: the hostile list of the security chapter, one sentence each, and the way back to good."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from security.keys import Key, KeyRing
from security.models import ServiceAccount, Session, User
from security.signatures import from_base64url, to_base64url
from security.tokens import (
    AUDIENCES,
    ISSUER,
    TokenExpired,
    TokenInvalid,
    issue_for_service,
    issue_for_session,
    new_token_id,
    verify,
)

NOW = 1_800_000_000.25
CLAIMS = {
    "iss": ISSUER,
    "aud": "hub:user",
    "exp": int(NOW) + 300,
    "iat": int(NOW),
    "jti": "j" * 32,
    "sub": "42",
    "token_type": "access",
    "role": "user",
    "sid": "s" * 24,
    "tv": 1,
}


def forge(
    claims: Any = None,
    *,
    header: Any = None,
    key: bytes | None = None,
    digest: Any = hashlib.sha256,
) -> str:
    """A token made by hand; given text goes in as it is, so that it may be no JSON at all."""
    ring = settings.KEYS.jwt
    header = {"alg": "HS256", "typ": "JWT", "kid": ring.signing.kid} if header is None else header
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    signed = ".".join(to_base64url(part.encode()) for part in parts)
    signature = hmac.new(key or ring.signing.secret, signed.encode(), digest).digest()
    return f"{signed}.{to_base64url(signature)}"


def header(**changes: object) -> dict[str, object]:
    return {"alg": "HS256", "typ": "JWT", "kid": settings.KEYS.jwt.signing.kid, **changes}


def checked(text: object, now: float = NOW) -> Any:
    return verify(text, audience="hub:user", token_type="access", now=now)


def assert_invalid(text: object, reason: str | None = None, now: float = NOW) -> None:
    with pytest.raises(TokenInvalid) as caught:
        checked(text, now)
    assert reason is None or caught.value.reason == reason


def person() -> User:
    return User(pk=42, username="ada", token_version=3, is_staff=True)


def session(expires_at: float = NOW + 10_000) -> Session:
    return Session(id="s" * 24, expires_at=datetime.fromtimestamp(expires_at, UTC))


def test_a_token_made_by_hand_is_taken_so_that_the_refusals_below_mean_something() -> None:
    claims = checked(forge(CLAIMS))
    assert (claims.subject, claims.role, claims.version) == ("42", "user", 1)
    assert claims.kind == "user"


def test_an_issued_pair_says_who_it_is_for() -> None:
    pair = issue_for_session(person(), session(), NOW, refresh_id=new_token_id())
    claims = checked(pair.access)
    assert (claims.subject, claims.role, claims.session_id) == ("42", "staff", "s" * 24)
    assert claims.version == 3
    assert pair.access_expires_at_ms == (int(NOW) + 300) * 1000 == claims.expires_at * 1000


def test_a_refresh_token_carries_the_id_that_the_session_remembers() -> None:
    refresh_id = new_token_id()
    pair = issue_for_session(person(), session(), NOW, refresh_id=refresh_id)
    claims = verify(pair.refresh, audience="hub:user", token_type="refresh", now=NOW)
    assert claims.token_id == refresh_id


def test_no_token_outlives_its_session() -> None:
    pair = issue_for_session(person(), session(NOW + 60), NOW, refresh_id=new_token_id())
    refresh = verify(pair.refresh, audience="hub:user", token_type="refresh", now=NOW)
    assert checked(pair.access).expires_at == refresh.expires_at == int(NOW + 60)


@pytest.mark.parametrize("kind", ["engine", "agent"])
def test_a_service_token_is_of_its_own_audience_and_role(kind: Any) -> None:
    account = ServiceAccount(kind=kind, name="one.of-these_1", key_version=7)
    token = issue_for_service(account, NOW)
    claims = verify(token.text, audience=AUDIENCES[kind], token_type="access", now=NOW)
    assert (claims.kind, claims.subject, claims.role) == (kind, "one.of-these_1", kind)
    assert (claims.session_id, claims.version) == ("", 7)
    assert token.expires_at_ms == (int(NOW) + 3600) * 1000


def test_the_signing_key_is_named_and_an_older_key_still_verifies(settings: Any) -> None:
    old, new = Key("old", bytes(range(32))), Key("new", bytes(range(32, 64)))
    settings.KEYS = SimpleNamespace(jwt=KeyRing((old,)))
    token = issue_for_session(person(), session(), NOW, refresh_id=new_token_id()).access
    settings.KEYS = SimpleNamespace(jwt=KeyRing((new, old)))
    assert checked(token).subject == "42"
    fresh = issue_for_session(person(), session(), NOW, refresh_id=new_token_id()).access
    assert json.loads(from_base64url(fresh.partition(".")[0]))["kid"] == "new"
    settings.KEYS = SimpleNamespace(jwt=KeyRing((new,)))
    assert_invalid(token, "unknown_key")


def test_a_token_does_not_show_in_a_representation() -> None:
    pair = issue_for_session(person(), session(), NOW, refresh_id=new_token_id())
    assert pair.access not in repr(pair)


# Form.


@pytest.mark.parametrize(
    "text", [None, 7, True, b"a.b.c", [], {}, {"simulated": True}, float("nan"), object()]
)
def test_what_is_no_text_is_refused_and_mints_nothing(text: object) -> None:
    assert_invalid(text, "not_text")


def test_a_text_subclass_is_refused() -> None:
    class Text(str):
        __slots__ = ()

    assert_invalid(Text(forge(CLAIMS)), "not_text")


@pytest.mark.parametrize("suffix", ["=", "\n", " ", ".", ".e30", "\x00", "é", "\ud800"])
def test_anything_after_a_good_token_is_refused(suffix: str) -> None:
    assert_invalid(forge(CLAIMS) + suffix, "not_three_parts")


def test_anything_before_a_good_token_is_refused() -> None:
    assert_invalid("\n" + forge(CLAIMS), "not_three_parts")


@pytest.mark.parametrize("text", ["", "..", "a.b", "a..c", "٣.b.c"])
def test_what_is_not_three_parts_is_refused(text: str) -> None:
    assert_invalid(text, "not_three_parts")


def test_5000_characters_are_refused_before_anything_is_read() -> None:
    assert_invalid("a" * 5000, "too_long")


def test_4096_characters_may_be_a_token_and_4097_may_not() -> None:
    assert_invalid("a" * 4096, "not_three_parts")
    assert_invalid("a" * 4097, "too_long")


@given(st.text(max_size=200))
def test_any_text_is_refused_as_invalid_and_nothing_else(text: str) -> None:
    assert_invalid(text)


@given(st.data())
def test_one_flipped_bit_anywhere_is_refused(data: Any) -> None:
    raw = bytearray(forge(CLAIMS).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 6))
    assert_invalid(raw.decode())


# Header.


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, ["HS256"], "hs256"])
def test_no_other_spelling_of_an_algorithm_is_taken(alg: object) -> None:
    assert_invalid(forge(CLAIMS, header=header(alg=alg)), "algorithm")


def test_alg_none_without_a_signature_is_refused() -> None:
    signed, _, _ = forge(CLAIMS, header=header(alg="none")).rpartition(".")
    assert_invalid(signed + ".", "not_three_parts")


@pytest.mark.parametrize("alg", ["HS384", "HS512", "RS256", "ES256"])
def test_another_algorithm_is_refused_although_the_hmac_is_right(alg: str) -> None:
    digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(alg, hashlib.sha256)
    assert_invalid(forge(CLAIMS, header=header(alg=alg), digest=digest), "algorithm")


def test_another_hmac_size_under_the_right_name_is_refused() -> None:
    assert_invalid(forge(CLAIMS, digest=hashlib.sha512), "signature")


def test_another_key_is_refused() -> None:
    assert_invalid(forge(CLAIMS, key=bytes(32)), "signature")


def test_a_master_key_does_not_sign_tokens() -> None:
    assert_invalid(forge(CLAIMS, key=settings.KEYS.master.signing.secret), "signature")


@pytest.mark.parametrize(
    "kid", ["", "nobody", "../../etc/passwd", "' OR 1=1 --", "k" * 1500, None, 1, ["dev1"], {}]
)
def test_an_unknown_path_like_huge_or_untyped_kid_is_refused(kid: object) -> None:
    assert_invalid(forge(CLAIMS, header=header(kid=kid)), "unknown_key")


def test_a_missing_kid_is_refused() -> None:
    assert_invalid(forge(CLAIMS, header={"alg": "HS256", "typ": "JWT"}), "unknown_key")


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example"},
        {"crit": ["exp"]},
        {"b64": False},
        {"zip": "DEF"},
    ],
)
def test_any_other_header_is_refused(extra: dict[str, object]) -> None:
    assert_invalid(forge(CLAIMS, header=header(**extra)), "unknown_header")


def test_a_header_of_a_length_that_no_bytes_have_is_refused() -> None:
    assert_invalid("A" + forge(CLAIMS)[forge(CLAIMS).index(".") :], "header")


def test_a_key_brought_along_in_the_header_is_not_used() -> None:
    own = bytes(range(32))
    jwk = {"kty": "oct", "k": to_base64url(own)}
    assert_invalid(forge(CLAIMS, header=header(jwk=jwk), key=own), "unknown_header")


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"alg":"HS256","alg":"none"}', "\ufeff{}"]
)
def test_a_header_that_is_no_strict_json_object_is_refused(text: str) -> None:
    assert_invalid(forge(CLAIMS, header=text or " "), "header")


def test_another_typ_is_refused() -> None:
    assert_invalid(forge(CLAIMS, header=header(typ="JWE")), "algorithm")


# Claims.


@pytest.mark.parametrize("name", CLAIMS)
def test_each_claim_is_required(name: str) -> None:
    claims = {key: value for key, value in CLAIMS.items() if key != name}
    assert_invalid(forge(claims), f"claim_{name}")


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize("value", [None, True, [], {}, 1.5, ["hub:user"]])
def test_each_claim_has_exactly_its_type(name: str, value: object) -> None:
    assert_invalid(forge({**CLAIMS, name: value}), f"claim_{name}")


@pytest.mark.parametrize("name", ["exp", "iat", "tv"])
@pytest.mark.parametrize("value", ["1800000300", 1e18, 1800000300.0])
def test_a_number_as_text_or_float_is_refused(name: str, value: object) -> None:
    assert_invalid(forge({**CLAIMS, name: value}))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 19])
def test_a_number_that_is_no_safe_integer_is_refused(number: str) -> None:
    text = json.dumps(CLAIMS).replace(str(CLAIMS["exp"]), number)
    assert_invalid(forge(text), "claims")


@pytest.mark.parametrize("issuer", ["", "other-hub", "interaction-hub\n", "Interaction-Hub"])
def test_another_issuer_is_refused(issuer: str) -> None:
    assert_invalid(forge({**CLAIMS, "iss": issuer}), "claim_iss")


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "role", "sub"])
def test_a_claim_said_twice_is_refused(name: str) -> None:
    text = json.dumps(CLAIMS)
    twice = text[:-1] + f", {json.dumps(name)}: {json.dumps(CLAIMS[name])}}}"
    assert_invalid(forge(twice), "claims")


@pytest.mark.parametrize("audience", ["hub:engine", "hub:agent"])
def test_a_token_of_a_service_is_refused_where_people_are_expected(audience: str) -> None:
    role = audience.removeprefix("hub:")
    assert_invalid(forge({**CLAIMS, "aud": audience, "role": role, "sid": ""}), "audience")


def test_a_persons_token_is_refused_where_services_are_expected() -> None:
    with pytest.raises(TokenInvalid, match="audience"):
        verify(forge(CLAIMS), audience="hub:engine", token_type="access", now=NOW)


def test_a_door_for_two_audiences_takes_both_and_no_third() -> None:
    both = frozenset({"hub:user", "hub:agent"})
    assert verify(forge(CLAIMS), audience=both, token_type="access", now=NOW).kind == "user"
    engine = {**CLAIMS, "aud": "hub:engine", "role": "engine", "sid": ""}
    with pytest.raises(TokenInvalid, match="audience"):
        verify(forge(engine), audience=both, token_type="access", now=NOW)


def test_a_refresh_token_is_no_access_token_and_the_reverse() -> None:
    assert_invalid(forge({**CLAIMS, "token_type": "refresh"}), "token_type")
    with pytest.raises(TokenInvalid, match="token_type"):
        verify(forge(CLAIMS), audience="hub:user", token_type="refresh", now=NOW)


@pytest.mark.parametrize("role", ["Engine", "engine", "STAFF", "admin", "", "user "])
def test_a_role_that_people_do_not_have_is_refused(role: str) -> None:
    assert_invalid(forge({**CLAIMS, "role": role}), "claim_role")


@pytest.mark.parametrize(
    "subject", ["", "0", "-1", "042", "4 2", "ada", "\uff14\uff12", "1" * 20, "42\n"]
)
def test_a_subject_that_is_no_persons_id_is_refused(subject: str) -> None:
    assert_invalid(forge({**CLAIMS, "sub": subject}), "claim_sub")


@pytest.mark.parametrize("sid", ["", "a b", "s" * 41, "../x"])
def test_a_session_id_of_another_form_is_refused(sid: str) -> None:
    assert_invalid(forge({**CLAIMS, "sid": sid}), "claim_sid")


def test_a_service_token_with_a_login_session_is_refused() -> None:
    claims = {**CLAIMS, "aud": "hub:engine", "role": "engine"}
    with pytest.raises(TokenInvalid, match="claim_sid"):
        verify(forge(claims), audience="hub:engine", token_type="access", now=NOW)


@pytest.mark.parametrize("version", [0, -1])
def test_a_token_version_below_one_is_refused(version: int) -> None:
    assert_invalid(forge({**CLAIMS, "tv": version}), "claim_tv")


# Time.


def test_a_token_is_good_until_just_before_its_expiry_and_not_at_it() -> None:
    token, end = forge(CLAIMS), CLAIMS["exp"]
    assert checked(token, end - 0.001)
    with pytest.raises(TokenExpired) as caught:
        checked(token, end)
    assert caught.value.expired_at == end


def test_an_expired_token_that_is_wrong_otherwise_is_invalid_not_expired() -> None:
    later = CLAIMS["exp"] + 1
    assert_invalid(forge({**CLAIMS, "iss": "other"}), "claim_iss", later)
    assert_invalid(forge({**CLAIMS, "token_type": "refresh"}), "token_type", later)
    assert_invalid(forge(CLAIMS, key=bytes(32)), "signature", later)


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_a_token_from_the_future_is_refused_without_leeway(name: str) -> None:
    future = {**CLAIMS, name: int(NOW) + 1}
    assert_invalid(forge(future), "issued_in_the_future")
    assert checked(forge(future), int(NOW) + 1)


@pytest.mark.parametrize("not_before", ["1", True, None, 1.5])
def test_an_untyped_nbf_is_refused(not_before: object) -> None:
    assert_invalid(forge({**CLAIMS, "nbf": not_before}), "claim_nbf")


def test_a_token_that_expires_before_it_was_issued_is_refused() -> None:
    assert_invalid(forge({**CLAIMS, "exp": CLAIMS["iat"]}), "claim_exp")


def test_a_failure_nobody_thought_of_makes_the_token_invalid(monkeypatch: Any) -> None:
    def broken(_raw: bytes) -> None:
        raise RecursionError

    monkeypatch.setattr("security.tokens.loads", broken)
    assert_invalid(forge(CLAIMS), "unreadable")
