"""A namespace behind the gate: CONNECT with a token, keys per socket, refusals on record.

What "/", "/engine" and "/agent" have in common. A handler raises Refused; this class charges it,
records it, waits for the row, answers it, and ends the socket whose budget is spent.
"""

import re
import secrets
from collections.abc import Awaitable, Mapping
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar

import orjson
from django.db import InterfaceError, OperationalError

from realtime import tenure
from realtime.goodbye import goodbye_frames
from realtime.guard import NEVER_MS, Guard, Seat, Wire, session_key
from realtime.handshake import Handshake
from realtime.namespaces import Ack, Namespace, Result, Socket, is_awaitable
from realtime.seating import Keys, client_nonce_of, connection_refused
from realtime.sessions import Session
from security import audit, clock, database, sessions, tokens
from security.gate import Door, Gate, Signed
from security.principals import Principal
from security.refusals import Refused
from security.signatures import to_base64url

__all__ = ["Guarded"]

T = TypeVar("T", bound=Seat)

MESSAGE_NONCE_BYTES = 18
CLOSE_INTERNAL = 1011
CLOSE_BUDGET_SPENT = 4429
CLOSE_HEARTBEAT_MISSING = 4408
CLOSE_TOO_LATE = 4408
IGNORED_AUTH_KEYS = frozenset({"pid", "offset"})  # Socket.IO's own, sent after a reconnect
KEYS_SHOWN = 8
EVENT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # only such names go into answers and records
DATABASE_TROUBLE = (database.DatabaseBusy, OperationalError, InterfaceError, TimeoutError)


