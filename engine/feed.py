"""The durable feed: every event a person must get, numbered without gaps, read again after a break.

An event is appended in the transaction of the change it tells of. Its number comes from the
person's counter row, which stays locked until the commit: number order is commit order, and a
rollback leaves no gap. The counter is the last lock a transaction takes (jobs.md, "States"), and
one that appends for several people takes them in the order of their ids.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson
from django.db import transaction
from django.db.models import BooleanField, F, Max
from django.db.models.expressions import RawSQL

from engine.clock import moment
from engine.ids import new_epoch
from engine.models import Build, FeedCounter, FeedEvent
from engine.outcome import Body
from engine.views import build_snapshot, current_jobs, engine_online
from security.conf import hub

__all__ = [
    "PAGE",
    "Draft",
    "FeedEntry",
    "FeedPage",
    "Position",
    "append",
    "append_all",
    "heads",
    "position",
    "prune",
    "read",
    "renew_epochs",
    "snapshot",
]

PAGE: Final = 500
"""Most events in one page (wire.md, `GET /api/feed/`)."""

SNAPSHOT_BUILDS: Final = 20

HAS_KEY: Final = RawSQL("NOT (engine_feedevent.dedupe_key = '')", (), output_field=BooleanField())
"""The condition of the index of keys, word for word: with a parameter in it, SQLite would not see
that the index serves, and walk through all of a person's events."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that has no number yet. A second one with the same key is not appended."""

    event: str
    body: Body
    dedupe_key: str = ""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A numbered event. `body` is the text of its data, with `seq` and `epoch` in it."""

    seq: int
    event: str
    body: str

    @property
    def data(self) -> dict[str, Any]:
        """The body as values."""
        parsed: dict[str, Any] = orjson.loads(self.body)
        return parsed


@dataclass(frozen=True, slots=True)
class FeedPage:
    """What follows a position. Not `recovered`: nothing is replayed, a snapshot is due instead."""

    epoch: str
    head: int
    recovered: bool
    events: tuple[FeedEntry, ...]

    def shown(self) -> dict[str, object]:
        """The page as `GET /api/feed/` and the `feed` event answer it."""
        return {
            "epoch": self.epoch,
            "head": self.head,
            "recovered": self.recovered,
            "events": [
                {"seq": each.seq, "event": each.event, "data": each.data} for each in self.events
            ],
        }


class Position(NamedTuple):
    """Where a feed is: `(epoch, head)`."""

    epoch: str
    head: int


# Writing


def append(
    user_id: int, event: str, body: Body, dedupe_key: str = "", *, now: datetime | None = None
) -> int:
    """Append one event in the caller's transaction and return the head after it."""
    return append_all(user_id, [Draft(event, body, dedupe_key)], now=now)


def append_all(user_id: int, drafts: Sequence[Draft], *, now: datetime | None = None) -> int:
    """Append events in their order, in the caller's transaction; return the head after them."""
    counter = _locked_counter(user_id)
    fresh = _not_yet_appended(user_id, drafts)
    if not fresh:
        return counter.head
    at = moment(now)
    FeedEvent.objects.bulk_create(
        FeedEvent(
            user_id=user_id,
            seq=seq,
            epoch=counter.epoch,
            event=draft.event,
            body=orjson.dumps({"seq": seq, "epoch": counter.epoch, **draft.body}).decode(),
            dedupe_key=draft.dedupe_key,
            created_at=at,
        )
        for seq, draft in enumerate(fresh, start=counter.head + 1)
    )
    head = counter.head + len(fresh)
    FeedCounter.objects.filter(user_id=user_id).update(head=head)
    return head


def _locked_counter(user_id: int) -> FeedCounter:
    counters = FeedCounter.objects.select_for_update(no_key=True).filter(user_id=user_id)
    found = counters.first()
    if found is None:
        _create_counter(user_id)
        found = counters.get()
    return found


def _create_counter(user_id: int) -> None:
    """Begin a feed, or leave the one that another transaction began meanwhile."""
    FeedCounter.objects.bulk_create(
        [FeedCounter(user_id=user_id, epoch=new_epoch())], ignore_conflicts=True
    )


