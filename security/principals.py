"""Who speaks: the verified identity behind a request or a socket, as a plain value."""

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Kind", "Principal", "Role"]

Kind = Literal["user", "engine", "agent"]
Role = Literal["user", "staff", "engine", "agent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person in one login session, or an engine or agent.

    ``subject`` is the person's id or the service's name, ``session_id`` is empty for services.
    ``kid`` names the master key of the secret, ``version`` is the person's token version or the
    service's key version, ``expires_at`` is in milliseconds since the epoch. ``token_id`` is that
    of the token which was shown.
    """

    kind: Kind
    subject: str
    username: str
    role: Role
    session_id: str
    kid: str
    version: int
    expires_at: int
    token_id: str = ""
    label: str = field(init=False, repr=False, compare=False)
    """The principal of signatures and records: ``user:42``, ``engine:engine-1``."""

    def __post_init__(self) -> None:
        # Made once: it is asked for with every message.
        object.__setattr__(self, "label", f"{self.kind}:{self.subject}")

    @property
    def user_id(self) -> int | None:
        """The person's id; None for engines and agents."""
        return int(self.subject) if self.kind == "user" else None

    @property
    def is_staff(self) -> bool:
        return self.role == "staff"

    @property
    def is_authenticated(self) -> bool:
        """Always true; REST framework asks this of whatever stands in ``request.user``."""
        return True
