"""What the documentation points at exists: files, headings, commands and variables."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from django.core.management import get_commands

from security.conf import HubSettings

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
SOURCES = ("hubsite", "realtime", "engine", "security", "tests")

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"manage\.py ([a-z_]+)")
VARIABLE = re.compile(r"\bHUB_[A-Z][A-Z_]*[A-Z]\b")
NAMED_IN_CODE = re.compile(r"""["'](HUB_[A-Z_]+)["'=]|\b(HUB_[A-Z_]+)=|\.(HUB_[A-Z_]+)\b""")

# What a page says does not exist yet may be named there, and only there.
NOT_YET = re.compile(r"^## Not yet\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def shown(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


every_page = pytest.mark.parametrize("page", PAGES, ids=shown)


@every_page
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    assert list(broken_links(page)) == []


@every_page
def test_commands_exist(page: Path) -> None:
    text = NOT_YET.sub("", page.read_text("utf-8"))
    assert set(COMMAND.findall(text)) - get_commands().keys() == set()


@every_page
def test_variables_exist(page: Path) -> None:
    assert set(VARIABLE.findall(page.read_text("utf-8"))) - known_variables() == set()


def broken_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield target


def anchors(file: Path) -> set[str]:
    """The anchors that a Markdown page gets on the usual code hosts."""
    headings = HEADING.findall(FENCE.sub("", file.read_text("utf-8")))
    return {re.sub(r"[^a-z0-9 _-]", "", each.lower()).replace(" ", "-") for each in headings}


@cache
def known_variables() -> set[str]:
    named = {f"HUB_{name.upper()}" for name in HubSettings.__dataclass_fields__}
    for source in source_files():
        for groups in NAMED_IN_CODE.findall(source.read_text("utf-8")):
            named.update(filter(None, groups))
    return named


def source_files() -> Iterable[Path]:
    for folder in SOURCES:
        yield from (CHECKOUT / folder).rglob("*.py")