def _not_yet_appended(user_id: int, drafts: Sequence[Draft]) -> list[Draft]:
    keys = [draft.dedupe_key for draft in drafts if draft.dedupe_key]
    if not keys:
        return list(drafts)
    rows = FeedEvent.objects.filter(HAS_KEY, user_id=user_id, dedupe_key__in=keys).order_by()
    seen = set(rows.values_list("dedupe_key", flat=True))
    fresh = []
    for draft in drafts:
        if draft.dedupe_key not in seen:
            fresh.append(draft)
            seen.update({draft.dedupe_key} - {""})
    return fresh


# Reading


def position(user_id: int) -> Position:
    """Return where a person's feed is now; begins the feed if there is none yet."""
    known = heads([user_id])
    if user_id not in known:
        _create_counter(user_id)
        known = heads([user_id])
    return known[user_id]


def heads(user_ids: Collection[int]) -> dict[int, Position]:
    """Return the positions of many people in one query. Who has no feed yet is left out."""
    rows = FeedCounter.objects.filter(user_id__in=user_ids).values_list("user_id", "epoch", "head")
    return {user_id: Position(epoch, head) for user_id, epoch, head in rows}


def read(user_id: int, epoch: str | None, after: int, limit: int = PAGE) -> FeedPage:
    """Return at most `limit` events from number `after + 1` on.

    `epoch` None means the current one. `recovered` is false, and nothing is returned, for another
    epoch, for a number that is still to come, and where an event after it is no longer kept.
    """
    at = position(user_id)
    if epoch not in {None, at.epoch} or not 0 <= after <= at.head:
        return FeedPage(at.epoch, at.head, recovered=False, events=())
    rows = FeedEvent.objects.filter(
        user_id=user_id, epoch=at.epoch, seq__gt=after, seq__lte=at.head
    )
    entries = tuple(FeedEntry(row.seq, row.event, row.body) for row in rows.order_by("seq")[:limit])
    # Numbers have no gaps, so a missing first one was pruned, also if that happened just now.
    recovered = entries[0].seq == after + 1 if entries else after == at.head
    return FeedPage(at.epoch, at.head, recovered, entries if recovered else ())


def snapshot(user_id: int) -> dict[str, object]:
    """Return the data of `feed_snapshot`: where the feed is, and the newest builds as they are.

    The position is read first: what changes meanwhile is told twice, once here and once by its
    event, and never lost.
    """
    at = position(user_id)
    builds = list(
        Build.objects.filter(user_id=user_id).order_by("-created_at", "-id")[:SNAPSHOT_BUILDS]
    )
    jobs = current_jobs(builds)
    online = engine_online()
    shown = [build_snapshot(build, jobs.get(build.id, ()), online=online) for build in builds]
    return {"epoch": at.epoch, "head": at.head, "builds": shown}


# Keeping


def prune(*, now: datetime | None = None) -> int:
    """Remove events past their age or number (`HUB_FEED_KEEP_...`); return how many."""
    removed = 0
    before = moment(now) - timedelta(hours=hub().feed_keep_hours)
    for user_id in FeedCounter.objects.order_by("user_id").values_list("user_id", flat=True):
        removed += _prune_person(user_id, before)
    return removed


def _prune_person(user_id: int, before: datetime) -> int:
    with transaction.atomic():
        counter = _locked_counter(user_id)
        aged = FeedEvent.objects.filter(user_id=user_id, created_at__lt=before)
        last = max(
            aged.aggregate(last=Max("seq"))["last"] or 0, counter.head - hub().feed_keep_events
        )
        if last < counter.oldest:
            return 0
        FeedCounter.objects.filter(user_id=user_id).update(oldest=last + 1)
        count, _ = FeedEvent.objects.filter(user_id=user_id, seq__lte=last).delete()
    return count


def renew_epochs() -> int:
    """Begin a new epoch in every feed, as is due after a restore from a backup.

    Numbers go on, but nothing of before is replayed: clients may hold events that the restored
    database never had. Returns how many feeds there are.
    """
    with transaction.atomic():
        counters = FeedCounter.objects.select_for_update().order_by("user_id")
        user_ids = [counter.user_id for counter in counters]
        for user_id in user_ids:
            FeedCounter.objects.filter(user_id=user_id).update(
                epoch=new_epoch(), oldest=F("head") + 1
            )
    return len(user_ids)
