"""The registry of action types: its table, and that the hub's own types are in it."""

from realtime.actions import INTERACTIONS
from security.gate import TYPE
from tests.realtime.guarded import Bench

# docs/wire.md: the interactions.
NAMES = [
    "click",
    "inspect",
    "interact",
    "speak",
    "call_npc",
    "navigate",
    "move",
    "input",
    "scroll",
    "emote",
]


def test_the_interactions_are_those_of_the_contract() -> None:
    assert sorted(INTERACTIONS) == sorted(NAMES)
    assert all(INTERACTIONS.values())


async def test_every_action_can_pass_the_gate_and_has_its_own_name(bench: Bench) -> None:
    assert bench.hub.actions.keys() == {*NAMES, "presence", "room_join", "room_leave"}
    for name, action in bench.hub.actions.items():
        assert TYPE.fullmatch(name)
        assert action.name == name
        assert action.rule.max_bytes == bench.settings.action_payload
