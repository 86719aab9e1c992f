"""The hub's HTTP interface as an engine needs it: tokens, the time, specifications and uploads.

Nothing here follows a redirect: a token belongs to one address. Answers are read up to a bound.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import Any, Final, Literal, NoReturn
from urllib.parse import quote

import aiohttp

from engine.sdk.envelope import Identity, fresh_nonce
from engine.sdk.errors import HubRefused, HubUnreachable, SpecMismatch, TryLater
from engine.sdk.timing import HubClock, Timing
from realtime.envelopes import TOKEN_PATH, token_request
from security.signatures import MessageKey

__all__ = ["HubApi", "Place", "Token"]

TIME_PATH: Final = "/api/time/"
LARGEST_ANSWER: Final = (
    4 * 1024 * 1024
)  # a specification is at most 512 KiB (docs/security.md, "Limits")
TOKEN_SPARE_MS: Final = 5_000  # a token that ends sooner is not worth sending

# Refusals of a request that was right but came at the wrong time by our clock, or twice.
_CLOCK_CODES: Final = frozenset(
    {"timestamp_expired", "replay_detected", "ENGINE_TIMESTAMP_EXPIRED", "ENGINE_NONCE_REPLAY"}
)
_LATER_CODES: Final = frozenset({"try_again", "TRY_AGAIN", "rate_limited", "RATE_LIMITED"})
_LATER_STATUS: Final = frozenset({408, 425, 429})  # RFC 9110 and 6585: the same request may succeed


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token of the engine and when it ends, in the hub's milliseconds."""

    access: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an upload belongs."""

    build_id: str
    job_id: str
    attempt_id: str


class HubApi:
    """Requests of one engine. Methods raise `HubRefused` for a final no, else `TryLater`."""

    def __init__(
        self,
        url: str,
        identity: Identity,
        *,
        http: aiohttp.ClientSession,
        clock: HubClock,
        timing: Timing,
    ) -> None:
        self._url = url
        self._identity = identity
        self._http = http
        self._clock = clock
        self._timing = timing
        self._token: Token | None = None

    async def new_token(self) -> Token:
        """Prove the secret and return a token that was never used."""
        await self._know_the_time()
        asked = token_request(
            "engine", self._identity.name, self._identity.secret, now_ms=self._clock.now_ms()
        )
        answer = await self._json("POST", TOKEN_PATH, json=asked)
        self._clock.follow(answer.get("server_time"))
        self._token = _token(answer)
        return self._token

    async def put(self, kind: Literal["artifact", "thumbnail"], place: Place, data: bytes) -> None:
        """Store the bytes for the attempt; repeats itself until the hub has them or says no."""
        path = f"/api/builds/{quote(place.build_id, safe='')}/{kind}/"
        digest = sha256(data).hexdigest()
        delays = self._timing.delays()
        for tries_left in reversed(range(self._timing.upload_tries)):
            try:
                headers = await self._bearer() | self._upload_headers(path, place, digest)
                await self._request("PUT", path, headers=headers, data=BytesIO(data))
            except TryLater as later:
                if not tries_left:
                    raise
                await asyncio.sleep(max(next(delays), later.retry_after_s))
            else:
                return

    async def specification(self, build_id: str, *, digest: str) -> dict[str, Any]:
        """Return the world specification of a build whose bytes have the SHA-256 `digest`.

        Raises `SpecMismatch` if they do not.
        """
        path = f"/api/builds/{quote(build_id, safe='')}/spec/"
        body = await self._request("GET", path, headers=await self._bearer())
        seen = sha256(body).hexdigest()
        if seen != digest:
            raise SpecMismatch(expected=digest, seen=seen)
        return _object(body)

    # Signatures.

    def _upload_headers(self, path: str, place: Place, digest: str) -> dict[str, str]:
        ts, nonce = self._clock.now_ms(), fresh_nonce()
        payload = f"{place.job_id}:{place.attempt_id}:{digest}"
        return {
            "Hub-Job": place.job_id,
            "Hub-Attempt": place.attempt_id,
            "Hub-Ts": str(ts),
            "Hub-Nonce": nonce,
            "Hub-Sig": self._key(path).sign(type="artifact", ts=ts, nonce=nonce, payload=payload),
            "Content-Type": "application/octet-stream",
        }

    def _key(self, path: str) -> MessageKey:
        """Return the secret itself as a key: over HTTP there is no connection to derive one for."""
        return MessageKey(
            self._identity.secret,
            direction="c2s",
            namespace=path,
            principal=self._identity.principal,
            sid="",
        )

    async def _know_the_time(self) -> None:
        """Ask the hub for the time, if it has not told or has refused a signature for its age."""
        if not self._clock.known:
            self._clock.follow((await self._json("GET", TIME_PATH)).get("server_time"))

    async def _bearer(self) -> dict[str, str]:
        await self._know_the_time()
        token = self._token
        if token is None or token.expires_at_ms - self._clock.now_ms() < TOKEN_SPARE_MS:
            token = await self.new_token()
        return {"Authorization": f"Bearer {token.access}"}

    # Requests.

    async def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - aiohttp's own options
        return _object(await self._request(method, path, **options))

    async def _request(self, method: str, path: str, **options: Any) -> bytes:  # noqa: ANN401 - aiohttp's own options
        try:
            async with self._http.request(
                method, self._url + path, allow_redirects=False, **options
            ) as response:
                body = await _read(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as fault:
            raise HubUnreachable(type(fault).__name__) from fault
        if not 200 <= response.status < 300:  # noqa: PLR2004 - RFC 9110, section 15.3
            self._refuse(response.status, body, with_bearer="headers" in options)
        return body

    def _refuse(self, status: int, body: bytes, *, with_bearer: bool) -> NoReturn:
        answer = _object(body, otherwise={})
        code, message = str(answer.get("code", status)), str(answer.get("message", ""))
        wait_s = _seconds(answer.get("retry_after_ms"))
        if status >= 500:  # noqa: PLR2004 - RFC 9110, section 15.6
            raise HubUnreachable(code, retry_after_s=wait_s)
        if code in _CLOCK_CODES:
            self._clock.known = False
            raise TryLater(code)
        if status == 401 and with_bearer:  # noqa: PLR2004 - the token ended: ask for another one
            self._token = None
            raise TryLater(code)
        if status in _LATER_STATUS or code in _LATER_CODES:
            raise TryLater(code, retry_after_s=wait_s)
        raise HubRefused(code, message)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise HubRefused("answer_too_large")
    return bytes(body)


def _object(body: bytes, *, otherwise: Mapping[str, Any] | None = None) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    if otherwise is None:
        raise HubRefused("answer_malformed", "is this the address of a hub?")
    return dict(otherwise)


def _token(answer: Mapping[str, Any]) -> Token:
    access, expires = answer.get("access"), answer.get("access_expires_at")
    if not isinstance(access, str) or type(expires) is not int:
        raise HubRefused("answer_malformed", "no token in the hub's answer")
    return Token(access, expires)


def _seconds(milliseconds: object) -> float:
    return milliseconds / 1000 if type(milliseconds) is int and milliseconds > 0 else 0.0
