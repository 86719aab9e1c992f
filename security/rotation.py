"""New keys beside the old ones, and old ones dropped: the values for the variables, not the change.

A rotation is two steps. First each ring gets a new first key, which signs from the next start on,
while the old ones still verify. When nothing depends on an old key any more, it is dropped. Secrets
of sessions and services are derived from a master key, so dropping one ends them; anchors and
checkpoints are signed again before that, so that the records stay verifiable.

    CannotDrop    that key signs now, or there is none of that name
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import transaction

from security import anchors
from security.keys import Key, KeyRing, Keys
from security.models import Anchor, Checkpoint, Mark, ServiceAccount, Session
from security.signatures import KEY_BYTES, to_base64url

__all__ = [
    "CannotDrop",
    "Dependents",
    "dependents",
    "new_rings",
    "rewrite",
    "ring_text",
    "rings_without",
    "seal_anew",
]

RINGS: Final[Mapping[str, str]] = {"HUB_MASTER_KEYS": "master", "HUB_JWT_KEYS": "jwt"}


class CannotDrop(ValueError):
    """A key cannot be dropped."""

    def __init__(self, kid: str, reason: str) -> None:
        self.kid, self.reason = kid, reason
        super().__init__(kid, reason)

    def __str__(self) -> str:
        return f"{self.kid} cannot be dropped: {self.reason}"


@dataclass(frozen=True, slots=True)
class Dependents:
    """What would end with a master key: enabled services, and how many live login sessions."""

    services: tuple[str, ...]
    sessions: int


def new_rings(keys: Keys, kid: str) -> dict[str, str]:
    """The variables' values with a new first key of that name in each ring."""
    return {
        variable: ring_text([Key(kid, secrets.token_bytes(KEY_BYTES)), *getattr(keys, ring)])
        for variable, ring in RINGS.items()
    }


def rings_without(keys: Keys, kid: str) -> dict[str, str]:
    """The values without a key, in whichever ring has it. Raises CannotDrop."""
    rings: dict[str, KeyRing] = {variable: getattr(keys, ring) for variable, ring in RINGS.items()}
    if all(ring.get(kid) is None for ring in rings.values()):
        raise CannotDrop(kid, "there is no key of that name")
    signing = [variable for variable, ring in rings.items() if ring.signing.kid == kid]
    if signing:
        raise CannotDrop(kid, f"it signs now ({', '.join(signing)}); rotate first")
    return {
        variable: ring_text([key for key in ring if key.kid != kid])
        for variable, ring in rings.items()
    }


def ring_text(ring: list[Key]) -> str:
    """A ring as its variable holds it. The text is a secret."""
    return ",".join(f"{key.kid}:{to_base64url(key.secret)}" for key in ring)


def dependents(kid: str, *, now: datetime) -> Dependents:
    """Who signs with a secret of a master key."""
    accounts = ServiceAccount.objects.filter(kid=kid, enabled=True)
    live = Session.objects.live(now).filter(kid=kid).count()
    return Dependents(tuple(map(str, accounts)), live)


def seal_anew(kid: str) -> int:
    """Append what a master key has signed last about each chain once more, signed by the first key.

    Returns how many marks that were. To be done while both keys are in the ring.
    """
    ring = settings.KEYS.master
    made: list[Mark] = []
    for model in (Checkpoint, Anchor):
        newest: dict[tuple[str, str], Mark] = {}
        for mark in model.rows().order_by("last_id", "pk"):
            newest[mark.table, mark.writer] = mark
        for mark in newest.values():
            if mark.kid == kid and anchors.is_authentic(mark, ring):
                mark.pk, mark._state.adding = None, True  # noqa: SLF001 - Django's documented way to copy
                anchors.seal(mark, ring)
                made.append(mark)
    with transaction.atomic():
        for mark in made:
            mark.save()
    return len(made)


def rewrite(path: Path, values: Mapping[str, str]) -> None:
    """Put new values into the file of development keys; a reader sees the old or the new whole."""
    content = {**json.loads(path.read_text("utf-8")), **values}
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
