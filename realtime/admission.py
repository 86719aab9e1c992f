"""The hub's policy for transports: who may open one, how fast it may speak, how it is closed.

The general layer asks these questions; the numbers come from the settings, and each no is recorded.
"""

import re
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from django.conf import settings as django_settings

from realtime.arrivals import Arrivals
from realtime.denials import COME_LATER
from realtime.guard import NEVER_MS, Guard, Wire
from realtime.handshake import Denial, Handshake
from realtime.namespaces import ConnectionRefused
from realtime.origins import is_allowed, own_origin
from realtime.policy import CLOSE_NORMAL, Policy
from realtime.protocol import Closed, CloseReason, Meter, socketio
from realtime.protocol.errors import PayloadTooLarge, TooManyPackets
from realtime.sessions import Session
from security.addresses import address_group, client_address, networks
from security.limits import Budget, TokenBucket
from security.refusals import Refused, rule
from security.violations import Incident

__all__ = ["HubPolicy"]

CLOSE_TOO_LARGE: Final = 1009
CLOSE_PROTOCOL: Final = 4400
CLOSE_TOO_LATE: Final = 4408
CLOSE_TOO_MANY: Final = 4429
TIMED_OUT: Final = frozenset({CloseReason.PING_TIMEOUT, CloseReason.FORCED_SERVER_CLOSE})
EVENT: Final = socketio.PacketType.EVENT
BINARY_EVENT: Final = socketio.PacketType.BINARY_EVENT
TOKEN_PARAMETERS: Final = frozenset({"token", "access", "access_token", "auth", "jwt"})
TOKEN_VALUE: Final = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
# A client answers a ping in 25 s and acknowledges what it is asked to; by this many times the burst
# of its messages it may do more than that.
QUIET_PER_MESSAGE: Final = 20
LETS_GO_S: Final = 1.0
# RFC 6455, 7.4.1: how a server closes after bytes that are no frame, no UTF-8, or too many.
SERVER_FAULTS: Final = {
    "code 1002": "malformed",
    "code 1007": "malformed",
    "code 1008": "malformed",
    "code 1009": "payload_too_large",
}
REFUSED_CLOSE: Final = {
    "FORBIDDEN": 4403,
    "TOO_MANY_CONNECTIONS": CLOSE_TOO_MANY,
    "PENALTY": CLOSE_TOO_MANY,
}


