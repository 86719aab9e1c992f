"""A small run of the fuzz, which is a command of its own for a million inputs."""

import pytest

from realtime.protocol import Connection
from realtime.protocol.errors import ProtocolError
from tests.realtime.protocol.fuzz import Fuzz

INPUTS = 20_000
# Of these limits the fuzz sets none: the second is a meter's.
OUT_OF_REACH = {"TooManyNamespaces", "TooManyPackets"}


def test_no_input_raises_and_no_state_outlives_a_fault() -> None:
    fuzz = Fuzz(seed=1)
    assert fuzz.run(INPUTS) > INPUTS / 100
    assert fuzz.gaps == []


def test_every_declared_fault_is_met() -> None:
    fuzz = Fuzz(seed=2)
    fuzz.run(INPUTS)
    assert leaves(ProtocolError) - fuzz.closed.keys() == OUT_OF_REACH


def leaves(kind: type[ProtocolError]) -> set[str]:
    below = kind.__subclasses__()
    return {kind.__name__} if not below else set().union(*map(leaves, below))


def test_it_would_notice_what_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise KeyError

    monkeypatch.setattr(Connection, "_acked", fail)
    fuzz = Fuzz(seed=3)
    fuzz.run(5_000)
    assert fuzz.gaps


def test_it_would_notice_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "_close", super(Connection, Connection)._close)
    fuzz = Fuzz(seed=4)
    fuzz.run(1_000)
    assert fuzz.gaps
