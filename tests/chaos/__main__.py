"""``python -m tests.chaos``: kill and hang hubs, engines and Redis while people ask for worlds.

    python -m tests.chaos --faults 200 --seconds 300 --json out.json
    python -m tests.chaos --database            # PostgreSQL falls as well
    python -m tests.chaos --sqlite

Exit code 0 if every promise held (`tests.chaos.verdict`), 1 with what was broken.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.chaos.faults import Storm
from tests.chaos.fleet import Fleet
from tests.chaos.people import Person

SETTLES_WITHIN_S = 900.0
STALLS_AFTER_S = 120.0  # longer than any lease, run or pause between attempts of these jobs
CATCHES_UP_WITHIN_S = 60.0
ASKED_WITHIN_S = 60.0


def main() -> int:
    """Run, print the verdict, return the exit code."""
    options = _options()
    fleet = Fleet(
        hubs=options.hubs,
        engines=options.engines,
        people=options.people,
        sqlite=options.sqlite,
    )
    _use_django(fleet)
    with fleet:
        verdict = {"seed": options.seed, "sqlite": options.sqlite, **_run(fleet, options)}
        verdict["data_dir"] = str(fleet.data_dir)
    text = json.dumps(verdict, indent=2, default=str)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text)
    return int(bool(verdict["faults_found"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0, help="within which they happen")
    parser.add_argument("--hubs", type=int, default=3)
    parser.add_argument("--engines", type=int, default=3)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--sqlite", action="store_true", help="one hub on SQLite, no Redis")
    parser.add_argument("--database", action="store_true", help="PostgreSQL falls as well")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--json", type=Path, help="write the verdict here as well")
    return parser.parse_args()


def _use_django(fleet: Fleet) -> None:
    """Look at the same database as the hubs do."""
    os.environ.update(fleet.environ)
    os.environ["DJANGO_SETTINGS_MODULE"] = "hubsite.settings"
    import django  # noqa: PLC0415 - the variables come first

    django.setup()


def _run(fleet: Fleet, options: argparse.Namespace) -> dict[str, Any]:
    from tests.chaos import verdict  # noqa: PLC0415 - models come after Django's setup

    people = [Person(n, fleet.hubs, seed=options.seed + i) for i, n in enumerate(fleet.people)]
    began = time.monotonic()
    made = asyncio.run(_storm(fleet, people, options))
    stormed_s = time.monotonic() - began
    settled_s, settled = verdict.wait_for_the_end(
        stalls_after_s=STALLS_AFTER_S, within_s=SETTLES_WITHIN_S
    )
    heads = _heads(people)
    late = asyncio.run(_catch_up(people, heads))
    judged = verdict.judge(people)
    return {
        "faults": sum(made.values()),
        "by_kind": made,
        "seconds": round(stormed_s, 1),
        "settled_after_s": round(settled_s, 1),
        "settled": settled,
        "late_people": late,
        **judged,
    }


async def _storm(fleet: Fleet, people: list[Person], options: argparse.Namespace) -> dict[str, int]:
    storm = Storm(
        fleet,
        count=options.faults,
        seconds=options.seconds,
        seed=options.seed,
        database=options.database,
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for person in people:
            group.create_task(person.live(stop))
        await storm.run()
        with suppress(TimeoutError):  # a busy computer may have had no time to be asked at all
            async with asyncio.timeout(ASKED_WITHIN_S):
                while not all(person.accepted for person in people):  # noqa: ASYNC110 - of any of them
                    await asyncio.sleep(0.1)
        stop.set()
    return dict(storm.made)


def _heads(people: list[Person]) -> dict[str, int]:
    from engine.models import FeedCounter  # noqa: PLC0415 - as above

    names = [person.name for person in people]
    rows = FeedCounter.objects.filter(user__username__in=names)
    return dict(rows.values_list("user__username", "head"))


async def _catch_up(people: list[Person], heads: dict[str, int]) -> list[str]:
    """Let everybody hear the rest; return who did not in time."""
    ends = await asyncio.gather(
        *(each.catch_up(heads.get(each.name, 0), CATCHES_UP_WITHIN_S) for each in people),
        return_exceptions=True,
    )
    return [each.name for each, end in zip(people, ends, strict=True) if end is not None]


if __name__ == "__main__":
    sys.exit(main())
