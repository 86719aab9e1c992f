"""A small hub for tests of the engine side: real sockets, real signatures, scripted answers.

It speaks Socket.IO with python-socketio's server and derives every key by itself, so that the SDK
is not checked against its own code.
"""

import asyncio
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import socketio
from aiohttp import web

from engine.sdk import Context, Engine, Job, Timing
from security.signatures import MessageKey, from_base64url, socket_key, to_base64url

NAMESPACE = "/engine"
NAME = "builder"
PRINCIPAL = f"engine:{NAME}"
DEADLINE_S = 10

QUICK = Timing(
    connect_s=5, ack_s=5, first_delay_s=0.01, longest_delay_s=0.05, progress_s=0.01, farewell_s=2
)
"""Waits for a network without distance."""

Json = dict[str, Any]
Running = Callable[[Engine], AbstractAsyncContextManager["asyncio.Task[None]"]]
"""The type of the fixture that runs an engine beside a test."""


@dataclass(frozen=True)
class Said:
    """An authentic event of the engine."""

    event: str
    body: Json
    sid: str
    at: float


@dataclass
class Connection:
    """One socket of the engine."""

    sid: str
    server_nonce: bytes
    client_nonce: bytes
    token: str
    request: web.Request
    nonces: set[str] = field(default_factory=set)


