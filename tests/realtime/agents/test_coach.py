"""When the coach speaks, and to whom: clicks and stillness on a clock that the tests push."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from realtime.agents.coach import Advice, Coach, Temper

TEMPER = Temper(clicks=3, within_s=2.0, still_s=60.0, cooldown_s=30.0, people=100)


def action(user_id: str = "1", kind: str = "click", number: int = 1) -> dict[str, Any]:
    return {"id": f"act_{number}", "user_id": user_id, "type": kind}


def click(coach: Coach, *times: float, user_id: str = "1") -> list[Advice | None]:
    return [coach.saw(action(user_id, number=int(at)), now=at) for at in times]


def test_so_many_clicks_in_so_short_a_time_are_a_hurry() -> None:
    *before, last = click(Coach(TEMPER), 10.0, 10.5, 12.0)
    assert before == [None, None]
    assert last is not None
    assert (last.user_id, last.reason, last.in_reply_to) == ("1", "rapid_clicking", "act_12")
    assert last.message


def test_slower_clicks_are_none() -> None:
    assert click(Coach(TEMPER), *(each * 1.01 for each in range(20))) == [None] * 20


def test_the_clicks_of_two_people_are_not_added_up() -> None:
    coach = Coach(TEMPER)
    assert click(coach, 1, 1) + click(coach, 1, 1, user_id="2") == [None] * 4


def test_only_clicks_are_a_hurry() -> None:
    coach = Coach(TEMPER)
    assert [coach.saw(action(kind="move"), now=1.0) for _ in range(50)] == [None] * 50


def test_nobody_is_told_twice_within_the_cooldown() -> None:
    coach = Coach(TEMPER)
    told = [each for each in click(coach, *(at / 10 for at in range(299))) if each]
    assert len(told) == 1
    assert click(coach, 30.3)[0] is not None


def test_who_has_fallen_still_is_told_once() -> None:
    coach = Coach(TEMPER)
    coach.saw(action(kind="move"), now=5.0)
    assert coach.look_around(now=64.9) == []
    (advice,) = coach.look_around(now=65.0)
    assert (advice.user_id, advice.reason, advice.in_reply_to) == ("1", "idle", "")
    assert coach.look_around(now=1_000.0) == []


def test_whoever_moves_again_may_fall_still_again() -> None:
    coach = Coach(TEMPER)
    for began in (0.0, 100.0):
        coach.saw(action(kind="move"), now=began)
        assert coach.look_around(now=began + 59) == []
        assert len(coach.look_around(now=began + 60)) == 1


def test_a_word_about_a_hurry_puts_off_the_one_about_stillness() -> None:
    coach = Coach(Temper(clicks=1, still_s=10.0, cooldown_s=30.0))
    click(coach, 0.0)
    assert coach.look_around(now=29.9) == []
    assert [each.reason for each in coach.look_around(now=30.0)] == ["idle"]


def test_the_one_whose_word_is_put_off_keeps_nobody_else_waiting() -> None:
    coach = Coach(Temper(clicks=1, still_s=10.0, cooldown_s=30.0))
    click(coach, 0.0)
    coach.saw(action("2", "move"), now=1.0)
    assert [each.user_id for each in coach.look_around(now=12.0)] == ["2"]


def test_who_is_gone_is_told_nothing() -> None:
    coach = Coach(TEMPER)
    coach.saw(action(), now=0.0)
    coach.forget("1")
    coach.forget("stranger")
    assert coach.look_around(now=1_000.0) == []


def test_the_memory_is_bounded_and_forgets_who_acted_longest_ago() -> None:
    coach = Coach(Temper(people=2, still_s=1.0))
    for number in range(3):
        coach.saw(action(str(number), "move"), now=number / 10)
    assert [each.user_id for each in coach.look_around(now=10.0)] == ["1", "2"]


@given(st.lists(st.tuples(st.sampled_from("123"), st.floats(0, 5)), max_size=60))
def test_no_two_words_to_one_person_are_closer_than_the_cooldown(
    steps: list[tuple[str, float]],
) -> None:
    coach, now, told = Coach(Temper(clicks=2, within_s=3, still_s=4, cooldown_s=7)), 0.0, {}
    for user_id, pause in steps:
        now += pause
        words = [coach.saw(action(user_id), now=now), *coach.look_around(now=now)]
        for word in filter(None, words):
            assert now - told.get(word.user_id, -7.0) >= 7
            told[word.user_id] = now
