"""The tables allow the moves of the design and no others, and what derives from them agrees."""

import itertools
import sqlite3

import pytest

from engine import states
from engine.states import (
    BUILD_TABLE,
    FINAL,
    LIVE,
    OPEN,
    REASONS,
    TABLE,
    BuildEvent,
    BuildState,
    Event,
    IllegalTransition,
    Reason,
    State,
)

# Written out from the design by hand, so that a slip in the table is seen.
MOVES = {
    ("queued", "dispatch"): "dispatched",
    ("queued", "cancel"): "failed",
    ("queued", "upstream_fail"): "failed",
    ("queued", "expire"): "failed",
    ("dispatched", "start"): "running",
    ("dispatched", "release"): "queued",
    ("dispatched", "fail"): "failed",
    ("dispatched", "cancel"): "failed",
    ("dispatched", "upstream_fail"): "failed",
    ("running", "complete"): "completed",
    ("running", "release"): "queued",
    ("running", "fail"): "failed",
    ("running", "cancel"): "failed",
    ("running", "upstream_fail"): "failed",
}
BUILD_MOVES = {
    ("queued", "start"): "running",
    ("queued", "fail"): "failed",
    ("running", "complete"): "completed",
    ("running", "fail"): "failed",
    ("failed", "reopen"): "queued",
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_each_state_and_event_moves_as_designed_or_is_illegal(state: State, event: Event) -> None:
    if (state, event) in MOVES:
        assert states.after(state, event) is State(MOVES[state, event])
        return
    with pytest.raises(IllegalTransition) as seen:
        states.after(state, event)
    assert (seen.value.state, seen.value.event) == (state, event)
    assert str(seen.value) == f"no move from {state} by {event}"


@pytest.mark.parametrize(("state", "event"), list(itertools.product(BuildState, BuildEvent)))
def test_each_build_state_and_event_moves_as_designed_or_is_illegal(
    state: BuildState, event: BuildEvent
) -> None:
    if (state, event) in BUILD_MOVES:
        assert states.after_build(state, event) is BuildState(BUILD_MOVES[state, event])
        return
    with pytest.raises(IllegalTransition):
        states.after_build(state, event)


def test_the_sets_of_states_are_those_of_the_design() -> None:
    assert {State.COMPLETED, State.FAILED} == FINAL
    assert {State.QUEUED, State.DISPATCHED, State.RUNNING} == OPEN
    assert {State.DISPATCHED, State.RUNNING} == LIVE


def test_every_state_is_reached_from_the_queue_and_ends_in_a_final_one() -> None:
    def reach(start: State) -> set[State]:
        seen, edge = {start}, [start]
        while edge:
            fresh = set(TABLE[edge.pop()].values()) - seen
            seen |= fresh
            edge += fresh
        return seen

    assert reach(State.QUEUED) == set(State)
    assert all(reach(state) & FINAL for state in State)


def test_the_tables_name_every_state_and_use_every_event() -> None:
    assert set(TABLE) == set(State)
    assert {event for moves in TABLE.values() for event in moves} == set(Event)
    assert set(BUILD_TABLE) == set(BuildState)
    assert {event for moves in BUILD_TABLE.values() for event in moves} == set(BuildEvent)


def test_the_events_that_lead_back_or_to_failure_and_no_others_have_reasons() -> None:
    needing = {
        event
        for moves in TABLE.values()
        for event, to in moves.items()
        if to in {State.QUEUED, State.FAILED}
    }
    assert set(REASONS) == needing
    assert set().union(*REASONS.values()) == set(Reason)


def test_the_tables_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TABLE[State.FAILED] = {}  # type: ignore[index]  # the point


def test_choices_are_plain_text_so_that_migrations_hold_no_imports() -> None:
    names = [*states.choices(), *states.build_choices()]
    assert [value for value, _ in states.choices()] == [state.value for state in State]
    assert [value for value, _ in states.build_choices()] == [state.value for state in BuildState]
    assert {type(text) for pair in names for text in pair} == {str}


@pytest.mark.parametrize(
    ("kinds", "sql", "legal"),
    [
        (State, states.illegal_move_sql(), states.legal_moves()),
        (BuildState, states.illegal_build_move_sql(), states.legal_build_moves()),
    ],
)
def test_a_trigger_made_of_the_condition_refuses_exactly_the_illegal_moves(
    kinds: type[State | BuildState], sql: str, legal: frozenset[tuple[str, str]]
) -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE row (state TEXT NOT NULL)")
    database.execute(
        f"CREATE TRIGGER moves BEFORE UPDATE ON row WHEN {sql} "
        "BEGIN SELECT RAISE(ABORT, 'illegal move'); END"
    )
    for old, new in itertools.product([*kinds, "other"], repeat=2):
        database.execute("DELETE FROM row")
        database.execute("INSERT INTO row VALUES (?)", [str(old)])
        move = ("UPDATE row SET state = ?", [str(new)])
        if old == new or (old, new) in legal:
            database.execute(*move)
        else:
            with pytest.raises(sqlite3.IntegrityError, match="illegal move"):
                database.execute(*move)
    database.close()


def test_legal_moves_are_the_pairs_of_the_table() -> None:
    assert states.legal_moves() == {(old, new) for (old, _), new in MOVES.items()}
    assert states.legal_build_moves() == {(old, new) for (old, _), new in BUILD_MOVES.items()}


def test_the_diagram_shows_each_move_once_with_its_events() -> None:
    lines = states.mermaid().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> queued"]
    assert "    queued --> failed: cancel, upstream_fail, expire" in lines
    assert "    running --> completed: complete" in lines
    assert len(lines) == 2 + len(states.legal_moves()) + len(FINAL)
