"""A bench for the guarded layer: a node without sockets or database, and a clock that tests push.

Frames go into real sessions and what they write is read back; only what lies below (the database,
the records) and beside (time) is replaced.
"""

import asyncio
import itertools
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest

from realtime import node
from realtime.admission import HubPolicy
from realtime.guard import Guard
from realtime.handshake import Handshake
from realtime.hub import HubNamespace
from realtime.protocol import CloseReason, Frame, Limits
from realtime.server import Server
from realtime.state.interface import AddressRates, Penalties
from realtime.state.memory import MemoryNonceStore
from realtime.timers import Timers
from security import audit, clock, database, sessions, tokens, violations
from security.conf import HubSettings
from security.principals import Principal
from security.signatures import MessageKey, from_base64url, socket_key
from security.violations import Incident

EPOCH_MS = 1_800_000_000_000
START_S = 1_000.0
TURNS = 40  # of the loop: more than any chain of awaits in the layer


async def settle() -> None:
    """Let everything that can go on without time passing go on."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class PushedTime:
    """Stands in for the loop's clock; ``advance`` rings what falls due, in order."""

    def __init__(self) -> None:
        self.now = START_S
        self._alarms: dict[int, tuple[float, Callable[[], None]]] = {}
        self._serial = itertools.count()

    def time(self) -> float:
        return self.now

    def now_ms(self) -> int:
        return EPOCH_MS + round((self.now - START_S) * 1000)

    def call_at(self, when: float, callback: Callable[[], None]) -> "Alarm":
        number = next(self._serial)
        self._alarms[number] = when, callback
        return Alarm(lambda: self._alarms.pop(number, None))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._alarms:
            number, (when, callback) = min(self._alarms.items(), key=lambda each: each[1][0])
            if when > end:
                break
            del self._alarms[number]
            self.now = max(self.now, when)
            callback()
        self.now = end