class FakeHub:
    """Start with `await hub.start()`; `hub.url` is its address, `hub.secret` the engine's text."""

    def __init__(self) -> None:
        self.key = secrets.token_bytes(32)
        self.secret = to_base64url(self.key)
        self.url = ""
        self.clock_ahead_ms = 0
        self.token_life_ms = 3_600_000
        self.heartbeat_ms = 60_000
        self.silent_after_ms = 90_000
        self.mute_sessions = 0
        self.session_changes: Json = {}
        self.said: list[Said] = []
        self.faults: list[str] = []
        self.connections: list[Connection] = []
        self.tokens: list[str] = []
        self.uploads: list[tuple[str, Json, bytes]] = []
        self.specs: dict[str, bytes] = {}
        self.acks: dict[str, list[Any]] = defaultdict(list)
        self.refusals: list[tuple[str, Json]] = []
        self.token_answers: list[tuple[int, Json]] = []
        self.upload_answers: list[tuple[int, Json]] = []
        self.upload_refusals: dict[str, tuple[int, Json]] = {}
        self.on_event: Callable[[Said], None] = lambda _said: None
        self._news = asyncio.Event()
        self._closing = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sio = socketio.AsyncServer(
            async_mode="aiohttp", namespaces=[NAMESPACE], monitor_clients=False
        )
        self._sio.on("connect", self._on_connect, namespace=NAMESPACE)
        self._sio.on("*", self._on_event, namespace=NAMESPACE)
        self._runner: web.AppRunner | None = None

    # Life.

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=40_000_000)
        self._sio.attach(app)
        app.router.add_get("/api/time/", self._time)
        app.router.add_post("/api/service-token/", self._service_token)
        app.router.add_put("/api/builds/{build_id}/{kind}/", self._upload)
        app.router.add_get("/api/builds/{build_id}/spec/", self._spec)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self._closing.set()
        for connection in self.connections:
            self.drop(connection)
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def now_ms(self) -> int:
        return int(time.time() * 1000) + self.clock_ahead_ms

    # What a test does.

    async def until(self, claim: Callable[[], Any]) -> Any:
        """Wait until something that the hub sees makes the claim true; return its value."""
        async with asyncio.timeout(DEADLINE_S):
            while not (value := claim()):
                self._news.clear()
                await self._news.wait()
        return value

    async def hears(self, event: str, count: int = 1) -> Said:
        """Wait for the event; return its `count`-th occurrence, counted from 1."""
        found: list[Said] = await self.until(
            lambda: len(self.all(event)) >= count and self.all(event)
        )
        return found[count - 1]

    def all(self, event: str) -> list[Said]:
        return [said for said in self.said if said.event == event]

    def events(self) -> list[str]:
        """The names of all events but heartbeats, in order."""
        return [said.event for said in self.said if said.event != "engine_heartbeat"]

    def seal(self, event: str, body: Any, *, ts: int | None = None, key: bytes = b"") -> Json:
        connection = self.connections[-1]
        payload, nonce = json.dumps(body), secrets.token_urlsafe(24)
        ts = self.now_ms() if ts is None else ts
        signer = self._signer(connection, "s2c", key)
        sig = signer.sign(type=event, ts=ts, nonce=nonce, payload=payload)
        return {"payload": payload, "ts": ts, "nonce": nonce, "sig": sig}

    async def emit(self, event: str, data: Any) -> None:
        """Send anything, as it is, to the newest connection."""
        await self._sio.emit(event, data, to=self.connections[-1].sid, namespace=NAMESPACE)

    async def send(self, event: str, body: Json) -> None:
        await self.emit(event, self.seal(event, body))

    async def submit(self, job_id: str = "j1", attempt_id: str = "a1", **changes: Any) -> None:
        await self.send("engine_job", engine_job(job_id, attempt_id, **changes))

    async def goodbye(self, code: int, retry_after_ms: int = 0) -> None:
        """Say goodbye as wire.md has it, with a DISCONNECT where the code says 'no'."""
        body = {"code": code, "reason": "because", "retry_after_ms": retry_after_ms}
        await self.emit("goodbye", body)
        await self._sio.disconnect(self.connections[-1].sid, namespace=NAMESPACE)

    def drop(self, connection: Connection | None = None) -> None:
        """Cut the connection without a word."""
        request = (connection or self.connections[-1]).request
        if request.transport is not None:
            request.transport.abort()

    # HTTP.

    async def _time(self, _request: web.Request) -> web.Response:
        return web.json_response({"server_time": self.now_ms()})

    async def _service_token(self, request: web.Request) -> web.Response:
        self._news.set()
        if self.token_answers:
            status, body = self.token_answers.pop(0)
            return web.json_response(body, status=status)
        asked = await request.json()
        self._verify_http(request.path, "token_request", "", asked)
        if asked["kind"] != "engine" or asked["name"] != NAME:
            self._fault("token_request")
        self.tokens.append(secrets.token_urlsafe(16))
        now = self.now_ms()
        ends = now + self.token_life_ms
        return web.json_response(
            {"access": self.tokens[-1], "access_expires_at": ends, "server_time": now}
        )

    async def _upload(self, request: web.Request) -> web.Response:
        body = await request.read()
        kind = request.match_info["kind"]
        if self.upload_answers or kind in self.upload_refusals:
            refusal = self.upload_refusals.get(kind)
            status, answer = refusal or self.upload_answers.pop(0)
            return web.json_response(answer, status=status)
        job_id, attempt_id = request.headers["Hub-Job"], request.headers["Hub-Attempt"]
        signed = {
            "ts": int(request.headers["Hub-Ts"]),
            "nonce": request.headers["Hub-Nonce"],
            "sig": request.headers["Hub-Sig"],
        }
        payload = f"{job_id}:{attempt_id}:{sha256(body).hexdigest()}"
        self._verify_http(request.path, "artifact", payload, signed)
        self._verify_bearer(request)
        ids = {"job_id": job_id, "attempt_id": attempt_id, **request.match_info}
        self.uploads.append((kind, ids, body))
        return web.json_response({}, status=201)

    async def _spec(self, request: web.Request) -> web.Response:
        self._verify_bearer(request)
        return web.Response(body=self.specs[request.match_info["build_id"]])

    def _verify_http(self, path: str, name: str, payload: str, signed: Json) -> None:
        key = MessageKey(self.key, direction="c2s", namespace=path, principal=PRINCIPAL, sid="")
        fields = {part: signed[part] for part in ("ts", "nonce", "sig")}
        if not key.verify(type=name, payload=payload, **fields):
            self._fault(f"{name} signature")
        if abs(self.now_ms() - signed["ts"]) > 30_000:
            self._fault(f"{name} time")

    def _verify_bearer(self, request: web.Request) -> None:
        if request.headers["Authorization"].removeprefix("Bearer ") not in self.tokens:
            self._fault("bearer")

    # Socket.IO.

    async def _on_connect(self, sid: str, environ: Json, auth: Json) -> None:
        if self.refusals:
            self._news.set()
            raise socketio.exceptions.ConnectionRefusedError(*self.refusals.pop(0))
        if set(auth) != {"token", "client_nonce"} or auth["token"] not in self.tokens:
            self._fault("auth")
        connection = Connection(
            sid=sid,
            server_nonce=secrets.token_bytes(32),
            client_nonce=from_base64url(auth["client_nonce"]),
            token=auth["token"],
            request=environ["aiohttp.request"],
        )
        earlier = {other.client_nonce for other in self.connections}
        if len(connection.client_nonce) != 32 or connection.client_nonce in earlier:
            self._fault("client_nonce")
        if "Origin" in connection.request.headers:
            self._fault("origin")
        self.connections.append(connection)
        self._start(self._greet(connection))

    async def _greet(self, connection: Connection) -> None:
        """Send the session after CONNECT, which the library sends when its handler returned."""
        while not self._sio.manager.is_connected(connection.sid, NAMESPACE):  # noqa: ASYNC110 - the library has no event for it
            await asyncio.sleep(0)
        if self.mute_sessions:
            self.mute_sessions -= 1
            return
        body = self.session() | self.session_changes
        await self._sio.emit("session", body, to=connection.sid, namespace=NAMESPACE)

    def session(self) -> Json:
        connection = self.connections[-1]
        return {
            "sid": connection.sid,
            "principal": PRINCIPAL,
            "engine": NAME,
            "namespace": NAMESPACE,
            "server_nonce": to_base64url(connection.server_nonce),
            "drift_ms": 30_000,
            "heartbeat": {
                "interval_ms": self.heartbeat_ms,
                "inactive_after_ms": self.silent_after_ms // 2,
                "disconnect_after_ms": self.silent_after_ms,
            },
            "limits": {},
            "server_time": self.now_ms(),
        }

    async def _on_event(self, event: str, sid: str, *data: Any) -> Any:
        connection = next(each for each in self.connections if each.sid == sid)
        body = self._verify(connection, event, *data)
        said = Said(event, body, sid, time.monotonic())
        self.said.append(said)
        self._news.set()
        self.on_event(said)
        script = self.acks[event]
        ack = script.pop(0) if script else {"ok": True}
        if ack is None:  # the hub never answers
            await self._closing.wait()
        return ack

    def _verify(self, connection: Connection, event: str, envelope: Json) -> Json:
        if set(envelope) != {"payload", "ts", "nonce", "sig"}:
            self._fault(f"{event} form")
        if envelope["nonce"] in connection.nonces:
            self._fault(f"{event} nonce")
        connection.nonces.add(envelope["nonce"])
        if abs(self.now_ms() - envelope["ts"]) > 30_000:
            self._fault(f"{event} time")
        if not self._signer(connection, "c2s").verify(type=event, **envelope):
            self._fault(f"{event} signature")
        body: Json = json.loads(envelope["payload"])
        return body

    def _signer(self, connection: Connection, direction: Any, key: bytes = b"") -> MessageKey:
        derived = socket_key(
            key or self.key,
            server_nonce=connection.server_nonce,
            client_nonce=connection.client_nonce,
            namespace=NAMESPACE,
            principal=PRINCIPAL,
            sid=connection.sid,
            direction=direction,
        )
        return MessageKey(
            derived,
            direction=direction,
            namespace=NAMESPACE,
            principal=PRINCIPAL,
            sid=connection.sid,
        )

    def _fault(self, what: str) -> None:
        self.faults.append(what)
        self._news.set()

    def _start(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def engine_job(job_id: str, attempt_id: str, **changes: Any) -> Json:
    """The body of an `engine_job`."""
    return {
        "job_id": job_id,
        "attempt_id": attempt_id,
        "job_type": "BUILD_SCENE",
        "payload": {},
        "world_spec": None,
        "execution_params": {
            "priority": "normal",
            "timeout_ms": 60_000,
            "lease_ms": 10_000,
            "finish": False,
        },
        "build_id": "b1",
        "world_sha256": "0" * 64,
        "submitted_at": 1,
        "user_id": "7",
        **changes,
    }


async def nothing(_job: Job, _context: Context) -> None:
    """Handle a job without doing anything."""
