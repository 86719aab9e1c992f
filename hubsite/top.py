"""``manage.py top``: the vitals of a hub fetched over HTTP, turned into rates and a screen.

Unreachable          no hub answered; ``reason`` says how, and whether a token may help
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

__all__ = ["Unreachable", "fetch", "rates", "screen"]

PATH: Final = "/metrics/summary"
ANSWERS_WITHIN_S: Final = 5.0
COUNTERS: Final = ("received", "sent", "delivered")
SHOWN: Final = 8  # rooms, engines and kinds of refusals
MIB: Final = 1024 * 1024
NOTHING: Final = "[dim]none[/dim]"

Vitals = Mapping[str, Any]


class Unreachable(OSError):
    """The hub did not tell how it is."""

    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, reason
        super().__init__(url, reason)

    def __str__(self) -> str:
        return f"{self.url} does not tell how it is: {self.reason}"


def fetch(url: str, token: str = "") -> dict[str, Any]:
    """The vitals of the hub at an address. Raises Unreachable."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url.rstrip("/") + PATH, headers=headers)  # noqa: S310 - the operator's own choice
    try:
        with urllib.request.urlopen(request, timeout=ANSWERS_WITHIN_S) as answer:  # noqa: S310 - as above
            vitals = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            hint = ", set HUB_METRICS_TOKEN" if error.code == 403 else ""  # noqa: PLR2004 - RFC 9110
        raise Unreachable(url, f"HTTP {error.code}{hint}") from None
    except (OSError, ValueError) as error:
        raise Unreachable(url, str(getattr(error, "reason", error))) from None
    if not isinstance(vitals, dict) or "processes" not in vitals:
        raise Unreachable(url, "this is no hub")
    return vitals


def rates(before: Vitals, after: Vitals) -> dict[str, float]:
    """Frames per second between two looks, of the processes that were there at both."""
    seconds = (after["server_time"] - before["server_time"]) / 1000
    known = {each["process"]: each for each in before["processes"]}
    both = [
        (known[each["process"]], each) for each in after["processes"] if each["process"] in known
    ]
    if seconds <= 0:
        return dict.fromkeys(COUNTERS, 0.0)
    return {
        name: round(sum(new[name] - old[name] for old, new in both) / seconds, 1)
        for name in COUNTERS
    }


# -- the screen


def screen(url: str, vitals: Vitals, per_second: Mapping[str, float]) -> RenderableType:
    """Everything at one look."""
    parts = [_head(url, vitals, per_second), _processes(vitals)]
    beside = [_people(vitals), _work(vitals), _engines(vitals), _refusals(vitals)]
    return Group(*parts, Columns(beside, padding=(0, 1)))


def _head(url: str, vitals: Vitals, per_second: Mapping[str, float]) -> RenderableType:
    troubles = vitals["degraded"]
    state = Text(f" DEGRADED: {', '.join(troubles)} ", "bold white on red")
    flow = "   ".join(f"{name} {per_second[name]:,.1f}/s" for name in COUNTERS)
    line = Text.assemble(
        (f"{url}  ", "bold"),
        state if troubles else Text(" all well ", "black on green"),
        f"   {vitals['connections']:,} connections   {flow}",
    )
    line.no_wrap = False
    return line


def _processes(vitals: Vitals) -> RenderableType:
    table = Table("process", "host", "pid", "up", expand=True, title_justify="left")
    for name in ("connections", "websocket", "polling", "received", "sent", "MiB"):
        table.add_column(name, justify="right")
    table.add_column("state")
    for each in vitals["processes"]:
        memory = each["memory_bytes"]
        table.add_row(
            each["process"],
            each["host"],
            str(each["pid"]),
            _duration(vitals["server_time"] - each["since_ms"]),
            f"{each['connections']:,}",
            f"{each['transports'].get('websocket', 0):,}",
            f"{each['transports'].get('polling', 0):,}",
            f"{each['received']:,}",
            f"{each['sent']:,}",
            f"{memory / MIB:,.0f}" if memory else "-",
            _health(each),
        )
    if vitals["silent_processes"]:
        table.caption = f"{vitals['silent_processes']} living process(es) did not answer"
    return table


def _health(process: Vitals) -> Text:
    troubles = {
        "draining": process["draining"],
        "no channel layer": not process["bus_healthy"],
        "no shared state": process["state_degraded"],
    }
    said = ", ".join(name for name, true in troubles.items() if true)
    return Text(said, "red") if said else Text("well", "green")


def _people(vitals: Vitals) -> RenderableType:
    people = vitals["people"]
    told = {"people": people["total"], **people["states"]}
    services = {name[1:]: count for name, count in vitals["namespaces"].items() if name != "/"}
    rooms = {f"#{room}": count for room, count in list(vitals["rooms"].items())[:SHOWN]}
    return _counts("Here now", {**told, **services, **rooms})


def _work(vitals: Vitals) -> RenderableType:
    if vitals["jobs"] is None:
        return _unknown("Jobs")
    builds = {f"builds {state}": count for state, count in vitals["builds"].items()}
    jobs = {f"jobs {state}": count for state, count in vitals["jobs"].items()}
    return _counts("Jobs", {**builds, **jobs, "waiting for an engine": vitals["waiting_jobs"]})


def _engines(vitals: Vitals) -> RenderableType:
    if vitals["engines"] is None:
        return _unknown("Engines")
    table = Table.grid(padding=(0, 2))
    for each in vitals["engines"][:SHOWN]:
        table.add_row(Text(each["name"]), each["state"], f"{each['busy']}/{each['capacity']}")
    return Panel(table if vitals["engines"] else NOTHING, title="Engines", expand=False)


def _refusals(vitals: Vitals) -> RenderableType:
    refusals = vitals["violations"]
    if refusals is None:
        return _unknown("Refused in a minute")
    kinds = dict(list(refusals["kinds"].items())[:SHOWN])
    return _counts("Refused in a minute", {"all": refusals["per_minute"], **kinds})


def _counts(title: str, counts: Mapping[str, int]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for name, count in counts.items():
        table.add_row(Text(name), f"{count:,}")
    return Panel(table, title=title, expand=False)


def _unknown(title: str) -> RenderableType:
    return Panel("[red]the database does not answer[/red]", title=title, expand=False)


def _duration(milliseconds: int) -> str:
    minutes, seconds = divmod(max(0, milliseconds // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
