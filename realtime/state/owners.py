"""Which process holds a session, so that any other can hand on what comes in for it."""

from typing import Final

from realtime.state.interface import Leases

__all__ = ["SessionOwners"]

HOLDER: Final = "holder"


class SessionOwners:
    """Sessions by id, each held by one process for as long as that process lives.

    All raise StateUnreachable: then nobody knows, and a poll is answered with "try again".
    """

    def __init__(self, leases: Leases, owner: str) -> None:
        self._leases = leases
        self.owner = owner

    async def claim(self, sid: str) -> bool:
        """Hold a session from now on. False: another living process holds it."""
        return await self._leases.put(_topic(sid), HOLDER, self.owner)

    async def owner_of(self, sid: str) -> str | None:
        """The living process that holds a session; None: it is over, or its process is."""
        held = await self._leases.entries(_topic(sid))
        return held[0].owner if held else None

    async def release(self, sid: str) -> None:
        """The session is over; harmless when it was not held here."""
        await self._leases.remove(_topic(sid), HOLDER, self.owner)


def _topic(sid: str) -> str:
    return f"session:{sid}"
