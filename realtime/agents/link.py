"""One connection of an agent to "/agent", from its token to its end. A reconnect is a new ``Link``.

On python-socketio's client with its own reconnecting switched off: every connection needs a new
token and new keys, and nothing that was signed for one may be sent on another.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
import socketio

from realtime.agents.errors import NotConnected, NotSaid, Unwelcome
from realtime.envelopes import TOKEN_PATH, BadMessage, Opener, Sealer, Secret, token_request
from realtime.hubclock import HubClock
from security.signatures import MessageKey, from_base64url, socket_key, to_base64url

__all__ = ["Link"]

NAMESPACE: Final = "/agent"
ANSWER_S: Final = 10.0
FAREWELL_S: Final = 5.0
HEARD: Final = "action_update"
FINAL_CODES: Final = frozenset({4400, 4403})  # 4401 asks for a new token (docs/wire.md)
FINAL_REFUSALS: Final = frozenset({"FORBIDDEN"})
# Of a token request: at another time, or with the right clock, the same one may succeed.
LATER: Final = frozenset({"timestamp_expired", "replay_detected", "rate_limited", "try_again"})
SERVER_ERROR: Final = 500  # RFC 9110, section 15.6

# The transport logs whole packets at INFO, among them CONNECT with its token.
wire_log = logging.getLogger("realtime.agents.wire")
wire_log.setLevel(logging.ERROR)


class Link:
    """A connection whose messages are signed and checked.

    ``hear(action)`` is called for every authentic ``action_update``; ``drop(reason)`` for every
    message that is not the hub's.
    """

    def __init__(
        self,
        url: str,
        name: str,
        secret: Secret,
        *,
        clock: HubClock,
        hear: Callable[[dict[str, Any]], None],
        drop: Callable[[str], None],
    ) -> None:
        self._url, self._name, self._secret = url, name, secret
        self._clock, self._hear, self._drop = clock, hear, drop
        self._client_nonce = secrets.token_bytes(32)
        self._http = aiohttp.ClientSession()
        self._opened: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None
        self._waiting: set[asyncio.Future[dict[str, Any]]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._goodbye: Mapping[str, Any] = {}
        self.expires_at_ms = 0
        self.ended = asyncio.Event()
        self._socket = socketio.AsyncClient(
            reconnection=False,
            handle_sigint=False,  # the signals belong to the program, not to a library
            logger=wire_log,
            engineio_logger=wire_log,
            http_session=self._http,
        )
        handlers: dict[str, Callable[..., None]] = {
            "session": self._on_session,
            "goodbye": self._on_goodbye,
            "connect_error": self._on_refusal,
            HEARD: self._on_action,
        }
        for event, handler in handlers.items():
            self._socket.on(event, handler, namespace=NAMESPACE)

    # -- its life

    async def open(self) -> dict[str, Any]:
        """Connect; returns ``session``. Raises Unwelcome, NotConnected. Close it in any case."""
        try:
            async with asyncio.timeout(ANSWER_S):
                nonce = to_base64url(self._client_nonce)
                await self._socket.connect(
                    self._url,
                    auth={"token": await self.token(), "client_nonce": nonce},
                    namespaces=[NAMESPACE],
                    transports=["websocket"],
                    wait=False,  # a refusal shall arrive with its code
                )
                self._watch = asyncio.create_task(self._watch_end())
                return await self._opened
        except TimeoutError as fault:
            raise NotConnected("no_session_in_time") from fault
        except (socketio.exceptions.SocketIOError, aiohttp.ClientError, OSError) as fault:
            raise NotConnected(str(fault) or type(fault).__name__) from fault

    async def close(self) -> None:
        """End the connection, politely if the hub takes it in time."""
        with contextlib.suppress(
            TimeoutError, socketio.exceptions.SocketIOError, aiohttp.ClientError, OSError
        ):
            async with asyncio.timeout(FAREWELL_S):
                await self._socket.disconnect()
        await self._http.close()
        if self._watch is not None:
            await asyncio.wait({self._watch}, timeout=FAREWELL_S)
        self.ended.set()

    def wait_wished_s(self) -> float:
        """How long the hub wants to be left alone after the end. Raises Unwelcome for ever."""
        code, wait_ms = self._goodbye.get("code"), self._goodbye.get("retry_after_ms")
        if code in FINAL_CODES:
            raise Unwelcome(str(code), str(self._goodbye.get("reason", "")))
        return wait_ms / 1000 if isinstance(wait_ms, int) else 0.0

    async def token(self) -> str:
        """A new token. Raises Unwelcome, NotConnected."""
        asked = token_request("agent", self._name, self._secret, now_ms=self._clock.now_ms())
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                self._http.post(
                    self._url + TOKEN_PATH, json=asked, allow_redirects=False
                ) as answer,
            ):
                is_json = answer.content_type == "application/json"
                said = await answer.json() if is_json else {}
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise NotConnected(type(fault).__name__) from fault
        if not answer.ok:
            self._clock.follow(said.get("server_time"))
            _refuse_token(answer.status, said)
        if (
            not isinstance(said.get("access"), str)
            or type(said.get("access_expires_at")) is not int
        ):
            raise Unwelcome("answer_malformed", "is this the address of a hub?")
        self._clock.follow(said.get("server_time"))
        self.expires_at_ms = said["access_expires_at"]
        access: str = said["access"]
        return access

    # -- what is said

    async def call(self, event: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a signed message once; returns the acknowledgement.

        Raises NotSaid for a refusal, and NotConnected when it is unknown whether the hub heard.
        """
        if self._sealer is None or self.ended.is_set():
            raise NotConnected("link_lost")
        envelope = self._sealer.seal(event, body, now_ms=self._clock.now_ms())
        said = await self._answer(event, envelope)
        self._clock.follow(said.get("server_time"))
        if said.get("ok") is not True:
            raise NotSaid(
                str(said.get("error")),
                str(said.get("message", "")),
                retry_after_s=said.get("retry_after_ms", 0) / 1000,
            )
        return said

    async def _answer(self, event: str, envelope: object) -> dict[str, Any]:
        """Not by the library's ``call``: its ``wait_for`` may swallow a cancellation (gh-86296)."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.add(answer)

        def settle(*said: object) -> None:
            if not answer.done():
                answer.set_result(said[0] if said and isinstance(said[0], dict) else {})

        try:
            await self._socket.emit(event, envelope, namespace=NAMESPACE, callback=settle)
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except (socketio.exceptions.SocketIOError, TimeoutError) as fault:
            raise NotConnected(type(fault).__name__) from fault
        finally:
            self._waiting.discard(answer)

    # -- what is heard

    def _on_session(self, session: dict[str, Any]) -> None:
        if self._opened.done():
            return
        self._clock.follow(session.get("server_time"))
        self._sealer = Sealer(self._key(session, "c2s"))
        self._opener = Opener(self._key(session, "s2c"))
        self._opened.set_result(session)

    def _key(self, session: Mapping[str, Any], direction: Any) -> MessageKey:  # noqa: ANN401 - a Direction
        where = {
            "namespace": NAMESPACE,
            "principal": f"agent:{self._name}",
            "sid": self._socket.get_sid(NAMESPACE),
            "direction": direction,
        }
        derived = socket_key(
            self._secret,
            server_nonce=from_base64url(session["server_nonce"]),
            client_nonce=self._client_nonce,
            **where,
        )
        return MessageKey(derived, **where)

    def _on_action(self, message: object) -> None:
        if self._opener is None:
            self._drop("before_session")
            return
        try:
            action = self._opener.open(HEARD, message, now_ms=self._clock.now_ms())
        except BadMessage as fault:
            self._drop(fault.reason)
        else:
            self._hear(action)

    def _on_goodbye(self, said: object) -> None:
        self._goodbye = said if isinstance(said, dict) else {}

    def _on_refusal(self, said: object) -> None:
        if not self._opened.done():
            self._opened.set_exception(_connect_refused(said))

    async def _watch_end(self) -> None:
        """The transport's reader ends with the connection, however that ends."""
        await asyncio.wait({self._socket.eio.read_loop_task})
        self.ended.set()
        for future in (self._opened, *self._waiting):
            if not future.done():
                future.set_exception(NotConnected("link_lost"))


def _refuse_token(status: int, said: Mapping[str, Any]) -> None:
    code = str(said.get("code", status))
    if status >= SERVER_ERROR or code in LATER:
        raise NotConnected(code, retry_after_s=said.get("retry_after_ms", 0) / 1000)
    raise Unwelcome(code, str(said.get("message", "")))


def _connect_refused(said: object) -> Unwelcome | NotConnected:
    body = said if isinstance(said, dict) else {"message": str(said)}
    code = str(body.get("message"))
    data = body.get("data")
    detail = data.get("detail") if isinstance(data, dict) else None
    wait_ms = detail.get("retry_after_ms", 0) if isinstance(detail, dict) else 0
    if code in FINAL_REFUSALS:
        return Unwelcome(code)
    return NotConnected(code, retry_after_s=wait_ms / 1000)
