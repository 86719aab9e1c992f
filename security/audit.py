"""The audit: what was done and allowed, one appended row each.

The design chapter is docs/security.md. Rows go through the recorder and never
delay what they tell of. When its queue is full, entries are counted per (principal, action) and
become one row with ``detail.count``: never dropped.
"""

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from security import clock
from security.conf import AuditScope, hub
from security.detail import bounded, regular_ip, visible
from security.models import AuditEntry
from security.recorder import Draft, Tally, moment, recorder

__all__ = ["ACTION_PREFIX", "AUDITED", "append", "append_action", "is_audited"]

ActionKind = Literal["state", "interaction"]

ACTION_PREFIX: Final = "action."
"""Before the type of a person's action, so that no type can pass for an entry of the hub's own."""

AUDITED: Final[Mapping[str, ActionKind]] = {
    "presence": "state",
    "room_join": "state",
    "room_leave": "state",
    "generate_world": "state",
    "build_cancel": "state",
    "job_cancel": "state",
    "job_retry": "state",
    "agent_update": "state",
}
"""The actions that change state, of people and agents. All others are interactions."""

SCOPES: Final[Mapping[AuditScope, frozenset[ActionKind]]] = {
    "state": frozenset({"state"}),
    "all": frozenset({"state", "interaction"}),
    "none": frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _AuditDraft:
    """An entry on its way to a row."""

    action: str
    at_ms: int
    principal: str
    user_id: int | None
    namespace: str
    sid: str
    login_session: str
    ip: str | None
    target: str
    detail: dict[str, object]

    @property
    def tally_key(self) -> Hashable:
        return AuditEntry, self.principal, self.action

    @property
    def crowd_key(self) -> Hashable:
        return AuditEntry

    def row(self) -> AuditEntry:
        return AuditEntry(
            at=moment(self.at_ms),
            action=visible(self.action, 64),
            principal=visible(self.principal, 96),
            user_id=self.user_id,
            namespace=visible(self.namespace, 64),
            sid_hash=hashlib.sha256(self.sid.encode(errors="replace")).hexdigest()
            if self.sid
            else "",
            login_session=visible(self.login_session, 40),
            ip=regular_ip(self.ip),
            target=visible(self.target, 128),
            detail=self.detail,
        )

    def rolled_up(self, tally: Tally) -> AuditEntry:
        detail = {"rollup": True, "count": tally.count, "first_ms": tally.first_ms}
        if tally.crowded:
            return AuditEntry(at=moment(tally.last_ms), action="crowd", detail=detail)
        return AuditEntry(
            at=moment(tally.last_ms),
            action=visible(self.action, 64),
            principal=visible(self.principal, 96),
            user_id=self.user_id,
            detail=detail,
        )


def append(
    action: str,
    *,
    principal: str = "",
    user_id: int | None = None,
    namespace: str = "",
    sid: str = "",
    login_session: str = "",
    ip: str | None = None,
    target: str = "",
    detail: Mapping[str, object] | None = None,
    now_ms: int | None = None,
) -> None:
    """Queue an entry. Never waits; ``sid`` is stored as its SHA-256.

    ``now_ms`` is when it was done (the hub's clock when None). Raises SecretInDetail for a detail
    that names a secret.
    """
    draft: Draft = _AuditDraft(
        action=action,
        at_ms=clock.now_ms() if now_ms is None else now_ms,
        principal=principal,
        user_id=user_id,
        namespace=namespace,
        sid=sid,
        login_session=login_session,
        ip=ip,
        target=target,
        detail=bounded(detail or {}),
    )
    recorder().append(draft)


def append_action(
    action_type: str,
    *,
    principal: str,
    user_id: int | None = None,
    namespace: str = "",
    sid: str = "",
    login_session: str = "",
    ip: str | None = None,
    target: str = "",
    detail: Mapping[str, object] | None = None,
    now_ms: int | None = None,
) -> None:
    """Queue an entry for a person's accepted action, if HUB_AUDIT_ACTIONS asks for its kind."""
    if is_audited(action_type):
        append(
            ACTION_PREFIX + action_type,
            principal=principal,
            user_id=user_id,
            namespace=namespace,
            sid=sid,
            login_session=login_session,
            ip=ip,
            target=target,
            detail=detail,
            now_ms=now_ms,
        )


def is_audited(action_type: str) -> bool:
    """Whether an accepted action of this type is audited."""
    return AUDITED.get(action_type, "interaction") in SCOPES[hub().audit_actions]
