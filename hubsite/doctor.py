"""What an operator wants to know of an installation, each question with its answer and a remedy.

It asks what this process can see: settings, database, migrations, channel layer, clocks, keys and
records. Whether the hub's processes serve is what ``/readyz`` of each of them says.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from asgiref.sync import async_to_sync
from channels.layers import BaseChannelLayer, get_channel_layer
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import connection

from engine import feed
from engine.clock import database_now
from hubsite.health import pending_migrations
from security import anchors, audit, clock, rotation
from security.keys import faults
from security.verification import cut_chains

__all__ = ["Answer", "after_restore", "examine"]

Verdict = Literal["ok", "warn", "bad"]

CLOCKS_APART_MS: Final = 2_000  # of the 15 s that a signed action may be off
LAYER_WITHIN_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One question: ``bad`` keeps the hub from working, ``warn`` will one day."""

    question: str
    verdict: Verdict
    said: str


def examine() -> list[Answer]:
    """Ask everything; a question that fails is answered by its failure."""
    return [_asked(question, ask) for question, ask in QUESTIONS.items()]


def after_restore() -> dict[str, object]:
    """Make a database that came from a backup safe to go on with; returns what was done.

    Clients may hold feed events, and the file sink anchors, of a time that the database never had:
    every feed begins a new epoch, and the files are moved aside, where they stay as evidence.
    """
    feeds = feed.renew_epochs()
    aside = _set_anchors_aside()
    audit.append("restored", detail={"feeds": feeds, "anchors": aside})
    return {"feeds_renewed": feeds, "anchors_moved_to": aside}


def _set_anchors_aside() -> str:
    files = sorted(anchors.folder().glob("*.jsonl"))
    if not files:
        return ""
    aside = anchors.folder() / f"before-restore-{clock.moment(clock.now_ms()):%Y%m%dT%H%M%SZ}"
    aside.mkdir(mode=0o700)
    for path in files:
        path.rename(aside / path.name)
    return str(aside)


def _asked(question: str, ask: Callable[[], tuple[Verdict, str]]) -> Answer:
    try:
        verdict, said = ask()
    except Exception as error:  # noqa: BLE001 - whatever fails is the answer
        verdict, said = "bad", f"{type(error).__name__}: {error}"
    return Answer(question, verdict, said)


# The questions.


def _settings() -> tuple[Verdict, str]:
    found = [
        *checks.run_checks(include_deployment_checks=False),
        *checks.run_checks(tags=[checks.Tags.database], databases=["default"]),
    ]
    return _of_messages(found)


def _of_messages(found: Iterable[CheckMessage]) -> tuple[Verdict, str]:
    serious = [each for each in found if each.is_serious(checks.WARNING)]
    if not serious:
        return "ok", "no system check complains"
    worst: Verdict = "bad" if any(each.is_serious() for each in serious) else "warn"
    return worst, "; ".join(f"{each.id}: {each.msg}" for each in serious)


def _database() -> tuple[Verdict, str]:
    started = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    spent_ms = (time.monotonic() - started) * 1000
    return "ok", f"{connection.vendor}, answers in {spent_ms:.1f} ms"


def _migrations() -> tuple[Verdict, str]:
    return ("bad", "run manage.py migrate") if pending_migrations() else ("ok", "all applied")


def _layer() -> tuple[Verdict, str]:
    layer = get_channel_layer()
    if layer is None:
        return "bad", "there is none"
    started = time.monotonic()
    async_to_sync(_there_and_back)(layer)
    spent_ms = (time.monotonic() - started) * 1000
    return "ok", f"{type(layer).__name__}, {spent_ms:.1f} ms there and back"


async def _there_and_back(layer: BaseChannelLayer) -> None:
    async with asyncio.timeout(LAYER_WITHIN_S):
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "doctor"})
        await layer.receive(channel)


def _clock() -> tuple[Verdict, str]:
    apart_ms = abs(clock.milliseconds(database_now()) - time.time_ns() // clock.NS_PER_MS)
    verdict: Verdict = "warn" if apart_ms > CLOCKS_APART_MS else "ok"
    return verdict, f"{apart_ms} ms between the database's clock and this machine's"


def _keys() -> tuple[Verdict, str]:
    wrong = [str(fault) for fault in faults(settings.KEYS)]
    if wrong:
        return "bad", "; ".join(wrong)
    now = clock.moment(clock.now_ms())
    old = [key.kid for key in settings.KEYS.master if key is not settings.KEYS.master.signing]
    waiting = [kid for kid in old if rotation.dependents(kid, now=now).services]
    if waiting:
        return "warn", f"services still sign with {', '.join(waiting)}: rotate them, then drop it"
    return "ok", f"{len(settings.KEYS.master)} master and {len(settings.KEYS.jwt)} token keys"


def _records() -> tuple[Verdict, str]:
    """Only the newest anchor of each chain: ``verify_audit`` walks all rows."""
    lost = cut_chains()
    if lost:
        return "bad", "; ".join(map(str, lost)) + " (run manage.py verify_audit)"
    return "ok", "every chain reaches its newest anchor"


QUESTIONS: Final[dict[str, Callable[[], tuple[Verdict, str]]]] = {
    "settings": _settings,
    "database": _database,
    "migrations": _migrations,
    "channel layer": _layer,
    "clocks": _clock,
    "keys": _keys,
    "records": _records,
}