class Guarded(Namespace[T], Generic[T]):
    """Base of the hub's namespaces."""

    audience: ClassVar[tokens.Audience]
    auth_keys: ClassVar[frozenset[str]] = frozenset({"token", "client_nonce"})
    client_nonce_required: ClassVar[bool] = False
    seat_class: ClassVar[type[Seat]] = Seat

    def __init__(self, guard: Guard, door: Door) -> None:
        self.guard = guard
        self.gate = Gate(door, guard.nonces)

    # -- joining

    async def authorize(self, socket: Socket[T], auth: dict[str, Any] | None) -> T:
        """Prove who connects; raises ConnectionRefused after the refusal is on record."""
        try:
            return await self._seated(socket, auth)
        except Refused as refusal:
            await self._record(socket, refusal, event="connect")
            raise connection_refused(refusal) from None
        except DATABASE_TROUBLE as error:
            busy = Refused("try_again", reason=type(error).__name__)
            await self._record(socket, busy, event="connect")
            # Stock clients never try again after a CONNECT_ERROR, but they do after a close.
            socket.session.close(CLOSE_INTERNAL, detail="try again")
            raise connection_refused(busy) from None

    async def _seated(self, socket: Socket[T], auth: dict[str, Any] | None) -> T:
        wire: Wire = socket.session.policy_state
        self.check_handshake(socket.session.handshake)
        client_nonce = self.check_auth(auth)
        await self.check_pace(wire)
        began = self.node.now()
        principal = await self._principal(auth["token"] if auth else None)
        wire.principal = principal
        await self.check_rested(principal)
        # Alone in its hub, a process waits for nothing from here on: what is counted and what is
        # taken are one step. Among others the shared state counts and takes in one.
        self.admit(socket, principal)
        counted_as = await self._take_place(socket, principal)
        try:
            self._check_not_ended(principal, began)
            seat = self._seat(socket, principal, client_nonce)
        except BaseException:
            self.guard.processes.free(counted_as, socket.id)
            raise
        seat.feed = auth.get("feed") if auth else None
        seat.counted_as = counted_as
        self.guard.roster.add(principal.label, socket)
        return seat

    def check_handshake(self, handshake: Handshake) -> None:
        """May a connection of this origin come in here at all? Raises Refused."""

    def check_auth(self, auth: dict[str, Any] | None) -> bytes:
        """The form of the CONNECT payload; returns the client's nonce. Raises Refused."""
        auth = auth or {}
        extra = auth.keys() - self.auth_keys - IGNORED_AUTH_KEYS
        if extra:
            raise Refused(
                "AUTH_INVALID",
                kind="auth_bypass_attempt",
                reason="extra_keys",
                detail={"seen": sorted(islice(extra, KEYS_SHOWN))},
            )
        if auth.get("token") in (None, ""):
            raise Refused("AUTH_REQUIRED", reason="no_token")
        return client_nonce_of(auth.get("client_nonce"), required=self.client_nonce_required)

    async def check_pace(self, wire: Wire) -> None:
        """A CONNECT where something was joined before counts as a connection of its address, or
        leaving and joining would be an unlimited way to the database. Raises Refused."""
        if wire.unproved:
            return
        wait_ms = self.guard.handshakes.take(wire.ip, self.node.now())
        if not isinstance(wait_ms, int):
            wait_ms = await wait_ms
        if wait_ms:
            raise Refused("TOO_MANY_CONNECTIONS", reason="connects", retry_after_ms=wait_ms)

    async def check_rested(self, principal: Principal) -> None:
        """Refuse while a penalty, earned at any process, is not over. Raises Refused."""
        rest_ms = self.guard.penalties.is_penalised(session_key(principal), self.node.now())
        if not isinstance(rest_ms, int):
            rest_ms = await rest_ms
        if rest_ms:
            raise Refused("PENALTY", reason="budget_spent", retry_after_ms=rest_ms)

    def admit(self, socket: Socket[T], principal: Principal) -> None:
        """May this principal come in here, now? Raises Refused."""
        key, limit = session_key(principal), self.guard.settings.sockets_per_user
        if self._sockets_held(principal, key) >= limit:
            raise Refused("TOO_MANY_CONNECTIONS", detail={"limit": limit})

    def _sockets_held(self, principal: Principal, key: str) -> int:
        """A person's sockets count together; a service's by token, or who stole one could fill
        all the places, and its owner, who signs for another token, would find none."""
        held = self.guard.roster.of(principal.label)
        if principal.kind == "user":
            return len(held)
        return sum(session_key(each.state.principal) == key for each in held)

    def _check_not_ended(self, principal: Principal, began: float) -> None:
        """Refuse one whose right was taken back while it was being proved. Raises Refused."""
        if self.guard.roster.ended_since(principal, began):
            raise Refused("AUTH_INVALID", reason="ended_meanwhile")

    async def _take_place(self, socket: Socket[T], principal: Principal) -> str:
        """One of the principal's places at all processes; returns as what. Raises Refused."""
        key = principal.label if principal.kind == "user" else session_key(principal)
        counted_as, limit = f"sockets:{key}", self.guard.settings.sockets_per_user
        if not await self.guard.processes.claim(counted_as, socket.id, limit=limit):
            raise Refused("TOO_MANY_CONNECTIONS", detail={"limit": limit})
        return counted_as

    async def _principal(self, token: object) -> Principal:
        now = clock.now_ms() / 1000
        try:
            claims = tokens.verify(token, audience=self.audience, token_type="access", now=now)  # noqa: S106 - a kind of token, not one
            return await database.read(sessions.resolve, claims, now=now)
        except tokens.TokenExpired as expired:
            raise Refused("AUTH_EXPIRED", detail={"expired_at": expired.expired_at}) from None
        except sessions.PrincipalBlocked as blocked:
            raise Refused("PENALTY", reason="blocked", retry_after_ms=blocked.wait_ms) from None
        except tokens.TokenInvalid as invalid:
            raise Refused("AUTH_INVALID", reason=invalid.reason) from None

    def _seat(self, socket: Socket[T], principal: Principal, client_nonce: bytes) -> T:
        keys = Keys(principal, namespace=self.name, sid=socket.id, client_nonce=client_nonce)
        return self.seat_class(  # type: ignore[return-value]  # seat_class is the T of the subclass
            principal=principal,
            wire=socket.session.policy_state,
            receives=keys.key("c2s"),
            sends=keys.key("s2c"),
            server_nonce=keys.server_nonce,
            joined_at_ms=clock.now_ms(),
            expires_at_ms=principal.expires_at,
            heard_at=self.node.now(),
        )

    async def joined(self, socket: Socket[T]) -> None:
        """Greet with ``session``, then watch over the token."""
        seat = socket.state
        body = {**self._session_body(socket), **await self.session_extra(socket)}
        if not socket.connected:
            return  # left() has run already: whatever began now would never end
        socket.emit("session", body)
        tenure.begin(socket, life_s=self.guard.settings.socket_life_s)
        seat.greeted = True
        audit.append("socket_connected", **self._who(socket))

    async def session_extra(self, socket: Socket[T]) -> Mapping[str, object]:
        """What this namespace adds to ``session``."""
        return {}

    def _session_body(self, socket: Socket[T]) -> dict[str, object]:
        seat, settings = socket.state, self.guard.settings
        return {
            "sid": socket.id,
            "principal": seat.principal.label,
            "role": seat.principal.role,
            "namespace": self.name,
            "server_nonce": to_base64url(seat.server_nonce),
            "drift_ms": self.gate.door.drift_ms,
            "limits": {
                "max_payload": settings.max_payload,
                "actions_per_s": settings.messages_per_s,
                "burst": settings.message_burst,
            },
            "token_expires_at": seat.expires_at_ms,
            "server_time": clock.now_ms(),
        }

    # -- parting

    def left(self, socket: Socket[T], reason: str) -> Awaitable[None] | None:
        """Free what the socket held; one that came no further than its seat held only that."""
        tenure.end(socket)
        self.guard.roster.remove(socket.state.principal.label, socket)
        self.guard.processes.free(socket.state.counted_as, socket.id)
        if socket.state.greeted:
            audit.append("socket_disconnected", detail={"reason": reason}, **self._who(socket))
        session = socket.session
        if not session.connection.closed:
            # A connection on which nothing is joined counts for nobody, so it may not stay.
            self.node.timers.after(
                self.guard.settings.connect_deadline_s, lambda: _close_if_empty(session)
            )
        return None

    def closing(self, socket: Socket[T], code: int, reason: str) -> None:
        """Say goodbye, because stock clients hide close codes and polling has none."""
        rest_ms = int(self.guard.settings.penalty_s * 1000) if code == CLOSE_BUDGET_SPENT else None
        frames = goodbye_frames(
            self.name, code, reason, retry_after_ms=rest_ms, crowd=self.node.crowd
        )
        socket.send_encoded(frames)

    def failed(self, socket: Socket[T], error: Exception) -> None:
        """A handler raised: our fault, on record."""
        code = "try_again" if isinstance(error, DATABASE_TROUBLE) else "internal_error"
        refusal = Refused(code, reason=type(error).__name__)
        message = getattr(getattr(socket, "state", None), "message", None)
        if message is not None:
            message.blame(refusal)
        self.node.background(self._record(socket, refusal))

    def _who(self, socket: Socket[T]) -> dict[str, Any]:
        principal = socket.state.principal
        return {
            "principal": principal.label,
            "user_id": principal.user_id,
            "namespace": self.name,
            "sid": socket.id,
            "login_session": principal.session_id,
            "ip": socket.state.wire.ip or None,
        }

    # -- the token while connected

    async def renew(self, socket: Socket[T], token: object) -> dict[str, object]:
        """``reauth``: the same subject, role and session with a newer token. Raises Refused."""
        began, old = self.node.now(), socket.state.principal
        new = await self._principal(token)
        if (new.label, new.role, new.session_id) != (old.label, old.role, old.session_id):
            raise Refused("AUTH_INVALID", kind="auth_bypass_attempt", reason="other_identity")
        self._check_not_ended(new, began)
        if socket.connected:
            socket.state.principal = new
            socket.state.expires_at_ms = new.expires_at
            tenure.prolong(socket)
        return {"ok": True, "token_expires_at": new.expires_at, "server_time": clock.now_ms()}

    def end_silent(self, socket: Socket[T]) -> None:
        """The peer has not spoken for too long: it is gone, whatever its transport says."""
        missing = Refused("heartbeat_missing", reason="no_heartbeat")
        self.node.background(self._record(socket, missing, event="heartbeat"))
        socket.session.close(CLOSE_HEARTBEAT_MISSING, detail="heartbeat missing")

    # -- messages

    def handle(
        self, socket: Socket[T], args: list[Any], ack_id: int | None
    ) -> Result | Awaitable[Result]:
        """Call the handler; a Refused from it, now or later, is charged, recorded and answered."""
        seat = socket.state
        # One reading of the clock for all checks of a message: its window is about its arrival.
        seat.message, seat.at_ms = None, clock.now_ms()
        try:
            if seat.at_ms >= seat.expires_at_ms:  # the timer that closes it may be a moment late
                raise Refused(self.gate.door.codes["expired"], reason="token_expired")  # noqa: TRY301 - check 0 is refused like all others
            result = super().handle(socket, args, ack_id)
        except Refused as refusal:
            return self._refuse(socket, self._about(socket, refusal), args[0], ack_id)
        if is_awaitable(result):
            return self._guarded(socket, result, args[0], ack_id)  # type: ignore[arg-type]  # just tested
        return result

    def unknown_event(
        self, socket: Socket[T], event: object, args: list[Any], ack_id: int | None
    ) -> Result | Awaitable[Result]:
        """A name that nobody here takes, or a known one with the wrong number of arguments."""
        if event in self.handlers:
            raise Refused(self.gate.door.codes["envelope"], reason="arguments")
        raise Refused(self.gate.door.codes["type"], reason="event")

    def throttled(self, socket: Socket[T], ack_id: int | None, retry_after_ms: int) -> None:
        """Refuse an unread event; the answer does not wait in line behind a handler."""
        codes = self.gate.door.codes
        if retry_after_ms == NEVER_MS:
            refusal = Refused(codes["envelope"], reason="binary")
        else:
            refusal = Refused(codes["rate"], reason="messages", retry_after_ms=retry_after_ms)
        self.node.background(self._refuse(socket, refusal, "", ack_id))

    def verify(self, socket: Socket[T], message: object, *, event: str = "") -> Signed:
        """Checks 4 to 7 of a message; raises Refused."""
        seat = socket.state
        signed = self.gate.verify(message, key=seat.receives, now_ms=seat.at_ms, event=event)
        seat.message = signed
        return signed

    def burn(self, socket: Socket[T], signed: Signed) -> Awaitable[None] | None:
        """Check 8; raises Refused."""
        seat = socket.state
        return self.gate.consume(signed, principal=seat.principal.label, now_ms=seat.at_ms)

    def seal(self, socket: Socket[T], event: str, body: object) -> dict[str, object]:
        """An envelope of ours, signed in direction s2c."""
        return self.seal_text(socket, event, orjson.dumps(body).decode())

    def seal_text(self, socket: Socket[T], event: str, payload: str) -> dict[str, object]:
        """As ``seal``, for a body that is JSON text already."""
        ts, nonce = clock.now_ms(), secrets.token_urlsafe(MESSAGE_NONCE_BYTES)
        sig = socket.state.sends.sign(type=event, ts=ts, nonce=nonce, payload=payload)
        return {"payload": payload, "ts": ts, "nonce": nonce, "sig": sig}

    async def _guarded(
        self, socket: Socket[T], work: Awaitable[Result], event: object, ack_id: int | None
    ) -> Result:
        try:
            return await work
        except Refused as refused:
            refusal = refused
        except DATABASE_TROUBLE as error:
            refusal = Refused(self.gate.door.codes["busy"], reason=type(error).__name__)
        return await self._refuse(socket, self._about(socket, refusal), event, ack_id)

    def _about(self, socket: Socket[T], refusal: Refused) -> Refused:
        """Note which message a refusal by its handler is about."""
        message = socket.state.message
        return refusal if message is None else message.blame(refusal)

    async def _refuse(
        self, socket: Socket[T], refusal: Refused, event: object, ack_id: int | None
    ) -> Ack | None:
        seat = socket.state
        spent = await self.guard.charge(seat, refusal, now=self.node.now(), now_ms=clock.now_ms())
        name = event if isinstance(event, str) and EVENT_NAME.fullmatch(event) else ""
        await self._record(socket, refusal, event=name)
        self.answer_refusal(socket, refusal, name, ack_id)
        if spent and not socket.session.connection.closed:
            over = Refused("PENALTY", kind="budget_exceeded", reason=refusal.code)
            await self._record(socket, over, event=name)
            socket.session.close(CLOSE_BUDGET_SPENT, detail="violation budget spent")
        elif tenure.has_expired(socket):
            tenure.expire(socket)
        return None

    async def _record(self, socket: Socket[T], refusal: Refused, *, event: str = "") -> None:
        """Put a refusal on record as this socket's, or its connection's while it has no seat."""
        seat: T | None = getattr(socket, "state", None)
        incident = self.guard.incident(
            refusal,
            wire=socket.session.policy_state,
            principal=seat.principal if seat else None,
            namespace=self.name,
            sid=socket.id,
            event=event,
        )
        await self.guard.record(incident)

    def answer_refusal(
        self, socket: Socket[T], refusal: Refused, event: str, ack_id: int | None
    ) -> None:
        """Tell the sender; namespaces differ in the words."""
        raise NotImplementedError


def _close_if_empty(session: Session) -> None:
    if not session.sockets:
        session.close(CLOSE_TOO_LATE, detail="nothing joined")
