"""Looks for secrets where none may be: in what a hub printed, stored and told its clients.

Every LiveHub is searched when it stops, so the whole suite is. What is secret is worked out from
the hub's own keys and rows, not told by the tests: master and token keys, ``SECRET_KEY``, the
secret of every login and service, and every token, which is known by its shape. Signatures and
ids of Engine.IO sessions cannot be worked out; those that this process made or was given count.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psycopg

from security.signatures import from_base64url, service_secret, session_secret, to_base64url

__all__ = ["Found", "Secrets", "know", "known", "search_data", "search_text", "secrets_of"]

KEY_FILES: Final = frozenset({"development_keys.json", "demo_logins.json"})
KEY_VARIABLES: Final = ("HUB_MASTER_KEYS", "HUB_JWT_KEYS", "DJANGO_SECRET_KEY")
# A token is two JSON objects and a signature, in base64url; {" begins each object.
TOKEN: Final = re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{20,}", re.ASCII)
RUN: Final = re.compile(rb"[A-Za-z0-9_.-]{16,}")
SHORTEST: Final = 16  # characters; what is shorter than that is no secret
MAKING: Final = {
    "security_session": "SELECT kid, user_id, id FROM security_session",
    "security_serviceaccount": "SELECT kid, kind, name, key_version FROM security_serviceaccount",
}

_known: dict[str, str] = {}
"""Secrets that this process has seen, and what each is."""


class Found(AssertionError):
    """Secrets are where they must not be. The message names their kinds, never themselves."""

    def __init__(self, where: str, kinds: Iterable[str]) -> None:
        self.where, self.kinds = where, sorted(set(kinds))
        super().__init__(where, self.kinds)

    def __str__(self) -> str:
        return f"{self.where} holds {', '.join(self.kinds)}"


class Secrets:
    """What to look for: text by its kind, and the bytes of keys."""

    def __init__(self) -> None:
        self.texts: dict[bytes, str] = {}
        self.bytes: dict[bytes, str] = {}

    def add(self, kind: str, text: str) -> None:
        """One secret as text."""
        if len(text) >= SHORTEST:
            self.texts[text.encode()] = kind

    def add_key(self, kind: str, key: bytes) -> None:
        """One secret of 32 bytes, in every form in which it could be written."""
        self.bytes[key] = kind
        self.add(kind, to_base64url(key))
        self.add(kind, key.hex())

    def in_data(self, data: bytes) -> Iterator[str]:
        """The kinds of those that some bytes hold."""
        if TOKEN.search(data):
            yield "a token"
        yield from (kind for key, kind in self.bytes.items() if key in data)
        lengths = sorted({len(text) for text in self.texts})
        for run in {found[0] for found in RUN.finditer(data)}:
            for length in lengths:
                for start in range(len(run) - length + 1):
                    kind = self.texts.get(run[start : start + length])
                    if kind is not None:
                        yield kind


def know(kind: str, *texts: str) -> None:
    """A secret that this process made or was given: it must be found nowhere from now on."""
    _known.update((text, kind) for text in texts if len(text) >= SHORTEST)


def known() -> Secrets:
    """All that this process knows by itself."""
    found = Secrets()
    for text, kind in _known.items():
        found.add(kind, text)
    return found


def secrets_of(data_dir: Path, environ: Mapping[str, str]) -> Secrets:
    """The secrets of a hub: its keys, and what they and its rows make."""
    found = known()
    kept = data_dir / "development_keys.json"
    keys: dict[str, str] = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    keys |= {name: environ[name] for name in KEY_VARIABLES if environ.get(name)}
    rings = {name: _ring(keys.get(name, "")) for name in KEY_VARIABLES[:2]}
    for name, ring in rings.items():
        for key in ring.values():
            found.add_key(name, key)
    found.add("DJANGO_SECRET_KEY", keys.get("DJANGO_SECRET_KEY", ""))
    masters = rings["HUB_MASTER_KEYS"]
    for kid, user_id, session in _rows(data_dir, environ, "security_session"):
        if kid in masters:
            made = session_secret(masters[kid], kid=kid, user_id=str(user_id), session_id=session)
            found.add_key("a session secret", made)
    for kid, kind, name, version in _rows(data_dir, environ, "security_serviceaccount"):
        if kid in masters:
            made = service_secret(masters[kid], kid=kid, kind=kind, name=name, key_version=version)
            found.add_key("a service secret", made)
    return found


def search_data(data_dir: Path, environ: Mapping[str, str], secrets: Secrets) -> None:
    """Search all files of a data directory but those of keys, and all tables. Raises Found."""
    for path in sorted(data_dir.rglob("*")):
        if path.is_file() and path.name not in KEY_FILES:
            _refuse(f"{path.name} of the data directory", secrets.in_data(path.read_bytes()))
    if "DATABASE_URL" in environ:
        for table, text in _tables(environ["DATABASE_URL"]):
            _refuse(f"table {table}", secrets.in_data(text))


def search_text(where: str, text: str, secrets: Secrets) -> None:
    """Search what was printed, or told to a client. Raises Found."""
    _refuse(where, secrets.in_data(text.encode(errors="replace")))


def _refuse(where: str, kinds: Iterator[str]) -> None:
    found = set(kinds)
    if found:
        raise Found(where, found)


def _ring(text: str) -> dict[str, bytes]:
    pairs = (part.partition(":") for part in text.split(",") if part)
    return {kid: from_base64url(encoded) for kid, _, encoded in pairs}


def _rows(data_dir: Path, environ: Mapping[str, str], table: str) -> list[Any]:
    query, url = MAKING[table], environ.get("DATABASE_URL", "")
    if url.startswith("postgres"):
        with psycopg.connect(url) as database:
            return database.execute(query.encode()).fetchall()
    file = data_dir / "hub.sqlite3"
    if not file.exists():
        return []
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        made = "SELECT count(*) FROM sqlite_master WHERE name = ?"
        exists = database.execute(made, [table]).fetchone()[0]
        return list(database.execute(query)) if exists else []


def _tables(url: str) -> Iterator[tuple[str, bytes]]:
    """Every row of every table as PostgreSQL writes it."""
    with psycopg.connect(url) as database:
        names = database.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        for (name,) in names:
            query = f'SELECT t::text FROM "{name}" t'  # noqa: S608 - a name of our own
            rows = database.execute(query.encode()).fetchall()
            yield name, "\n".join(row for (row,) in rows).encode()
