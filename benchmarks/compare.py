"""Run the comparison: ``python -m benchmarks.compare [--json FILE] [--seconds N]``.

The server has one core to itself and the load another. Rounds are interleaved, so that a slow
minute of the machine hits every server; a number is the median of its rounds.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.scenarios import SCENARIOS
from benchmarks.servers import Hub, Peer, PeerUnavailable

__all__ = ["main"]

SERVER_CORE, LOAD_CORE = 0, 1
PEOPLE: Final = 51
FRESH_ONLY: Final = {"idle_kib"}  # memory that was freed once is not asked for again
Results = dict[str, dict[str, list[float]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the JSON; returns the exit code."""
    options = _options(arguments)
    two_cores = {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0)
    if two_cores:
        os.sched_setaffinity(0, {LOAD_CORE})
    try:
        modules = None if options.no_peer else Peer.install()
    except PeerUnavailable as missing:
        sys.stderr.write(f"{missing}\n")
        return 2
    try:
        results = _measure(options, modules, SERVER_CORE if two_cores else None)
    finally:
        if modules is not None:
            shutil.rmtree(modules)
    report = _report(options, results, two_cores=two_cores)
    sys.stdout.write(_table(report["median"]))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.compare", description=__doc__)
    parser.add_argument("--json", type=Path, help="write every number there")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--no-peer", action="store_true", help="measure the hub alone")
    return parser.parse_args(arguments)


def _servers(modules: Path | None, core: int | None) -> dict[str, Hub | Peer]:
    """The hub with its default settings and without audit of actions, and the peer."""
    servers: dict[str, Hub | Peer] = {
        "hub": Hub(core=core),
        "hub, no action audit": Hub(core=core, HUB_AUDIT_ACTIONS="none"),
    }
    if modules is not None:
        servers["node"] = Peer(modules, core=core)
    return servers


def _measure(options: argparse.Namespace, modules: Path | None, core: int | None) -> Results:
    with ExitStack() as stack:
        servers = _servers(modules, core)
        results: Results = {name: {} for name in servers}
        logins = {}
        for name, server in servers.items():
            stack.enter_context(server)
            logins[name] = server.logins(PEOPLE)
        for turn in range(options.rounds + 1):
            for scenario in options.only:
                for name, server in servers.items():
                    if turn and scenario in FRESH_ONLY:
                        continue
                    cost = uvloop.run(SCENARIOS[scenario](server, logins[name], options.seconds))
                    sys.stderr.write(f"{turn} {scenario:14} {name:22} {cost:9.1f}\n")
                    if turn or scenario in FRESH_ONLY:  # the first round warms caches and JIT
                        results[name].setdefault(scenario, []).append(round(cost, 2))
    return results


def _report(options: argparse.Namespace, results: Results, *, two_cores: bool) -> dict[str, Any]:
    return {
        "machine": {
            "cores": os.cpu_count(),
            "pinned": two_cores,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "seconds": options.seconds,
        "rounds": results,
        "median": {
            name: {scenario: statistics.median(costs) for scenario, costs in measured.items()}
            for name, measured in results.items()
        },
    }


def _table(medians: Mapping[str, Mapping[str, float]]) -> str:
    columns = list(next(iter(medians.values())))
    head = f"{'':22}" + "".join(f"{column:>14}" for column in columns)
    rows = [
        f"{name:22}" + "".join(f"{measured[column]:14.1f}" for column in columns)
        for name, measured in medians.items()
    ]
    return "\n".join([head, *rows]) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
