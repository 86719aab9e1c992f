"""Runs scripts of ``node/`` on a release of socket.io-client."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.tools import install_from_npm, require_program

__all__ = ["CURRENT", "OLDER", "run"]

SCRIPTS = Path(__file__).parent / "node"
CURRENT, OLDER = "socket.io-client@4.8.4", "socket.io-client@4.1.3"
SCRIPT_S = 100.0


def run(script: str, release: str, config: pytest.Config, **variables: str) -> dict[str, Any]:
    """Run a script of ``node/`` on a release of the client; returns what it prints."""
    assert config.cache is not None
    client = install_from_npm(release, Path(config.cache.mkdir("npm")))
    environment = {
        "SOCKET_IO_CLIENT": str(client),
        "NEW_CLIENT": "yes" if release == CURRENT else "",
        **variables,
    }
    node = [require_program("node", "nodejs"), SCRIPTS / script]
    done = subprocess.run(
        node, env=environment, capture_output=True, text=True, timeout=SCRIPT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said
