"""A bench for "/agent" beside "/": the guarded layer of a process, on pushed time."""

from typing import Any

import pytest

from realtime.agents.namespace import AgentNamespace
from realtime.inquiries import Inquiries
from security import grants, tokens
from tests.realtime.guarded import Bench, Peer
from tests.realtime.services_bench import AUDIENCES, ServicePeer, add_service

ROOMS = ["garden", "lobby"]
HINT = {"user_id": "1", "message": "Take your time.", "reason": "rapid_clicking"}


class AgentPeer(ServicePeer):
    """An agent on the bench."""

    kind = "agent"
    usual = "coach"


class AgentBench(Bench):
    """One process with both namespaces; ``coach`` hears ROOMS, ``deaf`` nothing."""

    def __init__(self, patch: pytest.MonkeyPatch, **settings: Any) -> None:
        super().__init__(patch, **settings)
        self.rooms: dict[str, list[str]] = {"coach": ROOMS, "deaf": []}
        patch.setattr(grants, "rooms_of", self.rooms.__getitem__)
        patch.setattr(grants, "rooms_by_agent", self._rooms_by_agent)
        self.inquiries = Inquiries()
        self.agents = AgentNamespace(self.guard, self.inquiries)
        self.node.namespaces["/agent"] = self.agents  # type: ignore[index]  # a dict, made by us
        for each in (self.inquiries, self.agents):
            each.bind(self.node)
        for name in self.rooms:
            add_service(self, "agent", name)

    def agent(self, **handshake: Any) -> AgentPeer:
        return AgentPeer(self, **handshake)

    async def listening(self, who: str = "coach") -> AgentPeer:
        """An agent that has proved itself."""
        peer = self.agent()
        await peer.connect(who)
        assert (await peer.say("agent_heartbeat", {}))["ok"]
        return peer

    async def in_room(self, who: str, room: str) -> Peer:
        """Somebody who has left the lobby for a room."""
        peer = await self.joined(who)
        assert (await peer.act("room_join", {"room": room}))["ok"]
        assert (await peer.act("room_leave", {"room": "lobby"}))["ok"]
        return peer

    def _rooms_by_agent(self, names: set[str]) -> dict[str, list[str]]:
        return {name: self.rooms[name] for name in names}

    def _verify(self, token: Any, **expected: Any) -> Any:
        known = super()._verify(token, **expected)
        if AUDIENCES[self.people[known].kind] != expected["audience"]:
            raise tokens.TokenInvalid("audience")
        return known
