"""The "/engine" namespace: envelopes in, decisions by the dispatcher, envelopes out.

Every message is signed, in both directions. A connection counts as the engine's only after its
first authentic message; an earlier connection of the same engine is replaced then, not before.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import orjson

from engine import dispatcher
from engine.coordinator import CLOSE_REPLACED, Coordinator
from engine.dispatch.engines import CONNECTION_CLOSED, CONNECTION_REPLACED
from engine.door import engine_door
from engine.outcome import Outcome
from realtime.enveloped import Enveloped, exactly
from realtime.guard import Guard, Seat
from realtime.namespaces import Ack, Socket, on
from realtime.node import Node
from security import audit, clock, tokens
from security.limits import TokenBucket
from security.principals import Principal
from security.refusals import Refused

__all__ = ["EngineNamespace"]

log = logging.getLogger(__name__)

CLOSE_COME_BACK: Final = 1012
CLOSE_4409: Final = 4409
ENDED: Final[Mapping[str, int]] = {
    CONNECTION_REPLACED: CLOSE_4409,
    CONNECTION_CLOSED: CLOSE_COME_BACK,  # given up while the database was away
}
"""How a connection ends that the dispatcher no longer knows: as it is, it can do nothing more."""

Decision = Callable[..., Outcome]


@dataclass(frozen=True, slots=True)
class Report:
    """An event about one job: its decision, and the keys beside ``job_id`` and ``attempt_id``."""

    decision: Decision
    fields: tuple[str, ...] = ()


REPORTS: Final[Mapping[str, Report]] = {
    "job_ack": Report(dispatcher.report_ack),
    "job_started": Report(dispatcher.report_started),
    "job_progress": Report(dispatcher.report_progress, ("progress",)),
    "job_completed": Report(dispatcher.report_completed, ("result",)),
    "job_failed": Report(dispatcher.report_failed, ("error",)),
}
STATUS_REPORTS: Final[Mapping[str, str]] = {
    "dispatched": "job_ack",
    "running": "job_started",
    "completed": "job_completed",
    "failed": "job_failed",
}
"""What ``job_status {status}`` stands for; a running one that has a ``progress`` is progress."""

Handler = Callable[["EngineNamespace", Socket["EngineSeat"], object], Awaitable[Ack]]


def _reporting(event: str) -> Handler:
    """The handler of one of ``REPORTS``."""

    @on(event)
    async def report(
        namespace: "EngineNamespace", socket: Socket["EngineSeat"], message: object
    ) -> Ack:
        payload = await namespace.admitted(socket, event, message)
        return await namespace.take_report(socket, event, payload)

    return report


@dataclass(slots=True, eq=False)
class EngineSeat(Seat):
    """An engine's seat. ``engine_session_id`` is empty until a message has proved it."""

    engine_session_id: str = ""


