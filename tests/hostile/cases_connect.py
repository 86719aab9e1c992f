"""Hostile handshakes and tokens: what is sent, the answer, and the kind of the record."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.hostile.stage import Stage

Person = dict[str, Any]
Auth = Callable[[Stage, Person], object]
BAD = "AUTH_INVALID"
FRIEND = "http://friend.example"  # a page that may connect, as a person


@dataclass(frozen=True)
class Handshake:
    """An HTTP handshake and its status; ``kind`` is empty where it is taken."""

    name: str
    status: int
    kind: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""


def origin(name: str, value: str) -> Handshake:
    return Handshake(f"origin {name}", 403, "origin_forbidden", headers=(("Origin", value),))


HANDSHAKES = [
    origin("foreign", "https://evil.example"),
    origin("null", "null"),
    origin("wrong scheme", "https://127.0.0.1:{port}"),
    origin("wrong port", "http://127.0.0.1:1"),
    origin("look-alike", "http://127.0.0.1.evil.example"),
    origin("with user", "http://127.0.0.1:{port}@evil.example"),
    origin("with path", "http://127.0.0.1:{port}/"),
    origin("empty", ""),
    origin("other name of this machine", "http://localhost:{port}"),
    Handshake("origin of our own", 101, headers=(("Origin", "http://127.0.0.1:{port}"),)),
    Handshake("no origin", 101),
    Handshake("origin that is listed", 101, headers=(("Origin", FRIEND),)),
    origin("listed, with a port", f"{FRIEND}:8080"),
    origin("listed, by TLS", FRIEND.replace("http", "https")),
    origin("below the listed one", FRIEND.replace("//", "//evil.")),
    Handshake("token in the query", 403, "token_in_url", query="&token={token}"),
    Handshake("access_token in the query", 403, "token_in_url", query="&access_token={token}"),
    Handshake("token under another name", 403, "token_in_url", query="&t={token}"),
    Handshake("unknown transport", 400, query="&transport=carrier-pigeon"),
]


@dataclass(frozen=True)
class Connect:
    """A CONNECT's payload and how it is refused; ``auth`` gives an object or JSON text."""

    name: str
    auth: Auth
    code: str = BAD
    kind: str = ""
    namespace: str = "/"

    @property
    def recorded(self) -> str:
        return self.kind or self.code.lower()


def fixed(name: str, auth: object, code: str = BAD, kind: str = "") -> Connect:
    return Connect(name, lambda _stage, _who: auth, code, kind)


def with_key(name: str, key: str, value: object) -> Connect:
    return Connect(
        f"extra key {name}",
        lambda _stage, who: {"token": who["token"], key: value},
        kind="auth_bypass_attempt",
    )


def token(name: str, make: Callable[[Stage, Person], object], code: str = BAD) -> Connect:
    return Connect(f"token {name}", lambda stage, who: {"token": make(stage, who)}, code)


def claim(name: str, value: object, code: str = BAD) -> Connect:
    label = f"claim {name} {str(value)[:20]}" if value is not None else f"claim {name} missing"
    return token(label, lambda stage, who: stage.token(who, **{name: value}), code)


def header(name: str, **changes: object) -> Connect:
    def make(stage: Stage, who: Person) -> str:
        head = {"alg": "HS256", "typ": "JWT", "kid": stage.kid, **changes}
        return stage.forge(stage.claims(who), header=head)

    return token(f"header {name}", make)


def spoiled(name: str, spoil: Callable[[str], str]) -> Connect:
    return token(name, lambda _stage, who: spoil(who["token"]))


def flip(text: str, at: int) -> str:
    """One character of the token changed to its neighbour in the alphabet."""
    other = "A" if text[at] != "A" else "B"
    return text[:at] + other + text[at + 1 :]


def unsigned(alg: str) -> Connect:
    def make(stage: Stage, who: Person) -> str:
        made = stage.forge(stage.claims(who), header={"alg": alg, "typ": "JWT", "kid": stage.kid})
        return made.rpartition(".")[0] + "."

    return token(f"alg {alg} unsigned", make)


def raw_claims(name: str, change: Callable[[str], str]) -> Connect:
    """Claims as text, for what no JSON writer would write."""
    return token(
        name, lambda stage, who: stage.forge(change(json.dumps(stage.claims(who), indent=None)))
    )


def now() -> int:
    return int(time.time())


REQUIRED = ("iss", "aud", "exp", "iat", "jti", "sub", "token_type", "role", "sid", "tv")

