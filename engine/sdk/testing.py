"""A hub for the tests of engine authors: real sockets, real signatures, and answers by script.

It listens on a loopback port and speaks as the hub does (docs/wire.md), but keeps
no jobs and no database: a test says what it sends and looks at what the engine said. An engine of
any language can be tested against it. It derives every key by itself, so that the SDK is not
checked against its own code.

    async with FakeHub() as hub:
        engine = build_my_engine(hub.url, hub.name, hub.secret)
        running = asyncio.create_task(engine.run())
        built = await hub.build(world)            # all jobs of a world, in the hub's order
        assert built.artifact.startswith(b"glTF")
        engine.stop()
        await running
        assert hub.faults == []

Whatever an engine does wrong in form, time, signature or nonce is a line of `faults`. Not shipped
for production use: it admits one engine, and everything is kept in memory.
"""

import asyncio
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Self, TypeVar, cast

import socketio
from aiohttp import web

from engine.sdk.examiner import NAMESPACE, NONCE_BYTES, WINDOW_MS, Connection, Examiner, Json
from engine.worldspec import PlannedJob, WorldSpec, plan
from security.signatures import from_base64url, to_base64url

__all__ = ["DEADLINE_S", "Built", "Connection", "FakeHub", "Said", "engine_job"]

DEADLINE_S: Final = 10.0
"""How long a test waits for anything."""

LARGEST_BODY: Final = 40_000_000

T = TypeVar("T")


@dataclass(frozen=True)
class Said:
    """An authentic event of the engine."""

    event: str
    body: Json
    sid: str
    at: float


@dataclass(frozen=True)
class Built:
    """What became of a world: each job's result in the hub's order, and the files that came."""

    results: list[Json]
    files: dict[str, bytes]

    @property
    def artifact(self) -> bytes:
        """The built file; raises `KeyError` if the engine brought none."""
        return self.files["artifact"]


