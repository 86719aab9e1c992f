"""A bench for "/engine" beside "/": the guarded layer of a process without sockets, on pushed time.

Decisions are either written down and answered from a table (`answers`), which shows what reaches
the dispatcher, or taken on the test's database, which shows what comes of them.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connections

from engine import feed
from engine.actions import world_actions
from engine.coordinator import Coordinator
from engine.namespace import EngineNamespace
from engine.outcome import Outcome
from realtime.hub import HubNamespace
from security import database, tokens
from security.principals import Principal
from tests.engine.conftest import JOB_TYPES, world
from tests.realtime.guarded import Bench
from tests.realtime.services_bench import AUDIENCES, ServicePeer, add_service

STATUS = {"online": False, "engines": [], "waiting_jobs": 0}
OnDatabase = Callable[..., Any]
IDS = {"job_id": "j_1", "attempt_id": "a_1"}
ERROR = {"code": "broken", "message": "It broke.", "retryable": False}
SAYS: dict[str, dict[str, Any]] = {
    "engine_ready": {"capacity": 2, "job_types": JOB_TYPES, "version": "1"},
    "engine_heartbeat": {"attempts": []},
    "engine_resume": {"attempts": []},
    "engine_draining": {},
    "job_ack": IDS,
    "job_started": IDS,
    "job_progress": {**IDS, "progress": 5},
    "job_completed": {**IDS, "result": {"nodes": 1}},
    "job_failed": {**IDS, "error": ERROR},
    "job_status": {**IDS, "status": "running"},
    "engine_error": {"code": "gpu", "message": "It is hot.", "details": {"celsius": 99}},
    "telemetry": {"frames": 60},
    "reauth": {"token": "forge"},
}
INCOMPLETE, BAD_SIGNATURE = "ENGINE_PACKET_INCOMPLETE", "ENGINE_SIGNATURE_INVALID"


@dataclass(frozen=True)
class Decided:
    """A decision that was asked for."""

    name: str
    args: tuple[Any, ...]
    options: Mapping[str, Any]


class EnginePeer(ServicePeer):
    """An engine on the bench."""

    kind = "engine"
    usual = "forge"


class EngineBench(Bench):
    """One process with both namespaces. ``decided`` is what the dispatcher was asked for.

    Without ``stored`` it is answered by ``answers``: by the decision's name an `Outcome`, an
    exception to raise, or a list of either, of which each is used once. ``holding`` are decisions
    that are taken at once, but whose answer comes only after ``release``.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        *,
        on_database: OnDatabase,
        stored: bool = False,
        **settings: Any,
    ) -> None:
        self.stored = stored
        self.on_database = on_database
        self.decided: list[Decided] = []
        self.answers: dict[str, Any] = {}
        self.holding: dict[str, asyncio.Event] = {}
        self.published: list[tuple[str, Mapping[str, Any]]] = []
        self.status_asked = 0
        self.status: Any = STATUS
        self.coordinator = Coordinator()
        self._connections = 0
        super().__init__(patch, namespace=self._people, **settings)
        self.engines = EngineNamespace(self.guard, self.coordinator)
        self.coordinator.connect(people=self.hub, engines=self.engines)
        self.node.namespaces["/engine"] = self.engines  # type: ignore[index]  # a dict, made by us
        patch.setattr(self.node.bus, "publish", lambda *message: self.published.append(message))
        self.engines.bind(self.node)
        self.add_engine("forge")
        self.add_engine("anvil")

    def _people(self, guard: Any, **options: Any) -> HubNamespace:
        options["actions"] = world_actions(self.coordinator, guard.settings)
        if self.stored:
            options["feed"] = feed
        return HubNamespace(guard, **options)

    def add_engine(self, name: str, **facts: Any) -> Principal:
        return add_service(self, "engine", name, **facts)

    def engine(self, **handshake: Any) -> EnginePeer:
        return EnginePeer(self, **handshake)

    async def proved(self, who: str = "forge") -> EnginePeer:
        """An engine whose connection counts, because it has said something authentic."""
        peer = self.engine()
        await peer.connect(who)
        assert (await peer.say("telemetry", {}))["ok"] is True
        return peer

    def names(self) -> list[str]:
        """The decisions so far, without the reaper's and the assigner's rounds."""
        return [each.name for each in self.decided if each.name not in {"assign", "rescue"}]

    def asked(self, name: str) -> list[Decided]:
        return [each for each in self.decided if each.name == name]

    def hold(self, name: str) -> Callable[[], None]:
        """Keep back the answers to a decision until what is returned is called."""
        self.holding[name] = asyncio.Event()

        def release() -> None:
            self.holding.pop(name).set()

        return release

    # -- what stands in for the database and the tokens

    def _replace(self, patch: pytest.MonkeyPatch) -> None:
        super()._replace(patch)
        patch.setattr(database, "write", self._write)
        patch.setattr(database, "read", self._read)

    async def _write(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        name = function.__name__
        self.decided.append(Decided(name, args, options))
        answer = self._taken(function, *args, **options) if self.stored else self._answer(name)
        if name in self.holding:
            await self.holding[name].wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _taken(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return self.on_database(function, *args, **options)
        except Exception as error:  # noqa: BLE001 - raised again once the answer may come
            return error

    async def _read(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if function.__name__ != "engine_status":
            return self.on_database(function, *args, **options)
        self.status_asked += 1
        if isinstance(self.status, Exception):
            raise self.status
        return self.on_database(function, *args, **options) if self.stored else self.status

    def _answer(self, name: str) -> Any:
        prepared = self.answers.get(name)
        if isinstance(prepared, list):
            prepared = prepared.pop(0) if prepared else None
        return prepared if prepared is not None else self._usual(name)

    def _usual(self, name: str) -> Outcome:
        if name == "engine_connected":
            self._connections += 1
            return Outcome({"engine_session_id": f"e_{self._connections}", "replaced": []})
        return Outcome({"rescued": 0, "more": False} if name == "rescue" else {})

    def _verify(self, token: Any, **expected: Any) -> Any:
        known = super()._verify(token, **expected)
        if AUDIENCES[self.people[known].kind] != expected["audience"]:
            raise tokens.TokenInvalid("audience")
        return known


@contextmanager
def shared_connection() -> Iterator[OnDatabase]:
    """Run calls in a thread that has the test's own connection, and with it its transaction.

    The caller waits for each, as Django wants no database work on a loop's thread, and a test no
    time that passes unseen.
    """
    own = connections["default"]
    own.inc_thread_sharing()

    def adopt() -> None:
        connections["default"] = own

    with ThreadPoolExecutor(1, initializer=adopt) as thread:
        yield lambda call, *args, **options: thread.submit(call, *args, **options).result()
    own.dec_thread_sharing()


def world_of(entities: int = 1, **changes: Any) -> dict[str, Any]:
    """A specification with so many boxes."""
    return {**world(entities).spec, **changes}


def connected(session: str, *replaced: tuple[str, str]) -> Outcome:
    """The answer to a connection that proved itself, with those that it replaces."""
    listed = [{"engine_session_id": each, "node": node} for each, node in replaced]
    return Outcome({"engine_session_id": session, "replaced": listed})


def is_refused(hub: EngineBench, peer: EnginePeer, event: str, code: str) -> bool:
    """Whether the last answer says so in the ack, in the event and in exactly one record."""
    name = "status_rejected" if event == "job_status" else f"{event}_rejected"
    assert [each["reason"] for each in peer.heard(name)] == [code]
    assert [(each.kind, each.event_type) for each in hub.incidents] == [(code.lower(), event)]
    assert hub.incidents[0].principal == "engine:forge"
    return not peer.left()
