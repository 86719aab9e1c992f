"""The tools outside Python that these tests drive: Chromium, Node.js and npm packages.

A missing tool skips a test, with a sentence that says what is missing; where HUB_TESTS_REQUIRED is
set (continuous integration) it fails the test instead.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

__all__ = ["install_from_npm", "missing", "require_program"]

REQUIRED_VARIABLE = "HUB_TESTS_REQUIRED"
INSTALL_S = 180.0


def missing(sentence: str) -> NoReturn:
    """Skip the test, or fail it where every tool is required."""
    if os.environ.get(REQUIRED_VARIABLE, "") not in {"", "0"}:
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def require_program(*names: str) -> str:
    """The path of the first of these programs that is on PATH."""
    for name in names:
        if found := shutil.which(name):
            return found
    missing(f"None of these programs is on PATH: {', '.join(names)}.")


def install_from_npm(package: str, cache: Path) -> Path:
    """The folder of a package, ``name@version``, installed below ``cache`` unless it is there.

    The folder gets its final name when it is complete, so that several test processes may install
    the same package at once.
    """
    folder = cache / package.replace("/", "_")
    module = folder / "node_modules" / package.rpartition("@")[0]
    if not module.is_dir():
        _install(package, folder)
    return module


def _install(package: str, folder: Path) -> None:
    npm = require_program("npm")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        done = subprocess.run(
            [npm, "install", "--prefix", unfinished, *flags, package],
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
            cwd=unfinished,
        )
        if done.returncode != 0:
            missing(f"npm could not install {package}: {done.stderr.strip()[-300:]}")
        if not folder.exists():
            shutil.copytree(unfinished, folder.with_suffix(f".{os.getpid()}"))
            folder.with_suffix(f".{os.getpid()}").rename(folder)
