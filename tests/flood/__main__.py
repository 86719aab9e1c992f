"""``python -m tests.flood``: a million mixed hostile frames from many sockets, and exact books.

    python -m tests.flood --frames 1000000 --sockets 64 --json out.json

Prints a verdict as JSON. Exit code 0 without gaps: every frame was refused with its code, the
counts on record are exactly those of the refusals, no table of the domain changed, a bystander was
served throughout, and the hub's memory is bounded. 1 with what was not so.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.flood.run import SETTINGS, Flood
from tests.hostile.stage import staged


def main() -> int:
    """Run, print the verdict, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.flood", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--sockets", type=int, default=64)
    parser.add_argument("--json", type=Path, help="write the verdict here as well")
    options = parser.parse_args()
    with staged(**SETTINGS) as stage:
        flood = Flood(stage, stage.hub.pid, options.frames, options.sockets)
        verdict = asyncio.run(flood.run())
    text = json.dumps(verdict, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text)
    return int(bool(verdict["gaps"]))


if __name__ == "__main__":
    sys.exit(main())
