"""The "/" namespace: people, their signed actions, their presence and their feed."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar, Final

from realtime.actions import Action, ActionType
from realtime.attendance import Attendance
from realtime.crowd import Crowd
from realtime.feed import FeedPump, FeedSource
from realtime.guard import Guard, Seat
from realtime.kicks import Kicks
from realtime.namespaces import Ack, Result, Socket, is_awaitable, on
from realtime.notices import Notices
from realtime.ownactions import MayEnter, may_enter_any, own_actions
from realtime.protocol import socketio
from realtime.secured import Guarded
from security import audit, clock, database, tokens
from security.gate import Door, Signed
from security.refusals import Refused

__all__ = ["EVERYBODY", "LOBBY", "STAFF", "HubNamespace", "user_room"]

LOBBY: Final = "lobby"
# Rooms of the hub's own; the colon keeps them apart from every name that a client may join.
EVERYBODY: Final = "hub:everybody"
STAFF: Final = "hub:staff"
NEVER_TOLD: Final = frozenset({EVERYBODY, STAFF})  # of the actions of those who are in them
EPOCH: Final = re.compile(r"[A-Za-z0-9_-]{0,64}")

Greeting = Callable[[], Mapping[str, Any]]


def user_room(user_id: str) -> str:
    """The room of all sockets of one person."""
    return f"hub:user:{user_id}"


@dataclass(slots=True, eq=False)
class HubSeat(Seat):
    """A person's seat. ``place`` is where its feed was when it joined, for ``session``."""

    place: dict[str, object] = field(default_factory=dict)


