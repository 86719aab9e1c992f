"""What a scenario is, and what it is given to play with."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from hubsite.drill.cast import Cast
from hubsite.drill.wire import Actor, Member, Wire, joined

__all__ = ["Play", "Scenario", "Stage"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A hub and a cast."""

    url: str
    cast: Cast

    async def member(self) -> AbstractAsyncContextManager[Member]:
        """A person of a fresh login who has joined."""
        return joined(self.url, await self.cast.person())

    async def engine(self) -> AbstractAsyncContextManager[Member]:
        """The drill's engine, joined."""
        actor = await self.cast.engine()
        if actor is None:
            raise ConnectionError("there is no engine to play")
        return joined(self.url, actor)

    async def connect(self, auth: object, namespace: str = "/") -> str:
        """What a CONNECT is answered with: ``joined``, or the refusal's code."""
        wire = await Wire.open(self.url)
        try:
            said = await wire.join(auth, namespace)
        except ConnectionError as closed:
            return str(closed)
        finally:
            await wire.close()
        return "joined" if "server_nonce" in said else str(said.get("code"))

    async def person(self) -> Actor:
        """A person of a fresh login."""
        return await self.cast.person()


Play = Callable[[Stage], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing that must not work. ``play`` returns what was seen; held means: as expected.

    ``kind`` is the violation that must be on record then; empty where there is none. ``local``: it
    needs the hub's database and keys.
    """

    control: str
    name: str
    expected: str
    play: Play = field(repr=False)
    kind: str = ""
    local: bool = False
