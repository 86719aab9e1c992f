"""One connection to `/engine`, from CONNECT to its end. A reconnect is a new `Link`.

The wire is python-socketio's client, with its own reconnecting switched off: every connection needs
a new token, a new nonce and new keys, and what was not acknowledged is signed again by whoever
said it. Nothing is buffered here, and nothing sent on one link is ever sent on another.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import socketio

from engine.sdk.envelope import NAMESPACE, Connection, Identity, Opener, Sealer
from engine.sdk.errors import AckMissing, BadMessage, HubRefused, HubUnreachable, LinkLost, TryLater
from engine.sdk.timing import HubClock, Timing
from security.signatures import SigningError, from_base64url, to_base64url

__all__ = ["Goodbye", "Link", "Session"]

log = logging.getLogger("engine.sdk")

# The transport logs whole packets at INFO, among them CONNECT with its token, and each closing as a
# warning, of which the keeper knows more.
_wire_log = logging.getLogger("engine.sdk.wire")
_wire_log.setLevel(logging.ERROR)

SIGNED_EVENTS: Final = ("engine_job", "job_abort", "heartbeat_ack", "ready_ack")

# Refusals of a CONNECT after which a new token and some patience help (docs/wire.md).
_REFUSED_FOR_NOW: Final = frozenset(
    {"AUTH_REQUIRED", "AUTH_INVALID", "AUTH_EXPIRED", "TOO_MANY_CONNECTIONS", "PENALTY"}
)

# Close codes that say 'no' (docs/wire.md, "Close codes"); 4401 only asks for a new token.
_FINAL_CODES: Final = frozenset({4400, 4403, 4409})


@dataclass(frozen=True, slots=True)
class Session:
    """What the hub tells at the start of a connection; times in seconds."""

    sid: str
    server_nonce: bytes
    heartbeat_s: float
    disconnect_after_s: float


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Why the hub ends the connection, and when it wants to see the engine again."""

    code: int
    reason: str
    retry_after_s: float

    @property
    def final(self) -> bool:
        """Tell whether the hub asked not to come back."""
        return self.code in _FINAL_CODES