CONNECTS = [
    fixed("nothing", "", "AUTH_REQUIRED"),
    fixed("empty object", {}, "AUTH_REQUIRED"),
    fixed("null token", {"token": None}, "AUTH_REQUIRED"),
    fixed("empty token", {"token": ""}, "AUTH_REQUIRED"),
    fixed("list token", {"token": ["x"]}),
    fixed("number token", {"token": 5}),
    fixed("true token", {"token": True}),
    fixed("object token", {"token": {"access": "x"}}),
    fixed("simulated", {"simulated": True}, kind="auth_bypass_attempt"),
    with_key("role", "role", "staff"),
    with_key("userId", "userId", "1"),
    with_key("simulated", "simulated", True),
    with_key("user_id", "user_id", 1),
    Connect("feed as text", lambda _stage, who: {"token": who["token"], "feed": "all"}),
    Connect("short client nonce", lambda _stage, who: {"token": who["token"], "client_nonce": "x"}),
    *(unsigned(alg) for alg in ("none", "None", "NONE", "nOnE", "")),
    *(header(f"alg {alg}", alg=alg) for alg in ("none", "HS384", "HS512", "RS256", "hs256")),
    token(
        "HS512 in earnest",
        lambda stage, who: stage.forge(
            stage.claims(who),
            header={"alg": "HS512", "typ": "JWT", "kid": stage.kid},
            digest="sha512",
        ),
    ),
    header("kid unknown", kid="nobody"),
    header("kid path", kid="../../../../dev/null"),
    header("kid huge", kid="k" * 2_000),
    header("kid number", kid=1),
    header("kid null", kid=None),
    header("jwk", jwk={"kty": "oct", "k": "AAAA"}),
    header("jku", jku="https://evil.example/keys"),
    header("x5u", x5u="https://evil.example/cert"),
    header("crit", crit=["exp"]),
    token("other key", lambda stage, who: stage.forge(stage.claims(who), key=b"x" * 32)),
    token("empty key", lambda stage, who: stage.forge(stage.claims(who), key=b"\0")),
    *(
        spoiled(f"character {at} changed", lambda text, at=at: flip(text, at))  # type: ignore[misc]  # a default
        for at in (0, 20, 60, 150, 250, -1)
    ),
    spoiled("trailing =", lambda text: text + "="),
    spoiled("trailing newline", lambda text: text + "\n"),
    spoiled("leading space", lambda text: " " + text),
    spoiled("two parts", lambda text: text.rpartition(".")[0]),
    spoiled("four parts", lambda text: text + ".x"),
    spoiled("5,000 characters", lambda text: text + "x" * 5_000),
    spoiled("Bearer in front", lambda text: f"Bearer {text}"),
    spoiled("full-width dot", lambda text: text.replace(".", "\uff0e")),
    *(claim(name, None) for name in REQUIRED),
    claim("iss", "somebody"),
    claim("iss", ["interaction-hub"]),
    claim("aud", "hub:engine"),
    claim("aud", ["hub:user"]),
    claim("exp", "1e18"),
    claim("exp", 1e18),
    claim("exp", True),
    claim("exp", -1),
    claim("iat", 2**52),
    claim("nbf", 2**52),
    claim("nbf", "tomorrow"),
    claim("token_type", "refresh"),
    claim("role", ["user"]),
    claim("role", "Engine"),
    claim("role", "engine"),
    claim("role", "staff"),
    claim("sub", "0"),
    claim("sub", "1 OR 1=1"),
    claim("sub", "999999"),
    claim("sub", 2),
    claim("sid", "nobody"),
    claim("sid", ""),
    claim("tv", 99),
    claim("tv", "1"),
    claim("tv", True),
    raw_claims("claim iss twice", lambda text: text[:-1] + ',"iss":"interaction-hub"}'),
    raw_claims("claim exp null", lambda text: text[:-1].replace('"exp"', '"exq"') + ',"exp":null}'),
    raw_claims("claim exp NaN", lambda text: text[:-1] + ',"exp":NaN}'),
    raw_claims("claims are a list", lambda text: f"[{text}]"),
    token("refresh as access", lambda _stage, who: who["refresh"]),
    token("of an engine", lambda stage, _who: stage.engine()["token"]),
    token("of an agent", lambda stage, _who: stage.cast["agent0"]["token"]),
    token("of another login with this one's id", lambda stage, who: stage.token(
        who, sid=stage.cast["person0-elsewhere"]["session"])),
    token("expired", lambda stage, who: stage.token(who, exp=now() - 1), "AUTH_EXPIRED"),
    token("expires now", lambda stage, who: stage.token(who, exp=now()), "AUTH_EXPIRED"),
    Connect(
        "a person's token on /engine",
        lambda _stage, who: {"token": who["token"], "client_nonce": "Y" * 43},
        namespace="/engine",
    ),
    *(
        Connect(
            f"{name}'s token on {namespace}",
            lambda stage, _who, name=name: {  # type: ignore[misc]  # a default
                "token": stage.cast[name]["token"],
                "client_nonce": "Y" * 43,
            },
            namespace=namespace,
        )
        for name, namespace in (("agent0", "/engine"), ("engine1", "/agent"), ("person2", "/agent"))
    ),
    Connect(
        "no client nonce on /engine",
        lambda stage, _who: {"token": stage.engine()["token"]},
        namespace="/engine",
    ),
]  # fmt: skip
