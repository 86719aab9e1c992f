"""The reference engine in a process of its own, beside a LiveHub."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.live import CHECKOUT, MANAGE, LiveHub

__all__ = ["reference_engine"]

STOPS_WITHIN_S = 15.0


@contextmanager
def reference_engine(
    hub: LiveHub, name: str = "reference", *, pace_s: float = 0.0
) -> Iterator[None]:
    """Run ``manage.py engine`` until the block ends, and see it end well."""
    environ = {
        "PATH": os.environ["PATH"],
        "HUB_ENGINE_SECRET": hub.add_service(name),
        "HUB_DATA_DIR": str(hub.data_dir),
    }
    pace = ["--pace", str(pace_s)]
    process = subprocess.Popen(
        [sys.executable, str(MANAGE), "engine", "--url", hub.url, "--name", name, *pace],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=CHECKOUT,
    )
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(STOPS_WITHIN_S) == 0
