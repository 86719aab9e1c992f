"""The durable feed: numbers without gaps, replay in order, a snapshot instead of half a replay."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from engine import dispatcher, feed
from engine.models import FeedCounter, FeedEvent
from security.conf import HubSettings

pytestmark = pytest.mark.django_db


def fill(user_id: int, count: int) -> None:
    for number in range(count):
        feed.append(user_id, "job_status", {"n": number})


def test_numbers_begin_at_one_and_stand_in_the_data(bench: Any) -> None:
    ada = bench.person()
    assert feed.append(ada, "job_status", {"status": "running"}, now=bench.now) == 1
    page = feed.read(ada, None, 0)
    (entry,) = page.events
    assert entry.data == {"seq": 1, "epoch": page.epoch, "status": "running"}
    assert (page.head, page.recovered, entry.seq, entry.event) == (1, True, 1, "job_status")


def test_each_person_has_numbers_of_their_own(bench: Any) -> None:
    ada, grace = bench.person("ada"), bench.person("grace")
    fill(ada, 3)
    fill(grace, 1)
    positions = feed.heads([ada, grace, 999_999])
    assert {user: at.head for user, at in positions.items()} == {ada: 3, grace: 1}
    assert positions[ada].epoch != positions[grace].epoch


def test_a_rollback_leaves_no_gap(bench: Any) -> None:
    ada = bench.person()
    fill(ada, 1)
    with transaction.atomic():
        fill(ada, 5)
        transaction.set_rollback(True)
    fill(ada, 1)
    assert [entry.seq for entry in feed.read(ada, None, 0).events] == [1, 2]


def test_a_second_event_of_a_key_is_not_appended(bench: Any) -> None:
    ada = bench.person()
    feed.append(ada, "world_update", {}, "world_update:b_1")
    assert feed.append(ada, "world_update", {}, "world_update:b_1") == 1
    twice = [feed.Draft("world_update", {}, "world_update:b_2")] * 2
    assert feed.append_all(ada, twice) == 2
    assert FeedEvent.objects.count() == 2


@pytest.mark.parametrize("after", [0, 1, 3, 5])
def test_everything_after_a_number_is_replayed_in_order(bench: Any, after: int) -> None:
    ada = bench.person()
    fill(ada, 5)
    page = feed.read(ada, feed.position(ada).epoch, after)
    assert page.recovered
    assert [entry.seq for entry in page.events] == list(range(after + 1, 6))


def test_a_page_is_bounded_and_tells_where_the_feed_is(bench: Any) -> None:
    ada = bench.person()
    fill(ada, 7)
    page = feed.read(ada, None, 2, limit=3)
    assert ([entry.seq for entry in page.events], page.head) == ([3, 4, 5], 7)


@pytest.mark.parametrize(("epoch", "after"), [("other", 0), (None, 6), (None, -1), ("", 0)])
def test_what_was_never_said_here_is_not_recovered(
    bench: Any, epoch: str | None, after: int
) -> None:
    ada = bench.person()
    fill(ada, 5)
    page = feed.read(ada, epoch, after)
    assert (page.recovered, page.events, page.head) == (False, (), 5)


def test_pruned_events_make_a_snapshot_due_never_half_a_replay(bench: Any) -> None:
    ada = bench.person()
    for _ in range(3):
        feed.append(ada, "job_status", {}, now=bench.now)
    feed.append(ada, "job_status", {}, now=bench.later(3600 * 20))
    assert feed.prune(now=bench.later(3600 * 5)) == 3
    assert feed.read(ada, None, 2).recovered is False
    page = feed.read(ada, None, 3)
    assert (page.recovered, [entry.seq for entry in page.events]) == (True, [4])


def test_no_more_than_the_kept_number_stays(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.feed.hub", lambda: HubSettings(feed_keep_events=2))
    ada = bench.person()
    fill(ada, 5)
    assert feed.prune(now=None) == 3
    assert [entry.seq for entry in feed.read(ada, None, 3).events] == [4, 5]
    assert feed.prune(now=None) == 0


def test_a_fully_pruned_feed_is_still_recovered_at_its_head(bench: Any) -> None:
    ada = bench.person()
    feed.append(ada, "job_status", {}, now=bench.now)
    feed.prune(now=bench.now + timedelta(days=2))
    assert feed.read(ada, None, 1).recovered is True
    assert feed.read(ada, None, 0).recovered is False


def test_a_new_epoch_ends_all_replays_of_before(bench: Any) -> None:
    ada = bench.person()
    fill(ada, 3)
    old = feed.position(ada).epoch
    assert feed.renew_epochs() == 1
    assert feed.read(ada, old, 1).recovered is False
    assert feed.read(ada, None, 0).recovered is False
    fill(ada, 1)
    assert [entry.seq for entry in feed.read(ada, None, 3).events] == [4]


def test_a_person_without_events_has_a_stable_position(bench: Any) -> None:
    ada = bench.person()
    assert feed.heads([ada]) == {}
    first = feed.position(ada)
    assert first.head == 0
    assert feed.position(ada) == first
    assert FeedCounter.objects.get().oldest == 1


def test_a_snapshot_shows_the_newest_builds_with_their_current_jobs(bench: Any) -> None:
    ada = bench.person()
    bench.submit(bench.person("grace"))
    bench.engine()
    build = bench.submit(ada, entities=1)
    bench.run_all()
    shown = feed.snapshot(ada)
    assert shown["head"] == feed.position(ada).head
    assert shown["epoch"] == feed.position(ada).epoch
    (told,) = shown["builds"]
    assert told["build_id"] == build.id
    assert told["world"] == {"id": "world_harbour", "name": "Harbour"}
    assert told["artifact_url"] is None
    assert told["created_at"] == int(build.created_at.timestamp() * 1000)
    assert told["engine_online"] is True
    assert [job["job_type"] for job in told["jobs"]] == [
        "BUILD_SCENE",
        "LOAD_ASSETS",
        "SPAWN_ENTITY",
    ]


def test_a_snapshot_leaves_out_what_a_retry_replaced(bench: Any) -> None:
    build = bench.submit(entities=1)
    dispatcher.cancel_build(bench.person(), build.id, now=bench.now)
    first = feed.snapshot(bench.person())["builds"][0]["jobs"]
    dispatcher.retry_job(bench.person(), first[0]["job_id"], now=bench.now)
    (told,) = feed.snapshot(bench.person())["builds"]
    assert (told["status"], told["failed"], len(told["jobs"])) == ("queued", 0, 3)
    assert not {job["job_id"] for job in told["jobs"]} & {job["job_id"] for job in first}


def test_a_snapshot_has_at_most_twenty_builds(bench: Any) -> None:
    for _ in range(22):
        build = bench.submit(entities=1)
        dispatcher.cancel_build(bench.person(), build.id, now=bench.later(1))
    assert len(feed.snapshot(bench.person())["builds"]) == 20