class Alarm:
    """What ``call_at`` returns."""

    def __init__(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        self._cancel()


class Wires:
    """A transport that keeps what is written to it."""

    idle = True
    lingers = False

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.code: int | None = None
        self.aborted = False

    @property
    def sent(self) -> int:
        return len(self.frames)

    def write(self, frame: Frame) -> None:
        self.frames.append(frame)

    def close(self, code: int, reason: str = "") -> None:
        self.code = code

    def discard(self) -> None: ...

    def abort(self) -> None:
        self.aborted = True

    async def drained(self) -> None: ...


class Peer:
    """A client on the bench, speaking to "/"."""

    def __init__(self, bench: "Bench", **handshake: Any) -> None:
        self.bench = bench
        self.wires = Wires()
        self.session: Any = bench.node.open(_handshake(**handshake))
        self.session.open(self.wires)
        self.key: MessageKey | None = None
        self._read = 0
        self._acks = itertools.count()

    def send(self, text: Frame) -> None:
        self.session.receive(text)

    async def connect(self, who: str = "ada", **auth: Any) -> dict[str, Any]:
        """CONNECT with that person's token; returns ``session``, or the refusal's body."""
        self.send("40" + json.dumps({"token": who, **auth}))
        await settle()
        refusals = [frame for frame in self.texts() if frame.startswith("44")]
        if refusals:
            body: dict[str, Any] = json.loads(refusals[-1][2:])
            return body
        if self.wires.code is not None:
            return {}
        session: dict[str, Any] = self.heard("session")[-1]
        self._learn_key(who, session)
        return session

    def _learn_key(self, who: str, session: Mapping[str, Any]) -> None:
        where = {"namespace": "/", "principal": session["principal"], "sid": session["sid"]}
        derived = socket_key(
            sessions.secret_of(self.bench.people[who]),
            server_nonce=from_base64url(session["server_nonce"]),
            client_nonce=b"",
            direction="c2s",
            **where,
        )
        self.key = MessageKey(derived, direction="c2s", **where)

    def sign(self, kind: str, payload: object = None, **fields: Any) -> dict[str, Any]:
        assert self.key is not None
        text = payload if isinstance(payload, str) else json.dumps(payload)
        envelope = {
            "type": kind,
            "payload": text,
            "ts": self.bench.time.now_ms(),
            "nonce": f"nonce-{next(self.bench.serial):020d}",
            **fields,
        }
        return {**envelope, "sig": self.key.sign(**envelope)}

    async def act(self, kind: str, payload: object = None, **fields: Any) -> dict[str, Any]:
        """A signed action's acknowledgement."""
        return await self.call("action", self.sign(kind, payload, **fields))

    async def call(self, event: object, *args: object) -> dict[str, Any]:
        """Send an event, return its acknowledgement; empty where none came."""
        ack_id = next(self._acks)
        self.send(f"42{ack_id}" + json.dumps([event, *args]))
        await settle()
        return self.answer(ack_id)

    def answer(self, ack_id: int) -> dict[str, Any]:
        head = f"43{ack_id}["
        found = [frame for frame in self.texts() if frame.startswith(head)]
        return json.loads(found[0][len(head) - 1 :])[0] if found else {}

    def texts(self) -> list[str]:
        return [frame for frame in self.wires.frames if isinstance(frame, str)]

    def heard(self, event: str) -> list[Any]:
        """The bodies of an event, oldest first."""
        events = [json.loads(frame[2:]) for frame in self.texts() if frame.startswith('42["')]
        return [args[1] for args in events if args[0] == event]

    def lose(self) -> None:
        self.session.lose(CloseReason.TRANSPORT_CLOSE)


class Entry:
    """A numbered event of the bench's feed."""

    def __init__(self, seq: int, event: str, body: str) -> None:
        self.seq, self.event, self.body = seq, event, body
        self.data = json.loads(body)


class Page:
    """What follows a position."""

    def __init__(self, epoch: str, head: int, events: list[Entry], *, recovered: bool) -> None:
        self.epoch, self.head, self.events, self.recovered = epoch, head, events, recovered


class Shelf:
    """A feed in memory: each person's events, and hooks that tests hang into reading."""

    def __init__(self) -> None:
        self.epoch = "epoch-1"
        self.events: dict[int, list[Entry]] = {}

    def append(self, user_id: int, event: str) -> int:
        rows = self.events.setdefault(user_id, [])
        rows.append(Entry(len(rows) + 1, event, json.dumps({"seq": len(rows) + 1})))
        return len(rows)

    def read(self, user_id: int, epoch: str | None, after: int, limit: int = 500) -> Page:
        rows = self.events.get(user_id, [])
        recovered = epoch in (None, self.epoch) and after <= len(rows)
        found = rows[after : after + limit] if recovered else []
        return Page(self.epoch, len(rows), found, recovered=recovered)

    def snapshot(self, user_id: int) -> Mapping[str, Any]:
        return {"epoch": self.epoch, "head": len(self.events.get(user_id, [])), "builds": []}

    def heads(self, user_ids: Collection[int]) -> Mapping[int, tuple[str, int]]:
        return {user: (self.epoch, len(self.events.get(user, []))) for user in user_ids}

    def position(self, user_id: int) -> tuple[str, int]:
        return self.epoch, len(self.events.get(user_id, []))


class Gates:
    """Holds up whoever asks the database, until it is opened."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.opened = asyncio.Event()
        self.asked = 0
        patch.setattr(database, "read", self)

    async def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        await self.opened.wait()
        return function(*args, **kwargs)


class LateNonces:
    """A store that answers when it is told to, as one over the network does."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def consume(self, *_key: str, **_times: int) -> bool:
        await self.opened.wait()
        return True


class Bench:
    """One process's guarded layer. ``incidents`` and ``audited`` are what was put on record."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        *,
        penalties: Penalties | None = None,
        handshakes: AddressRates | None = None,
        namespace: Callable[..., HubNamespace] = HubNamespace,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.time = PushedTime()
        self.serial = itertools.count()
        self.incidents: list[Incident] = []
        self.audited: list[tuple[str, dict[str, Any]]] = []
        self.people: dict[str, Principal] = {}
        self.expired: set[str] = set()
        self.shelf = Shelf()
        self.settings = HubSettings(**settings)
        self._replace(patch)
        self.add("ada", 1)
        self.add("grace", 2)
        self.add("admin", 3, role="staff")
        self.guard = Guard(
            self.settings, MemoryNonceStore(capacity=10_000), penalties, handshakes=handshakes
        )
        self.hub = namespace(
            self.guard, actions={}, feed=self.shelf, greetings={}, **(options or {})
        )
        self.policy = HubPolicy(self.guard)
        patch.setattr(node, "Timers", lambda _loop: Timers(self.time))  # type: ignore[arg-type]  # stands in for a loop
        self.node = Server(
            namespaces=[self.hub],
            limits=Limits(
                ping_interval_ms=3_600_000, connect_timeout_ms=5_000, max_payload=1_000_000
            ),
            policy=self.policy,
        ).node()
        self.node.now = self.time.time

    def add(self, token: str, user_id: int, *, role: Any = "user", session: str = "") -> Principal:
        """A person whom this token stands for."""
        from django.conf import settings  # noqa: PLC0415 - read when a bench is made

        self.people[token] = Principal(
            kind="user",
            subject=str(user_id),
            username=token,
            role=role,
            session_id=session or f"session-{token}",
            kid=settings.KEYS.master.signing.kid,
            version=1,
            expires_at=self.time.now_ms() + 300_000,
        )
        return self.people[token]

    def renew(self, token: str, *, of: str, **changes: Any) -> Principal:
        """Another token, of somebody who has one."""
        self.people[token] = replace(self.people[of], **changes)
        return self.people[token]

    def peer(self, **handshake: Any) -> Peer:
        return Peer(self, **handshake)

    async def joined(self, who: str = "ada", **handshake: Any) -> Peer:
        peer = self.peer(**handshake)
        await peer.connect(who)
        return peer

    async def advance(self, seconds: float) -> None:
        self.time.advance(seconds)
        await settle()

    def kinds(self) -> list[str]:
        return [incident.kind for incident in self.incidents]

    def _replace(self, patch: pytest.MonkeyPatch) -> None:
        async def inline(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        def append(action: str, **facts: Any) -> None:
            self.audited.append((action, facts))

        patch.setattr(clock, "now_ms", self.time.now_ms)
        patch.setattr(database, "read", inline)
        patch.setattr(database, "write", inline)
        patch.setattr(violations, "report", self.incidents.append)
        patch.setattr(audit, "append", append)
        patch.setattr(audit, "append_action", append)
        patch.setattr(tokens, "verify", self._verify)
        patch.setattr(sessions, "resolve", self._resolve)

    def _resolve(self, token: str, **_when: float) -> Principal:
        return self.people[token]

    def _verify(self, token: Any, **_expected: Any) -> Any:
        if isinstance(token, str) and token in self.expired:
            raise tokens.TokenExpired(1)
        if not isinstance(token, str) or token not in self.people:
            raise tokens.TokenInvalid("unknown")
        return token


def _handshake(**changes: Any) -> Handshake:
    facts: dict[str, Any] = {
        "transport": "websocket",
        "path": "/socket.io/",
        "query": {"EIO": "4", "transport": "websocket"},
        "headers": {"host": "testserver"},
        "peer": "192.0.2.1",
        "secure": False,
    }
    facts |= changes
    return Handshake(**{"parameters": tuple(facts["query"].items()), **facts})
