"""A client that sends whatever it is told to, and keeps every byte that it is told."""

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Self

import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from security.signatures import MessageKey, from_base64url, socket_key, to_base64url
from tests import leaks

ADDRESS = "/socket.io/?EIO=4&transport=websocket"
DEADLINE_S = 60.0
CLIENT_NONCE = b"c" * 32


class Raw:
    """One WebSocket. ``frames`` is all that came; pings of Engine.IO are answered."""

    def __init__(self, url: str, *, ip: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.uri = url.replace("http", "ws", 1)
        self.headers = {**({"X-Forwarded-For": ip} if ip else {}), **(headers or {})}
        self.frames: list[str] = []
        self.code: int | None = None
        self.pongs = True
        self._socket: Any = None
        self._reading: asyncio.Task[None]
        self._news = asyncio.Condition()
        self._acks = itertools.count()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def open(self, address: str = ADDRESS, **options: Any) -> None:
        """Raises InvalidStatus where the handshake is refused."""
        self._socket = await websockets.connect(
            self.uri + address,
            additional_headers=self.headers,
            compression=options.pop("compression", None),
            ping_interval=None,
            open_timeout=DEADLINE_S,
            max_size=None,
            proxy=None,
            **options,
        )
        self._reading = asyncio.create_task(self._read())

    async def status(self, address: str = ADDRESS) -> int:
        """The HTTP status that the handshake is answered with."""
        try:
            await self.open(address)
        except InvalidStatus as refused:
            self.frames.append((refused.response.body or b"").decode())
            return refused.response.status_code
        return 101

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
            await self._reading
            # The first frame is the session's own id, for this client alone.
            leaks.search_text("what a client heard", "\n".join(self.frames[1:]), leaks.known())

    async def send(self, frame: str | bytes) -> None:
        await self._socket.send(frame)

    async def send_all(self, *frames: str | bytes) -> None:
        """Send what the hub may close in the middle of."""
        try:
            for frame in frames:
                await self.send(frame)
        except ConnectionClosed:
            pass

    @property
    def transport(self) -> Any:
        """The bare connection, for bytes that no library would send."""
        return self._socket.transport

    async def join(self, auth: str = "", namespace: str = "/") -> dict[str, Any]:
        """CONNECT; returns ``session``, or the refusal's data."""
        await self.send(f"40{prefix(namespace)}{auth}")
        refused, greeted = f"44{prefix(namespace)}", f'42{prefix(namespace)}["session",'
        frame = await self.until(lambda each: each.startswith((refused, greeted)))
        if frame.startswith(refused):
            data: dict[str, Any] = json.loads(frame[len(refused) :])["data"]
            return data
        session: dict[str, Any] = json.loads(frame[len(greeted) - len('["session",') :])[1]
        return session

    async def call(self, *args: object, namespace: str = "/") -> dict[str, Any]:
        """Send an event; returns its acknowledgement."""
        ack_id = next(self._acks)
        await self.send(f"42{prefix(namespace)}{ack_id}{json.dumps(args)}")
        return await self.answer(ack_id, namespace)

    async def answer(self, ack_id: int, namespace: str = "/") -> dict[str, Any]:
        head = f"43{prefix(namespace)}{ack_id}["
        frame = await self.until(lambda each: each.startswith(head))
        body: dict[str, Any] = json.loads(frame[len(head) - 1 :])[0]
        return body

    async def until(self, wanted: Any) -> str:
        """The first frame that is wanted, past or to come."""
        async with asyncio.timeout(DEADLINE_S), self._news:
            while True:
                for frame in self.frames:
                    if wanted(frame):
                        return frame
                if self.code is not None:
                    raise ConnectionError(f"closed with {self.code}: {self.frames[-3:]}")
                await self._news.wait()

    async def closed(self) -> int:
        """Wait until the hub closes; returns the code."""
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.shield(self._reading)
        assert self.code is not None
        return self.code

    def heard(self, event: str) -> list[Any]:
        head = f'42["{event}"'
        return [json.loads(frame[2:])[1] for frame in self.frames if frame.startswith(head)]

    def _keep(self, frame: str) -> None:
        if not self.frames and frame.startswith("0{"):
            leaks.know("the id of a session", json.loads(frame[1:])["sid"])
        self.frames.append(frame)

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                async with self._news:
                    self._keep(frame if isinstance(frame, str) else frame.hex())
                    self._news.notify_all()
                if frame == "2" and self.pongs:
                    await self._socket.send("3")
        except ConnectionClosed:
            pass
        async with self._news:
            self.code = self._socket.close_code
            self._news.notify_all()


class Member(Raw):
    """A person or an engine who has joined and signs."""

    def __init__(self, url: str, who: Mapping[str, Any], *, ip: str = "") -> None:
        super().__init__(url, ip=ip)
        self.who = who
        kind = who["principal"].partition(":")[0]
        self.namespace = "/" if kind == "user" else f"/{kind}"
        self.session: dict[str, Any] = {}
        self.offset_ms = 0
        self.key: MessageKey
        self.sends: MessageKey

    async def open(self, address: str = ADDRESS, **options: Any) -> None:
        """Raises ConnectionError, and leaves nothing open, where the hub refuses the member."""
        await super().open(address, **options)
        auth = {"token": self.who["token"], "client_nonce": to_base64url(CLIENT_NONCE)}
        self.session = await self.join(json.dumps(auth), self.namespace)
        if "server_nonce" not in self.session:
            await self.close()
            raise ConnectionError(self.session)
        self.offset_ms = self.session["server_time"] - int(time.time() * 1000)
        self.key = self.key_for()
        self.sends = self.key_for(direction="s2c")

    def key_for(self, *, secret: str = "", direction: Any = "c2s", **where: str) -> MessageKey:
        """The key of this connection; or one that is wrong in what is named."""
        place = {
            "namespace": self.namespace,
            "principal": self.session["principal"],
            "sid": self.session["sid"],
            **where,
        }
        derived = socket_key(
            from_base64url(secret or self.who["secret"]),
            server_nonce=from_base64url(self.session["server_nonce"]),
            client_nonce=CLIENT_NONCE,
            direction=direction,
            **place,
        )
        return MessageKey(derived, direction=direction, **place)

    def sign(
        self, kind: str, payload: object = None, *, key: MessageKey | None = None, **fields: Any
    ) -> dict[str, Any]:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        message = {
            "type": kind,
            "payload": text,
            "ts": self.now_ms(),
            "nonce": secrets.token_urlsafe(18),
            **fields,
        }
        sealed = {**message, "sig": (key or self.key).sign(**message)}
        if self.namespace != "/":
            del sealed["type"]
        return sealed

    def now_ms(self) -> int:
        return int(time.time() * 1000) + self.offset_ms

    async def act(self, envelope: object) -> dict[str, Any]:
        return await self.call("action", envelope)

    async def report(self, event: str, envelope: object) -> dict[str, Any]:
        return await self.call(event, envelope, namespace=self.namespace)


def prefix(namespace: str) -> str:
    return "" if namespace == "/" else f"{namespace},"