class HubPolicy(Policy):
    """Admission, meters and close codes of the hub."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._settings = guard.settings
        self._trusted = networks(self._settings.trusted_proxies)
        self._unproved: Counter[str] = Counter()
        self._open = 0
        self._arrivals = Arrivals()

    # -- the handshake

    async def admit(self, handshake: Handshake, *, now: float) -> Denial | None:
        """Refuse a handshake: when full, too often, from a foreign page, with a token in it."""
        full = self._open >= self._settings.sockets_per_process
        if full or self._arrivals.crowded:
            return COME_LATER
        ip = self._address(handshake)
        wait_ms = self._guard.handshakes.take(ip, now)
        if not isinstance(wait_ms, int):
            wait_ms = await wait_ms
        # From here to the session nothing waits, so what is counted and what is taken are one step.
        refusal = self._refusal(handshake, ip, wait_ms)
        if refusal is None:
            return None
        await self._guard.record(
            Incident(
                kind=refusal.kind,
                code=refusal.code,
                ip=ip or None,
                event_type="handshake",
                detail=refusal.detail,
            )
        )
        status = 429 if rule(refusal.code).retry else 403
        close_code = CLOSE_TOO_MANY if refusal.code == "TOO_MANY_CONNECTIONS" else None
        return Denial(
            status,
            4,
            refusal.message,
            retry_after_ms=refusal.retry_after_ms,
            close_code=close_code,
        )

    def readmit(self, handshake: Handshake, session: Session) -> Denial | None:
        """A later request: from the same origins, and with no token in it either.

        Pages name no origin when they poll their own.
        """
        refusal = _token_in_url(handshake)
        if refusal is None and handshake.origin is not None and not self._origin_allowed(handshake):
            refusal = _foreign(handshake)
        if refusal is None:
            return None
        self._record(session, refusal)
        return Denial(403, 4, refusal.message)

    def _refusal(self, handshake: Handshake, ip: str, wait_ms: int) -> Refused | None:
        if wait_ms:
            return Refused("rate_limited", reason="handshakes", retry_after_ms=wait_ms)
        if (in_url := _token_in_url(handshake)) is not None:
            return in_url
        if not self._origin_allowed(handshake):
            return _foreign(handshake)
        if self._unproved[address_group(ip)] >= self._settings.unauthenticated_per_ip:
            return Refused("TOO_MANY_CONNECTIONS", reason="unauthenticated_per_ip")
        return None

    def _origin_allowed(self, handshake: Handshake) -> bool:
        own = own_origin(
            handshake.host, secure=handshake.secure, allowed_hosts=django_settings.ALLOWED_HOSTS
        )
        return is_allowed(
            handshake.origin,
            own=own,
            listed=self._settings.allowed_origins,
            missing_allowed=self._settings.allow_missing_origin,
            site=handshake.headers.get("sec-fetch-site"),
        )

    def _address(self, handshake: Handshake) -> str:
        forwarded = handshake.headers.get("x-forwarded-for")
        return client_address(handshake.peer, forwarded, self._trusted)

    # -- a session's life

    def open(self, session: Session) -> Wire:
        """A session begins: its address, its buckets, its budget."""
        settings, ip = self._settings, self._address(session.handshake)
        self._open += 1
        wire = Wire(
            ip=ip,
            group=address_group(ip),
            messages=TokenBucket(
                settings.messages_per_s, settings.message_burst, now=session.opened_at
            ),
            size=TokenBucket(settings.bytes_per_s, settings.byte_burst, now=session.opened_at),
            budget=Budget(settings.violation_budget),
            quiet=TokenBucket(
                settings.messages_per_s,
                settings.message_burst * QUIET_PER_MESSAGE,
                now=session.opened_at,
            ),
        )
        self._unproved[wire.group] += 1
        return wire

    def arriving(self, session: Session) -> AbstractAsyncContextManager[None]:
        """In line with all who come at the same time."""
        return self._arrivals.place()

    def proved(self, session: Session) -> None:
        """A namespace was joined: the session no longer counts as unauthenticated."""
        self._no_longer_unproved(session.policy_state)

    def meter(self, session: Session) -> Meter:
        """Bytes of everything, messages of events only, and no binary events at all.

        What needs no answer cannot be refused one either: too much of it ends the connection.
        """
        wire: Wire = session.policy_state
        take_bytes = wire.size.take

        def measure(packet_type: Any, size: int, now: float) -> int:  # noqa: ANN401 - Meter's union
            pause = take_bytes(now, size)
            if packet_type is EVENT:
                wait = wire.messages.take(now)  # looked up anew: engines get a bucket of their own
                return wait if wait > pause else pause  # noqa: FURB136 - max() is a call, felt on each packet
            # Here, before its JSON is read and its attachments are kept: the hub speaks JSON only.
            if packet_type is BINARY_EVENT:
                return NEVER_MS
            if wire.quiet.take(now):
                raise TooManyPackets
            return pause

        return measure

    def refused(self, session: Session, refusal: ConnectionRefused) -> None:
        """A transport on which nothing is joined has no reason to stay."""
        if not session.sockets:
            session.close(REFUSED_CLOSE.get(refusal.message, 4401), detail=refusal.message)

    def slow_reader(self, session: Session) -> None:
        """On record: the peer does not read."""
        self._record(session, Refused("slow_consumer", reason="outbox"))

    def close_code(self, closed: Closed) -> int:
        """The hub's codes for the ways in which a connection closes itself."""
        if closed.fault is PayloadTooLarge:
            return CLOSE_TOO_LARGE
        if closed.fault is not None:
            return CLOSE_PROTOCOL
        return CLOSE_TOO_LATE if closed.reason in TIMED_OUT else CLOSE_NORMAL

    def close(self, session: Session, closed: Closed) -> None:
        """A session is over; a peer's fault is a violation."""
        wire: Wire = session.policy_state
        self._open -= 1
        self._no_longer_unproved(wire)
        if closed.fault is PayloadTooLarge:
            self._record(session, Refused("payload_too_large", reason="max_payload"))
        elif closed.fault is not None:
            self._record(session, Refused("malformed", reason=closed.fault.__name__))
            if closed.fault is TooManyPackets:  # it need not hear why
                session.node.timers.after(LETS_GO_S, session.abort)
        elif closed.detail in SERVER_FAULTS:
            # The ASGI server itself refused a frame, and closed before anybody here could see it.
            self._record(session, Refused(SERVER_FAULTS[closed.detail], reason="frame"))
        elif wire.principal is None and closed.reason is CloseReason.FORCED_SERVER_CLOSE:
            self._record(session, Refused("AUTH_REQUIRED", reason="connect_deadline"))

    def _no_longer_unproved(self, wire: Wire) -> None:
        if not wire.unproved:
            return
        wire.unproved = False
        self._unproved[wire.group] -= 1
        if self._unproved[wire.group] <= 0:
            del self._unproved[wire.group]

    def _record(self, session: Session, refusal: Refused) -> None:
        incident = self._guard.incident(refusal, wire=session.policy_state, namespace="")
        session.node.background(self._guard.record(incident))


def _foreign(handshake: Handshake) -> Refused:
    seen = {"seen": (handshake.origin or "")[:200], "setting": "HUB_ALLOWED_ORIGINS"}
    return Refused("FORBIDDEN", kind="origin_forbidden", reason="origin", detail=seen)


def _token_in_url(handshake: Handshake) -> Refused | None:
    if any(map(_may_hold_token, handshake.parameters)):
        return Refused("AUTH_INVALID", kind="token_in_url", reason="token_in_url")
    return None


def _may_hold_token(parameter: tuple[str, str]) -> bool:
    name, value = parameter
    return name.lower() in TOKEN_PARAMETERS or TOKEN_VALUE.match(value) is not None