class EngineNamespace(Enveloped[EngineSeat]):
    """What engines speak with."""

    name = "/engine"
    audience: ClassVar[tokens.Audience] = "hub:engine"
    rejections: ClassVar[Mapping[str, str]] = {"job_status": "status_rejected"}
    seat_class = EngineSeat

    def __init__(self, guard: Guard, coordinator: Coordinator) -> None:
        super().__init__(guard, engine_door(guard.settings))
        self.coordinator = coordinator
        self._sockets: dict[str, Socket[EngineSeat]] = {}

    def bind(self, node: Node) -> None:
        """The process is up."""
        super().bind(node)
        self.coordinator.start(node)

    async def stop(self) -> None:
        """The process ends."""
        await super().stop()
        await self.coordinator.stop()

    # -- joining and parting

    def admit(self, socket: Socket[EngineSeat], principal: Principal) -> None:
        """An engine may speak faster than a person; joining again fills no bucket."""
        super().admit(socket, principal)
        settings, wire = self.guard.settings, socket.session.policy_state
        if not wire.fast:
            wire.fast = True
            wire.messages = TokenBucket(
                settings.engine_messages_per_s, settings.engine_message_burst, now=self.node.now()
            )

    async def session_extra(self, socket: Socket[EngineSeat]) -> Mapping[str, object]:
        """The engine's name and the heartbeat that is expected of it."""
        settings = self.guard.settings
        return {
            "limits": {
                "max_payload": settings.max_payload,
                "actions_per_s": settings.engine_messages_per_s,
                "burst": settings.engine_message_burst,
            },
            "engine": socket.state.principal.subject,
            "heartbeat": {
                "interval_ms": int(settings.engine_heartbeat_s * 1000),
                "disconnect_after_ms": int(settings.disconnect_after_s * 1000),
            },
        }

    def left(self, socket: Socket[EngineSeat], reason: str) -> Awaitable[None] | None:
        """The lease decides about its jobs; the connection is noted as lost."""
        super().left(socket, reason)
        session_id = socket.state.engine_session_id
        if self._sockets.pop(session_id, None) is None:
            return None
        return self._note_closed(session_id)

    async def _note_closed(self, session_id: str) -> None:
        await self.coordinator.decide(dispatcher.engine_closed, session_id)

    async def _prove(self, socket: Socket[EngineSeat]) -> str:
        """The connection's id; its first authentic message makes it the engine's only one."""
        seat = socket.state
        if not seat.engine_session_id:
            outcome = await self.coordinator.decide(
                dispatcher.engine_connected,
                seat.principal.subject,
                node=self.node.id,
                sid_hash=hashlib.sha256(socket.id.encode()).hexdigest(),
            )
            session_id = str(outcome.reply["engine_session_id"])
            for replaced in _listed(outcome.reply["replaced"]):
                self.coordinator.close_engine(replaced["engine_session_id"], replaced["node"])
            if not socket.connected:  # it left while it was being noted
                await self._note_closed(session_id)
                raise Refused("TRY_AGAIN", reason="left")
            seat.engine_session_id = session_id
            self._sockets[session_id] = socket
        return seat.engine_session_id

    # -- to the engine

    def deliver(self, engine_session_id: str, event: str, body: Mapping[str, object]) -> None:
        """Sign and send; a socket that is gone loses it, and the job's lease repairs that."""
        socket = self._sockets.get(engine_session_id)
        if socket is None:
            return
        if event == CLOSE_REPLACED:
            socket.session.close(CLOSE_4409, detail="replaced by a newer connection")
            return
        socket.emit(event, self.seal(socket, event, dict(body)))

    # -- from the engine

    @on("engine_ready")
    async def engine_ready(self, socket: Socket[EngineSeat], message: object) -> Ack:
        """The engine takes jobs from now on."""
        payload = await self.admitted(socket, "engine_ready", message)
        exactly(payload, ("capacity", "job_types"), optional=("version",))
        session_id = await self._prove(socket)
        await self.coordinator.decide(dispatcher.engine_ready, session_id, **payload)
        self.deliver(session_id, "ready_ack", {"server_time": clock.now_ms()})
        return Ack({"ok": True, "server_time": clock.now_ms()})

    @on("engine_heartbeat")
    async def engine_heartbeat(self, socket: Socket[EngineSeat], message: object) -> Ack:
        """The engine lives, and with it the attempts it lists."""
        payload = await self.admitted(socket, "engine_heartbeat", message)
        exactly(payload, ("attempts",))
        session_id = await self._prove(socket)
        outcome = await self.coordinator.decide(
            dispatcher.heartbeat, session_id, payload["attempts"]
        )
        body = {"server_time": clock.now_ms(), **outcome.reply}
        self.deliver(session_id, "heartbeat_ack", body)
        return Ack({"ok": True, **body})

    @on("engine_resume")
    async def engine_resume(self, socket: Socket[EngineSeat], message: object) -> Ack:
        """The engine is back and lists what it still has."""
        payload = await self.admitted(socket, "engine_resume", message)
        exactly(payload, ("attempts",))
        session_id = await self._prove(socket)
        outcome = await self.coordinator.decide(
            dispatcher.engine_resume, session_id, payload["attempts"]
        )
        return Ack({"ok": True, **outcome.reply})

    @on("engine_draining")
    async def engine_draining(self, socket: Socket[EngineSeat], message: object) -> Ack:
        """The engine takes no new jobs."""
        exactly(await self.admitted(socket, "engine_draining", message), ())
        await self.coordinator.decide(dispatcher.engine_draining, await self._prove(socket))
        return Ack({"ok": True})

    job_ack = _reporting("job_ack")
    job_started = _reporting("job_started")
    job_progress = _reporting("job_progress")
    job_completed = _reporting("job_completed")
    job_failed = _reporting("job_failed")

    @on("job_status")
    async def job_status(self, socket: Socket[EngineSeat], message: object) -> Ack:
        """The same reports under one name, told apart by ``status``."""
        payload = await self.admitted(socket, "job_status", message)
        status = payload.pop("status", None)
        event = STATUS_REPORTS.get(status) if isinstance(status, str) else None
        if event is None:
            raise Refused("PAYLOAD_INVALID", reason="status")
        if event == "job_started" and "progress" in payload:
            event = "job_progress"
        return await self.take_report(socket, event, payload)

    async def take_report(
        self,
        socket: Socket[EngineSeat],
        event: str,
        payload: dict[str, Any],
    ) -> Ack:
        """What the engine says of a job that it holds. Raises Refused."""
        report = REPORTS[event]
        exactly(payload, ("job_id", "attempt_id", *report.fields))
        ids = (payload["job_id"], payload["attempt_id"])
        if not all(isinstance(each, str) for each in ids):
            raise Refused("PAYLOAD_INVALID", reason="ids")
        outcome = await self.coordinator.decide(
            report.decision,
            await self._prove(socket),
            *ids,
            *(payload[name] for name in report.fields),
        )
        return Ack({"ok": True, **outcome.reply})

    @on("engine_error")
    async def engine_error(self, socket: Socket[EngineSeat], message: object) -> Ack:
        """Trouble that belongs to no job: on record for staff."""
        payload = await self.admitted(socket, "engine_error", message)
        exactly(payload, ("code", "message"), optional=("details",))
        said = {key: payload[key] for key in ("code", "message")}
        if not all(isinstance(each, str) for each in said.values()):
            raise Refused("PAYLOAD_INVALID", reason="words")
        if "details" in payload:  # as text: its keys are the engine's, a record's keys are ours
            said["details"] = orjson.dumps(payload["details"]).decode()
        await self._prove(socket)
        audit.append("engine_error", detail=said, **self._who(socket))
        return Ack({"ok": True})

    @on("telemetry")
    async def telemetry(self, socket: Socket[EngineSeat], message: object) -> Ack:
        """Numbers of the engine's own, into the log."""
        payload = await self.admitted(socket, "telemetry", message)
        session_id = await self._prove(socket)
        log.info(
            "telemetry of %s: %s",
            socket.state.principal.subject,
            payload,
            extra={"action": "engine.telemetry", "engine_session": session_id},
        )
        return Ack({"ok": True})

    def answer_refusal(
        self, socket: Socket[EngineSeat], refusal: Refused, event: str, ack_id: int | None
    ) -> None:
        """As for every service; a connection that counts no more is closed as well."""
        super().answer_refusal(socket, refusal, event, ack_id)
        if refusal.reason in ENDED:
            socket.session.close(ENDED[refusal.reason], detail="this connection no longer counts")


def _listed(value: object) -> list[dict[str, str]]:
    return list(value) if isinstance(value, list | tuple) else []
