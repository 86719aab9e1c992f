"""Where decisions made outside the coordinator hand over their effects: the admin's, above all.

A process that serves sockets announces its coordinator here. Elsewhere (a shell, a command) nobody
is told at once, and nothing is lost by it: feeds are looked at every 2 s, the queue every second,
and an engine that was not told to drop a cancelled job ends it by its report or its lease.
"""

from collections.abc import Callable

from django.db import transaction

from engine.outcome import Outcome

__all__ = ["announce", "hand_over"]

Sink = Callable[[Outcome], None]

_sinks: list[Sink] = []


def announce(sink: Sink) -> None:
    """Let effects go to `sink`, which any thread may call; an earlier one is forgotten."""
    _sinks[:] = [sink]


def hand_over(outcome: Outcome) -> Outcome:
    """Pass on the effects of a decision once the transaction around it, if any, is committed."""
    transaction.on_commit(lambda: _pass_on(outcome))
    return outcome


def _pass_on(outcome: Outcome) -> None:
    for sink in _sinks:
        sink(outcome)