class Link:
    """A connection whose messages are signed and checked.

    `deliver(event, body)` is called for every authentic message of the hub, in order; it must not
    raise. `refuse(reason)` is called for every other one.
    """

    def __init__(
        self,
        url: str,
        identity: Identity,
        *,
        clock: HubClock,
        timing: Timing,
        deliver: Callable[[str, dict[str, Any]], None],
        refuse: Callable[[str], None],
    ) -> None:
        self._url = url
        self._identity = identity
        self._clock = clock
        self._timing = timing
        self._deliver = deliver
        self._refuse = refuse
        self._client_nonce = secrets.token_bytes(32)
        self._opening: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self._waiting: set[asyncio.Future[Mapping[str, Any]]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._http: aiohttp.ClientSession | None = None
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None
        self._sio = self._client()
        self.goodbye: Goodbye | None = None
        self.ended = asyncio.Event()

    async def open(self, token: str) -> Session:
        """Connect and return the hub's session.

        Raises `HubRefused` for a final no, `TryLater` for everything else. Call `close()` in any
        case.
        """
        try:
            async with asyncio.timeout(self._timing.connect_s):
                await self._connect(token)
                return await self._opening
        except TimeoutError as fault:
            raise HubUnreachable("no_session_in_time") from fault
        except (socketio.exceptions.SocketIOError, aiohttp.ClientError, OSError) as fault:
            raise HubUnreachable(str(fault) or type(fault).__name__) from fault

    async def call(self, event: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a signed message once and return the hub's acknowledgement.

        Raises `LinkLost` and `AckMissing`; then it is unknown whether the hub heard.
        """
        if self._sealer is None or self.ended.is_set():
            raise LinkLost
        envelope = self._sealer.seal(event, body, now_ms=self._clock.now_ms())
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.add(answer)
        try:
            await self._sio.emit(event, envelope, namespace=NAMESPACE, callback=_settle(answer))
            async with asyncio.timeout(self._timing.ack_s):
                return await answer
        except socketio.exceptions.SocketIOError as fault:
            raise LinkLost from fault
        except TimeoutError as fault:
            raise AckMissing from fault
        finally:
            self._waiting.discard(answer)

    async def close(self) -> None:
        """End the connection, politely if the hub takes it in time. May be called again."""
        with suppress(
            TimeoutError, socketio.exceptions.SocketIOError, aiohttp.ClientError, OSError
        ):
            async with asyncio.timeout(self._timing.farewell_s):
                await self._sio.disconnect()
        if self._http is not None:
            await self._http.close()
        if self._watch is not None:
            await asyncio.wait({self._watch}, timeout=self._timing.farewell_s)
        self._end()

    # Opening.

    def _client(self) -> Any:  # noqa: ANN401 - python-socketio has no types
        sio = socketio.AsyncClient(
            reconnection=False,
            handle_sigint=False,  # the signals belong to the program, not to a library
            logger=_wire_log,
            engineio_logger=_wire_log,
            http_session=self._http_session,
        )
        for event in SIGNED_EVENTS:
            sio.on(event, self._receiver(event), namespace=NAMESPACE)
        sio.on("session", self._on_session, namespace=NAMESPACE)
        sio.on("goodbye", self._on_goodbye, namespace=NAMESPACE)
        sio.on("connect_error", self._on_connect_error, namespace=NAMESPACE)
        return sio

    def _http_session(self) -> aiohttp.ClientSession:
        """Make the session that `close()` ends; no half-open connection outlives the link."""
        self._http = aiohttp.ClientSession()
        return self._http

    async def _connect(self, token: str) -> None:
        auth = {"token": token, "client_nonce": to_base64url(self._client_nonce)}
        await self._sio.connect(
            self._url,
            auth=auth,
            namespaces=[NAMESPACE],
            transports=["websocket"],
            wait=False,  # a refusal shall arrive with its code, not as "failed to connect"
        )
        self._watch = asyncio.create_task(self._watch_end())

    async def _watch_end(self) -> None:
        """Wait for the transport's reader: it ends with the connection, however that ends."""
        await asyncio.wait({self._sio.eio.read_loop_task})
        self._end()

    def _end(self) -> None:
        self.ended.set()
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(LinkLost())
        if not self._opening.done():
            self._opening.set_exception(LinkLost())
        if not self._opening.cancelled():
            self._opening.exception()  # nobody may be waiting any more, and that is no fault

    # What the hub says.

    def _on_session(self, *data: object) -> None:
        if self._opening.done():
            self._refuse("session_twice")
            return
        try:
            self._opening.set_result(self._begin(data[0] if data else None))
        except (BadMessage, SigningError) as fault:
            self._opening.set_exception(HubRefused("session_malformed", str(fault)))

    def _begin(self, data: object) -> Session:
        """Read the session and make the keys. The sid is the one of CONNECT, whoever repeats it."""
        session = _session(data, sid=self._sio.get_sid(NAMESPACE))
        self._clock.follow(data.get("server_time") if isinstance(data, dict) else None)
        connection = Connection(session.sid, session.server_nonce, self._client_nonce)
        self._sealer = Sealer(connection.key(self._identity, "c2s"))
        self._opener = Opener(connection.key(self._identity, "s2c"))
        return session

    def _on_connect_error(self, *data: object) -> None:
        if not self._opening.done():
            self._opening.set_exception(_refusal(data[0] if data else None))

    def _on_goodbye(self, *data: object) -> None:
        said = data[0] if data and isinstance(data[0], dict) else {}
        code = said.get("code")
        self.goodbye = Goodbye(
            code=code if type(code) is int else 0,
            reason=str(said.get("reason", "")),
            retry_after_s=_seconds(said.get("retry_after_ms")),
        )

    def _receiver(self, event: str) -> Callable[..., None]:
        def receive(*data: object) -> None:
            try:
                body = self._open(event, data)
            except BadMessage as fault:
                log.warning("dropped %s: %s", event, fault, extra={"action": "engine.bad_message"})
                self._refuse(fault.reason)
            else:
                self._deliver(event, body)

        return receive

    def _open(self, event: str, data: tuple[object, ...]) -> dict[str, Any]:
        if self._opener is None or len(data) != 1:
            raise BadMessage("malformed")
        return self._opener.open(event, data[0], now_ms=self._clock.now_ms())


def _settle(answer: asyncio.Future[Mapping[str, Any]]) -> Callable[..., None]:
    def settle(*data: object) -> None:
        if not answer.done():
            answer.set_result(data[0] if data and isinstance(data[0], dict) else {})

    return settle


def _session(data: object, *, sid: str) -> Session:
    if not isinstance(data, dict) or not isinstance(data.get("server_nonce"), str):
        raise BadMessage("no server_nonce")
    if data.get("sid", sid) != sid:
        raise BadMessage("another sid than in CONNECT")
    beat = data.get("heartbeat")
    beat = beat if isinstance(beat, dict) else {}
    return Session(
        sid=sid,
        server_nonce=from_base64url(data["server_nonce"]),
        heartbeat_s=_seconds(beat.get("interval_ms")) or 3.0,  # docs/engine.md: every 3 s
        disconnect_after_s=_seconds(beat.get("disconnect_after_ms")) or 30.0,
    )


def _refusal(data: object) -> HubRefused | TryLater:
    said = data if isinstance(data, dict) else {"message": str(data)}
    detail = said.get("data")
    detail = detail if isinstance(detail, dict) else {}
    code = str(detail.get("code") or said.get("message"))
    if code in _REFUSED_FOR_NOW or detail.get("retry") is True:
        return TryLater(code, retry_after_s=_seconds(detail.get("retry_after_ms")))
    if not detail:  # no answer of a hub: the transport itself failed
        return HubUnreachable(code)
    return HubRefused(code, str(detail.get("detail", "")))


def _seconds(milliseconds: object) -> float:
    return milliseconds / 1000 if type(milliseconds) is int and milliseconds > 0 else 0.0