class FakeHub(Examiner):
    """Use it as a context, or `start` and `stop` it.

    For the engine: `url`, `name`, `secret`. What was heard, in order: `said` (authentic events),
    `uploads` (kind, ids, bytes), `tokens`, `connections`, and `faults`, which a good engine leaves
    empty. Scripts: `acks[event]` are answered one after another before `{"ok": True}` (None never
    answers), `refusals` refuse connections, `token_answers` and `upload_answers` are HTTP answers,
    `upload_refusals[kind]` answers every upload of a kind. `specs[build_id]` are served as bytes.
    Numbers that a test may set before the engine connects: `clock_ahead_ms`, `token_life_ms`,
    `heartbeat_ms`, `silent_after_ms`.
    """

    def __init__(self, name: str = "builder") -> None:
        super().__init__(name)
        self.url = ""
        self.token_life_ms = 3_600_000
        self.heartbeat_ms = 60_000
        self.silent_after_ms = 90_000
        self.mute_sessions = 0
        self.session_changes: Json = {}
        self.said: list[Said] = []
        self.connections: list[Connection] = []
        self.uploads: list[tuple[str, Json, bytes]] = []
        self.specs: dict[str, bytes] = {}
        self.acks: dict[str, list[Any]] = defaultdict(list)
        self.refusals: list[tuple[str, Json]] = []
        self.token_answers: list[tuple[int, Json]] = []
        self.upload_answers: list[tuple[int, Json]] = []
        self.upload_refusals: dict[str, tuple[int, Json]] = {}
        self.on_event: Callable[[Said], None] = lambda _said: None
        self._closing = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sio = socketio.AsyncServer(
            async_mode="aiohttp", namespaces=[NAMESPACE], monitor_clients=False
        )
        self._sio.on("connect", self._on_connect, namespace=NAMESPACE)
        self._sio.on("*", self._on_event, namespace=NAMESPACE)
        self._runner: web.AppRunner | None = None

    # Life.

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen on a port, 0 for any that is free; `url` is set when it returns."""
        app = web.Application(client_max_size=LARGEST_BODY)
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
        """Cut all connections and stop listening."""
        self._closing.set()
        for connection in self.connections:
            self.drop(connection)
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What a test does.

    async def build(self, world: Json, build_id: str = "b1") -> Built:
        """Send the jobs of a world, each when the hub would, and return what came of them.

        `world` is a valid specification. Raises `AssertionError` with the engine's own words if a
        job fails, and `TimeoutError` if nothing is heard of one for `DEADLINE_S`.
        """
        before = len(self.uploads)
        digest = sha256(json.dumps(world).encode()).hexdigest()
        self.specs[build_id] = json.dumps(world).encode()
        results = [
            await self._job(planned, world, f"{build_id}-{number}", build_id, digest)
            for number, planned in enumerate(plan(cast("WorldSpec", world)))
        ]
        files = {kind: data for kind, _, data in self.uploads[before:]}
        return Built(results, files)

    async def _job(
        self, planned: PlannedJob, world: Json, name: str, build_id: str, digest: str
    ) -> Json:
        carries = planned.finish or planned.stage == 0
        params = {**engine_job("", "")["execution_params"], "finish": planned.finish}
        await self.submit(
            name,
            f"{name}-1",
            job_type=planned.job_type.value,
            payload=planned.payload,
            world_spec=world if carries else None,
            execution_params=params,
            build_id=build_id,
            world_sha256=digest,
        )
        ended = await self.until(lambda: self._ended(name))
        if ended.event == "job_failed":
            raise AssertionError(f"{planned.job_type.value}: {ended.body['error']}")
        result: Json = ended.body["result"]
        return result

    def _ended(self, job_id: str) -> Said | None:
        ends = (*self.all("job_completed"), *self.all("job_failed"))
        return next((said for said in ends if said.body["job_id"] == job_id), None)

    async def until(self, claim: Callable[[], T | None]) -> T:
        """Wait until something that the hub sees makes the claim true; return its value.

        Raises `TimeoutError` after `DEADLINE_S`.
        """
        async with asyncio.timeout(DEADLINE_S):
            while not (value := claim()):
                self._news.clear()
                await self._news.wait()
        return value

    async def hears(self, event: str, count: int = 1) -> Said:
        """Wait for the event; return its `count`-th occurrence, counted from 1."""
        return await self.until(lambda: next(iter(self.all(event)[count - 1 :]), None))

    def all(self, event: str) -> list[Said]:
        """Return every authentic event of that name so far."""
        return [said for said in self.said if said.event == event]

    def events(self) -> list[str]:
        """The names of all events but heartbeats, in order."""
        return [said.event for said in self.said if said.event != "engine_heartbeat"]

    def seal(self, event: str, body: object, *, ts: int | None = None, key: bytes = b"") -> Json:
        """Return the signed envelope of an event; another time or key makes it a bad one."""
        connection = self.connections[-1]
        payload, nonce = json.dumps(body), secrets.token_urlsafe(24)
        ts = self.now_ms() if ts is None else ts
        signer = self._signer(connection, "s2c", key)
        sig = signer.sign(type=event, ts=ts, nonce=nonce, payload=payload)
        return {"payload": payload, "ts": ts, "nonce": nonce, "sig": sig}

    async def emit(self, event: str, data: object) -> None:
        """Send anything, as it is, to the newest connection."""
        await self._sio.emit(event, data, to=self.connections[-1].sid, namespace=NAMESPACE)

    async def send(self, event: str, body: Json) -> None:
        """Send an event, signed, to the newest connection."""
        await self.emit(event, self.seal(event, body))

    async def submit(self, job_id: str = "j1", attempt_id: str = "a1", **changes: object) -> None:
        """Send an `engine_job`; `changes` replace keys of its body."""
        await self.send("engine_job", engine_job(job_id, attempt_id, **changes))

    async def goodbye(self, code: int, retry_after_ms: int = 0) -> None:
        """Say goodbye as docs/wire.md has it, with a DISCONNECT where the code says 'no'."""
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
        if asked["kind"] != "engine" or asked["name"] != self.name:
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
        if len(connection.client_nonce) != NONCE_BYTES or connection.client_nonce in earlier:
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
        """Return the body of the newest connection's `session`."""
        connection = self.connections[-1]
        return {
            "sid": connection.sid,
            "principal": self.principal,
            "engine": self.name,
            "namespace": NAMESPACE,
            "server_nonce": to_base64url(connection.server_nonce),
            "drift_ms": WINDOW_MS,
            "heartbeat": {
                "interval_ms": self.heartbeat_ms,
                "inactive_after_ms": self.silent_after_ms // 2,
                "disconnect_after_ms": self.silent_after_ms,
            },
            "limits": {},
            "server_time": self.now_ms(),
        }

    async def _on_event(self, event: str, sid: str, *data: Json) -> object:
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

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def engine_job(job_id: str, attempt_id: str, **changes: object) -> Json:
    """Return the body of an `engine_job`; `changes` replace keys."""
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
