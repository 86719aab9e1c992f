"""A person's client in Python: signs in, signs actions, keeps the heartbeat. On python-socketio.

It is to Python what ``static/realtime/hub.js`` is to browsers, and imports nothing of Django, so
that bots, tests and load generators can use it alone (extra ``engine`` brings python-socketio).

    HubRefused            the hub said no: ``code`` and ``body`` say why
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

import aiohttp
import engineio.payload
import orjson
import socketio

from security.signatures import MessageKey, from_base64url, socket_key, to_base64url

__all__ = ["HubClient", "HubRefused"]

# python-engineio gives up a polling session when more than 16 packets come in one answer; the hub
# answers a poll with all that waits, as the protocol has it, and bounds it in bytes.
engineio.payload.Payload.max_decode_packets = 10_000

ANSWER_S: Final = 10.0
NONCE_BYTES: Final = 18
CLIENT_NONCE_BYTES: Final = 32


class HubRefused(Exception):
    """The hub refused a request, a connection or an action."""

    def __init__(self, code: str, body: Mapping[str, Any]) -> None:
        self.code, self.body = code, body
        super().__init__(code)

    def __str__(self) -> str:
        return f"{self.code}: {self.body.get('message', '')}"


class HubClient:
    """One login and one socket. Use ``async with``, or close it."""

    def __init__(self, url: str, *, transports: tuple[str, ...] = ("websocket",)) -> None:
        self.url = url.rstrip("/")
        self.login: dict[str, Any] = {}
        self.session: dict[str, Any] = {}
        self.offset_ms = 0
        self._transports = transports
        self._http = aiohttp.ClientSession()
        self.socket = socketio.AsyncClient(
            reconnection=False, http_session=self._http, json=_Json, handle_sigint=False
        )
        self._key: MessageKey | None = None
        self._client_nonce = b""
        self._joined = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None
        self._heard: dict[str, asyncio.Queue[Any]] = {}
        self.socket.on("session", self._on_session)
        self.socket.on("*", self._on_any)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    # -- signing in

    async def sign_in(self, username: str, password: str) -> None:
        """Log in. Raises HubRefused."""
        self.login = await self.request(
            "POST", "/api/token/", {"username": username, "password": password}
        )
        self._set_clock(self.login["server_time"])

    async def request(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """Call the HTTP API with the access token. Raises HubRefused for any error status."""
        headers = {"Content-Type": "application/json"}
        if "access" in self.login:
            headers["Authorization"] = f"Bearer {self.login['access']}"
        data = None if body is None else orjson.dumps(body)
        async with self._http.request(
            method, self.url + path, data=data, headers=headers
        ) as answer:
            raw = await answer.read()
            if not answer.ok:
                error = orjson.loads(raw)
                raise HubRefused(error["code"], error)
            is_json = answer.content_type == "application/json"
            return orjson.loads(raw) if is_json and raw else raw

    # -- the socket

    async def connect(self, *, feed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Open the socket and join "/"; returns ``session``. Raises HubRefused."""
        self._client_nonce = secrets.token_bytes(CLIENT_NONCE_BYTES)
        self._joined.clear()
        auth = {"token": self.login["access"], "client_nonce": to_base64url(self._client_nonce)}
        if feed is not None:
            auth["feed"] = dict(feed)
        refusals: list[Any] = []
        self.socket.on("connect_error", refusals.append)
        try:
            await self.socket.connect(
                self.url, auth=auth, transports=list(self._transports), wait_timeout=ANSWER_S
            )
        except socketio.exceptions.ConnectionError as error:
            said = refusals[0] if refusals and isinstance(refusals[0], dict) else {}
            raise HubRefused(said.get("message", "unreachable"), said.get("data", {})) from error
        async with asyncio.timeout(ANSWER_S):
            await self._joined.wait()
        interval_s = self.session["heartbeat"]["interval_ms"] / 1000
        self._beating = asyncio.create_task(self._beat(interval_s))
        return self.session

    async def close(self) -> None:
        """Leave; the login itself goes on."""
        if self._beating is not None:
            self._beating.cancel()
        with contextlib.suppress(Exception):
            await self.socket.disconnect()
        await self._http.close()

    def on(self, event: str, handler: Callable[[Any], Any]) -> None:
        """Call a handler for each event of a name, instead of keeping them for ``next``."""
        self.socket.on(event, handler)

    async def next(self, event: str, *, within_s: float = ANSWER_S) -> Any:  # noqa: ANN401 - wire data
        """The next event of that name, kept since it came. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            return await self._queue(event).get()

    # -- actions

    async def act(self, kind: str, payload: object = None) -> dict[str, Any]:
        """Send a signed action, return its acknowledgement. Raises HubRefused."""
        answer = await self.send(self.sign(kind, payload))
        if not answer["ok"]:
            raise HubRefused(answer["error"], answer)
        return answer

    def sign(self, kind: str, payload: object = None, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - wire data
        """The envelope of an action; ``fields`` (ts, nonce) replace what it would be given."""
        if self._key is None:
            raise RuntimeError("not connected")
        text = payload if isinstance(payload, str) else orjson.dumps(payload).decode()
        envelope = {
            "type": kind,
            "payload": text,
            "ts": self.now_ms(),
            "nonce": secrets.token_urlsafe(NONCE_BYTES),
            **fields,
        }
        return {**envelope, "sig": self._key.sign(**envelope)}

    async def send(self, envelope: Mapping[str, Any]) -> dict[str, Any]:
        """Send an envelope as it is, return the acknowledgement, whatever it says."""
        answer: dict[str, Any] = await self.socket.call("action", dict(envelope), timeout=ANSWER_S)
        return answer

    def now_ms(self) -> int:
        """The hub's time, as far as this client knows."""
        return int(time.time() * 1000) + self.offset_ms

    # -- inside

    def _queue(self, event: str) -> "asyncio.Queue[Any]":
        return self._heard.setdefault(event, asyncio.Queue())

    def _on_any(self, event: str, *args: Any) -> None:  # noqa: ANN401 - wire data
        self._queue(event).put_nowait(args[0] if args else None)

    def _on_session(self, session: dict[str, Any]) -> None:
        self.session = session
        self._set_clock(session["server_time"])
        where = {
            "namespace": "/",
            "principal": session["principal"],
            "sid": session["sid"],
        }
        derived = socket_key(
            from_base64url(self.login["session_secret"]),
            server_nonce=from_base64url(session["server_nonce"]),
            client_nonce=self._client_nonce,
            direction="c2s",
            **where,
        )
        self._key = MessageKey(derived, direction="c2s", **where)
        self._joined.set()

    def _set_clock(self, server_time: int) -> None:
        self.offset_ms = server_time - int(time.time() * 1000)

    async def _beat(self, interval_s: float) -> None:
        with contextlib.suppress(socketio.exceptions.SocketIOError):  # the socket is gone
            while True:
                await asyncio.sleep(interval_s)
                await self.socket.emit("heartbeat", {"ts": self.now_ms()})


class _Json:
    """orjson in the place where python-socketio expects the json module."""

    @staticmethod
    def dumps(value: object, **_options: object) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_options: object) -> Any:  # noqa: ANN401 - JSON
        return orjson.loads(text)