class HubNamespace(Guarded[HubSeat]):
    """What web clients speak with.

    ``greetings`` are events that every newcomer is sent; ``may_enter(principal, room)`` is asked
    at each ``room_join``, on the loop, so it must not wait.
    """

    name = "/"
    audience: ClassVar[tokens.Audience] = "hub:user"
    auth_keys = frozenset({"token", "client_nonce", "feed"})
    seat_class = HubSeat

    def __init__(
        self,
        guard: Guard,
        *,
        actions: Mapping[str, ActionType],
        feed: FeedSource,
        greetings: Mapping[str, Greeting],
        may_enter: MayEnter = may_enter_any,
    ) -> None:
        settings = guard.settings
        self.actions = {**own_actions(self, settings, may_enter=may_enter), **actions}
        door = Door(
            scope="user",
            drift_ms=settings.drift_ms,
            nonce_grace_ms=settings.nonce_grace_ms,
            rules={name: each.rule for name, each in self.actions.items()},
        )
        super().__init__(guard, door)
        self.feed = FeedPump(feed)
        self.notices = Notices(self._notify)
        self.crowd = Crowd(tell=self._tell_presence, keep_s=settings.disconnect_after_s)
        self.attendance = Attendance(settings, self.crowd, on_silent=self.end_silent)
        self.kicks = Kicks(guard.roster)
        self._greetings = {
            event: database.SharedRead(greeting) for event, greeting in greetings.items()
        }

    def bind(self, node: Any) -> None:  # noqa: ANN401 - the Node, as in the base class
        """The process is up."""
        super().bind(node)
        # Ids need to be unique, not secret: a random name of the process and a number are.
        self._id_prefix, self._numbers = f"act_{secrets.token_urlsafe(9)}_", count(1)
        self.feed.start(node)
        self.notices.start(node)
        self.attendance.start(node)
        self.kicks.start(node)
        self.crowd.start(node, self.guard.processes)
        self.guard.processes.start(node)

    async def stop(self) -> None:
        """The process ends."""
        self.notices.stop()
        self.kicks.stop()
        await self.crowd.stop()
        await self.guard.processes.stop()

    # -- joining and parting

    def check_auth(self, auth: dict[str, Any] | None) -> bytes:
        """As for every guarded namespace, and the form of ``feed``."""
        nonce = super().check_auth(auth)
        asked = auth.get("feed") if auth else None
        if asked is not None and not _is_position(asked, epoch_required=True):
            raise Refused("AUTH_INVALID", reason="feed")
        return nonce

    async def joined(self, socket: Socket[HubSeat]) -> None:
        """``session``, what was missed, then who and what is here."""
        user_id = int(socket.state.principal.subject)
        seat = socket.state
        seat.place, follower = await self.feed.begin(socket, user_id, seat.feed)
        await super().joined(socket)
        await self.feed.follow(follower)
        await self.crowd.whole()
        if not socket.connected:
            return  # it left meanwhile, and nobody would take it out of the rooms again
        socket.join(user_room(socket.state.principal.subject))
        socket.join(EVERYBODY)
        if socket.state.principal.is_staff:
            socket.join(STAFF)
        self.attendance.arrive(socket)
        self.enter(socket, LOBBY)
        for event, greeting in self._greetings.items():
            socket.emit(event, dict(await greeting()))

    async def session_extra(self, socket: Socket[HubSeat]) -> Mapping[str, object]:
        """The person, the heartbeat that is expected, and where the feed is."""
        principal, settings = socket.state.principal, self.guard.settings
        return {
            "user_id": principal.subject,
            "username": principal.username,
            "heartbeat": {
                "interval_ms": int(settings.heartbeat_interval_s * 1000),
                "inactive_after_ms": int(settings.inactive_after_s * 1000),
                "disconnect_after_ms": int(settings.disconnect_after_s * 1000),
            },
            "feed": socket.state.place,
        }

    def left(self, socket: Socket[HubSeat], reason: str) -> Awaitable[None] | None:
        """Free the place in feed and presence."""
        self.feed.forget(socket, int(socket.state.principal.subject))
        self.attendance.depart(socket)
        return super().left(socket, reason)

    # -- messages

    @on("action")
    def action(self, socket: Socket[HubSeat], message: object) -> Result | Awaitable[Result]:
        """The one door for everything that a person does."""
        signed = self.verify(socket, message)
        waiting = self.burn(socket, signed)
        if waiting is None:
            return self._perform(socket, signed)
        return self._perform_after(waiting, socket, signed)

    async def _perform_after(
        self, waiting: Awaitable[None], socket: Socket[HubSeat], signed: Signed
    ) -> Result:
        await waiting
        if not socket.connected:
            return None
        result = self._perform(socket, signed)
        return await result if is_awaitable(result) else result  # type: ignore[misc, return-value]  # just tested

    def _perform(self, socket: Socket[HubSeat], signed: Signed) -> Result | Awaitable[Result]:
        action = Action(
            id=f"{self._id_prefix}{next(self._numbers)}",
            type=signed.type,
            payload=self.gate.read(signed),
            client_ts=signed.ts,
            at_ms=socket.state.at_ms,
        )
        reply = self.actions[signed.type].handler(socket, action)
        if type(reply) is dict:
            return self._accepted(socket, action, reply)
        return self._accepted_after(socket, action, reply)  # type: ignore[arg-type]  # dict is dealt with

    async def _accepted_after(
        self, socket: Socket[HubSeat], action: Action, reply: Awaitable[Mapping[str, object]]
    ) -> Result:
        return self._accepted(socket, action, await reply)

    def _accepted(
        self, socket: Socket[HubSeat], action: Action, reply: Mapping[str, object]
    ) -> Ack:
        if audit.is_audited(action.type):
            audit.append_action(action.type, detail={"id": action.id}, **self._who(socket))
        return Ack({"ok": True, "id": action.id, "server_time": action.at_ms, **reply})

    @on("heartbeat")
    def heartbeat(self, socket: Socket[HubSeat], body: object = None) -> Ack:
        """Only the hub's time counts; what the client says of its own is checked for form only."""
        if body is not None and not _is_heartbeat(body):
            raise Refused("malformed", reason="heartbeat")
        self.attendance.beat(socket)
        socket.state.heard_at = self.node.now()
        answer = {"ok": True, "server_time": clock.now_ms()}
        socket.emit("heartbeat_result", answer)
        return Ack(answer)

    @on("feed")
    async def read_feed(self, socket: Socket[HubSeat], query: object) -> Ack:
        """A page of the person's feed, as over HTTP."""
        if not _is_position(query, epoch_required=False):
            raise Refused("malformed", reason="feed")
        asked: dict[str, Any] = query  # type: ignore[assignment]  # just tested
        user_id = int(socket.state.principal.subject)
        page = await database.read(
            self.feed.source.read, user_id, asked.get("epoch"), asked["after"]
        )
        return Ack(
            {
                "epoch": page.epoch,
                "head": page.head,
                "recovered": page.recovered,
                "events": [
                    {"seq": each.seq, "event": each.event, "data": each.data}
                    for each in page.events
                ],
            }
        )

    @on("reauth")
    async def reauth(self, socket: Socket[HubSeat], body: object) -> Ack:
        """A newer token of the same login."""
        if not isinstance(body, dict) or body.keys() != {"token"}:
            raise Refused("malformed", reason="reauth")
        return Ack(await self.renew(socket, body["token"]))

    def answer_refusal(
        self, socket: Socket[HubSeat], refusal: Refused, event: str, ack_id: int | None
    ) -> None:
        """The acknowledgement, or ``action_error`` where none was asked for."""
        body: dict[str, object] = {
            "ok": False,
            "error": refusal.code,
            "message": refusal.message,
            "server_time": clock.now_ms(),
            **refusal.public,
        }
        if refusal.retry_after_ms is not None:
            body["retry_after_ms"] = refusal.retry_after_ms
        if ack_id is None:
            socket.emit("action_error", body)
        else:
            socket.acknowledge(ack_id, body)

    # -- what others of this floor ask for

    def open_rooms(self, socket: Socket[HubSeat]) -> set[str]:
        """The rooms of a socket that a client may name: all but the hub's own."""
        return {room for room in socket.rooms if ":" not in room}

    def has_audience(self, socket: Socket[HubSeat]) -> bool:
        """Whether anybody may hear of an action of this socket; most people are alone at times."""
        return self.node.fanout.has_others(self.name, socket.rooms - NEVER_TOLD, socket)

    def tell_action(self, socket: Socket[HubSeat], update: Mapping[str, object]) -> None:
        """To the rooms of a socket and to the person's other sockets, to each once, never back."""
        told = [socket.id]
        for room in sorted(self.open_rooms(socket)):
            self.broadcast([room], "action_update", {**update, "room": room}, without=told)
            told.append(room)  # who is in several of the rooms is told of the first
        own = user_room(socket.state.principal.subject)
        self.broadcast([own], "action_update", {**update, "room": None}, without=told)

    def enter(self, socket: Socket[HubSeat], room: str) -> None:
        """Join a room and its presence; the newcomer gets the full list once."""
        socket.join(room)
        everybody = f'["presence_state",{self.attendance.enter(socket, room)}]'
        socket.send_encoded(socketio.encode_event_json(self.name, everybody))

    def leave(self, socket: Socket[HubSeat], room: str) -> None:
        """Leave a room and its presence; harmless where the socket was not."""
        socket.leave(room)
        self.attendance.leave(socket, room)

    def _tell_presence(self, room: str, body: dict[str, object]) -> None:
        self.node.fanout.broadcast_here(self.name, room, "presence_diff", body)

    def _notify(self, user_id: str | None, body: Mapping[str, object]) -> None:
        room = STAFF if user_id is None else user_room(user_id)
        self.broadcast([room], "security_notice", dict(body))


def _is_heartbeat(value: object) -> bool:
    """Whether a value is ``{ts?}`` as clients send it."""
    if not isinstance(value, dict) or not value.keys() <= {"ts"}:
        return False
    return type(value.get("ts", 0)) in {int, float}


def _is_position(value: object, *, epoch_required: bool) -> bool:
    """Whether a value is ``{epoch, after}`` as clients send it."""
    if not isinstance(value, dict) or not value.keys() <= {"epoch", "after"}:
        return False
    epoch, after = value.get("epoch"), value.get("after")
    epoch_fits = isinstance(epoch, str) and EPOCH.fullmatch(epoch) is not None
    return (
        type(after) is int
        and 0 <= after < 2**53
        and (epoch_fits or (epoch is None and not epoch_required))
    )
