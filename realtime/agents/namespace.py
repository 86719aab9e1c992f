"""The "/agent" namespace: agents hear what is done in their rooms, and speak to people there.

Every message is signed, in both directions. An agent hears nothing before its first authentic
message: a stolen token alone does not make a listener.
"""

import logging
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from django.db import DatabaseError

from realtime.agents.ears import HEARD, Ear
from realtime.agents.hints import Hint
from realtime.enveloped import Enveloped, exactly
from realtime.guard import Guard, Seat
from realtime.hub import HubNamespace, user_room
from realtime.inquiries import Inquiries
from realtime.kicks import RECHECK_S
from realtime.namespaces import Ack, Socket, on
from realtime.node import Node
from realtime.tenure import CLOSE_AUTH_ENDED
from security import audit, clock, database, grants, tokens
from security.conf import HubSettings
from security.gate import SERVICE_CODES, Door, PayloadRule
from security.limits import Buckets
from security.refusals import Refused

__all__ = ["AgentNamespace", "agent_door"]

log = logging.getLogger(__name__)

WHO_IS_THERE: Final = "person_in_rooms"
# Only who is there answers, so only a refusal takes so long.
ANSWERS_WITHIN_S: Final = 2.0
SMALL: Final = PayloadRule(max_bytes=8 * 1024)
EVENTS: Final = ("agent_heartbeat", "agent_update", "reauth")


@dataclass(slots=True, eq=False)
class AgentSeat(Seat):
    """An agent's seat: its rooms, and the ear in them, which is None until a message has proved
    it."""

    rooms: tuple[str, ...] = ()
    ear: Ear | None = None


class AgentNamespace(Enveloped[AgentSeat]):
    """What agents speak with."""

    name = "/agent"
    audience: ClassVar[tokens.Audience] = "hub:agent"
    seat_class = AgentSeat

    def __init__(self, guard: Guard, inquiries: Inquiries) -> None:
        super().__init__(guard, agent_door(guard.settings))
        self._inquiries = inquiries
        inquiries.answer(WHO_IS_THERE, self._who_is_there)
        settings = guard.settings
        self._pace = Buckets(settings.agent_updates_per_minute / 60, settings.agent_update_burst)

    def bind(self, node: Node) -> None:
        """The process is up."""
        super().bind(node)
        node.timers.after(RECHECK_S, self._recheck_soon)

    # -- joining and parting

    async def session_extra(self, socket: Socket[AgentSeat]) -> Mapping[str, object]:
        """The agent's name and rooms, and the heartbeat that is expected of it."""
        seat, settings = socket.state, self.guard.settings
        seat.rooms = tuple(await database.read(grants.rooms_of, seat.principal.subject))
        return {
            "agent": seat.principal.subject,
            "rooms": list(seat.rooms),
            "heartbeat": {
                "interval_ms": int(settings.heartbeat_interval_s * 1000),
                "disconnect_after_ms": int(settings.disconnect_after_s * 1000),
            },
        }

    def left(self, socket: Socket[AgentSeat], reason: str) -> Awaitable[None] | None:
        """Hear no more."""
        seat = socket.state
        ear, seat.ear = seat.ear, None
        if ear is not None:
            for room in seat.rooms:
                self.node.fanout.leave(HubNamespace.name, room, ear)
        return super().left(socket, reason)

    # -- from the agent

    async def admitted(
        self, socket: Socket[AgentSeat], event: str, message: object
    ) -> dict[str, Any]:
        """As for every service; the first authentic message opens the ear."""
        payload = await super().admitted(socket, event, message)
        if socket.state.ear is None and socket.connected:
            self._listen(socket)
        return payload

    def _listen(self, socket: Socket[AgentSeat]) -> None:
        def hear(text: str) -> None:
            socket.emit(HEARD, self.seal_text(socket, HEARD, text))

        seat = socket.state
        seat.ear = Ear(socket.id, hear)
        for room in seat.rooms:
            self.node.fanout.join(HubNamespace.name, room, seat.ear)

    @on("agent_heartbeat")
    async def agent_heartbeat(self, socket: Socket[AgentSeat], message: object) -> Ack:
        """The agent lives."""
        exactly(await self.admitted(socket, "agent_heartbeat", message), ())
        return Ack({"ok": True, "server_time": clock.now_ms()})

    @on("agent_update")
    async def agent_update(self, socket: Socket[AgentSeat], message: object) -> Ack:
        """A word to somebody who is in a room of the agent's, on all the person's sockets."""
        payload = await self.admitted(socket, "agent_update", message)
        hint = Hint.read(payload, longest=self.guard.settings.agent_message)
        seat = socket.state
        wait_ms = self._pace.take(f"{seat.principal.label} {hint.user_id}", self.node.now())
        if wait_ms:
            raise Refused("RATE_LIMITED", reason="person", retry_after_ms=wait_ms)
        if not await self._is_there(hint.user_id, seat.rooms):
            raise Refused("PERSON_NOT_HERE", reason="room", detail={"person": hint.user_id})
        body = hint.body(seat.principal.subject)
        self.node.fanout.broadcast(
            HubNamespace.name, [user_room(hint.user_id)], "agent_update", body
        )
        audit.append_action(
            "agent_update",
            target=f"user:{hint.user_id}",
            detail={"reason": hint.reason},
            **self._who(socket),
        )
        return Ack({"ok": True, "server_time": clock.now_ms()})

    # -- what was changed behind the hub's back

    def _recheck_soon(self) -> None:
        self.node.background(self._recheck())

    async def _recheck(self) -> None:
        """End the sockets whose rooms are others by now, where word of the change was lost."""
        try:
            mine = [each for each in self.guard.roster if each.namespace is self]
            names = {socket.state.principal.subject for socket in mine}
            held = await database.read(grants.rooms_by_agent, names) if names else {}
            for socket in mine:
                seat = socket.state  # its rooms are known once it is greeted
                if seat.greeted and [*seat.rooms] != held[seat.principal.subject]:
                    socket.session.close(CLOSE_AUTH_ENDED, detail="rooms changed")
        except (database.DatabaseBusy, DatabaseError):
            log.warning("the rooms of agents could not be checked", exc_info=True)
        finally:
            self.node.timers.after(RECHECK_S, self._recheck_soon)

    # -- who is where

    async def _is_there(self, user_id: str, rooms: tuple[str, ...]) -> bool:
        """Whether a socket of the person is in one of the rooms, at any process."""
        asked = {"user_id": user_id, "rooms": list(rooms)}
        return bool(
            await self._inquiries.ask(WHO_IS_THERE, asked, within_s=ANSWERS_WITHIN_S, enough=1)
        )

    async def _who_is_there(self, asked: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        rooms = frozenset(asked["rooms"])
        sockets = self.guard.roster.of(f"user:{asked['user_id']}")
        return [{}] if any(rooms & socket.rooms for socket in sockets) else []


def agent_door(settings: HubSettings) -> Door:
    """The door of "/agent": what agents may send, and a scope of nonces that is theirs alone."""
    return Door(
        scope="agent",
        drift_ms=settings.service_drift_ms,
        nonce_grace_ms=settings.nonce_grace_ms,
        rules=dict.fromkeys(EVENTS, SMALL),
        codes=SERVICE_CODES,
    )
