"""The flood itself, small; the real one takes longer: ``python -m tests.flood``."""

from tests.flood.run import SETTINGS, Flood
from tests.hostile.stage import staged


async def test_five_thousand_mixed_hostile_frames_are_refused_and_counted_exactly() -> None:
    with staged(**SETTINGS) as stage:
        verdict = await Flood(stage, stage.hub.pid, frames=5_000, sockets=16).run()
    assert verdict["gaps"] == []
    assert verdict["frames"] >= 5_000
    assert len(verdict["refused"]) == 18
    assert verdict["bystander"]["rounds"] > 3
