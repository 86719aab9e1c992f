"""What the guarded namespaces of one process share: who is connected, who rests, what was spent.

It also turns a refusal into its consequences: points on the budgets of the socket and of the login
session (never of the person: a stolen token must not lock out its owner), and the violation row.
"""

from dataclasses import dataclass, field
from typing import Any

from realtime.processes import Processes
from realtime.roster import Roster
from realtime.state.interface import AddressRates, Budgets, Leases, Penalties
from realtime.timers import Timer
from security import violations
from security.conf import HubSettings
from security.gate import NonceStore, Signed
from security.limits import AddressBuckets, Budget, TokenBucket
from security.limits import Budgets as OwnBudgets
from security.limits import Penalties as OwnPenalties
from security.principals import Principal
from security.refusals import Refused, rule
from security.signatures import MessageKey
from security.violations import Incident

__all__ = ["NEVER_MS", "Guard", "Seat", "Wire", "session_key"]

# Clients flush what they buffered while offline onto the new socket, signed for the old one.
SIGNATURE_GRACE_MS = 5_000
# Instead of a pause: this event will not be taken later either, because it is binary.
NEVER_MS = 2**53
SIGNATURE_CODES = frozenset({"invalid_signature", "ENGINE_SIGNATURE_INVALID"})


@dataclass(slots=True, eq=False)
class Wire:
    """The hub's own state of one transport session: its address and what it may still spend."""

    ip: str
    group: str
    messages: TokenBucket
    size: TokenBucket
    budget: Budget
    quiet: TokenBucket  # packets that are no events
    principal: Principal | None = None
    unproved: bool = True
    fast: bool = False  # its messages have the bucket of an engine


@dataclass(slots=True, eq=False)
class Seat:
    """The state of one guarded socket: who it is, and the keys of its two directions.

    ``counted_as`` is under what it takes one of its principal's places, over all processes.

    ``message`` is the one being handled, once it has passed the gate's check 7, and ``at_ms`` when
    its handling began: there is at most one, since the messages of a socket are handled in turn.
    ``heard_at`` is when its last sign of life came (a heartbeat, or any message of a service), in
    seconds of the loop's clock.
    """

    principal: Principal
    wire: Wire
    receives: MessageKey
    sends: MessageKey
    server_nonce: bytes
    joined_at_ms: int
    expires_at_ms: int
    feed: dict[str, Any] | None = None
    timers: dict[str, Timer] = field(default_factory=dict)
    message: Signed | None = None
    at_ms: int = 0
    heard_at: float = 0.0
    greeted: bool = False
    counted_as: str = ""


class Guard:
    """Shared by all guarded namespaces of a process.

    ``penalties``, ``handshakes`` by address, and ``budgets`` by login or engine session, may be
    shared with other processes; a socket's own budget is in its ``Wire``.
    ``leases`` are those of all processes; None in a hub of one.
    """

    def __init__(
        self,
        settings: HubSettings,
        nonces: NonceStore,
        penalties: Penalties | None = None,
        *,
        handshakes: AddressRates | None = None,
        budgets: Budgets | None = None,
        leases: Leases | None = None,
    ) -> None:
        self.settings = settings
        self.nonces = nonces
        self.processes = Processes(leases)
        self.roster = Roster()
        self.penalties = OwnPenalties() if penalties is None else penalties
        self.handshakes: AddressRates = (
            AddressBuckets(settings.handshakes_per_s, settings.handshake_burst)
            if handshakes is None
            else handshakes
        )
        self.budgets: Budgets = (
            OwnBudgets(settings.violation_budget) if budgets is None else budgets
        )

    async def charge(self, seat: Seat, refusal: Refused, *, now: float, now_ms: int) -> bool:
        """Charge a refusal; True when a budget is spent, and the session then has to rest."""
        points = rule(refusal.code).points
        fresh = now_ms - seat.joined_at_ms < SIGNATURE_GRACE_MS
        if not points or (fresh and refusal.code in SIGNATURE_CODES):
            return False
        key = session_key(seat.principal)
        spent = seat.wire.budget.charge(points, now)
        spent_together = self.budgets.charge(key, points, now)
        if not isinstance(spent_together, bool):
            spent_together = await spent_together
        if not (spent or spent_together):
            return False
        self.penalties.punish(key, until=now + self.settings.penalty_s)
        return True

    def incident(
        self,
        refusal: Refused,
        *,
        wire: Wire,
        principal: Principal | None = None,
        namespace: str = "",
        sid: str = "",
        event: str = "",
    ) -> Incident:
        """A refusal as it is recorded.

        Without a ``principal`` it is about whoever was the last to be proved on the connection,
        and about its address where nobody was.
        """
        principal = principal or wire.principal
        return Incident(
            kind=refusal.kind,
            code=refusal.code,
            principal=principal.label if principal else "",
            user_id=principal.user_id if principal else None,
            login_session=principal.session_id if principal else "",
            namespace=namespace,
            sid=sid,
            ip=wire.ip or None,
            event_type=refusal.event_type or event,
            payload_sha256=refusal.payload_sha256,
            detail=refusal.detail,
        )

    async def record(self, incident: Incident) -> None:
        """Report a refusal, and wait for its row as long as its kind is not a flood."""
        future = violations.report(incident)
        if future is not None:
            await violations.confirm(future)


def session_key(principal: Principal) -> str:
    """What budgets and penalties hold on to: the login session, or the service's own token.

    Not the service: whoever stole a token could lock out its owner, who signs for another at will.
    """
    return principal.session_id or f"{principal.label}#{principal.token_id}"
