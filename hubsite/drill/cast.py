"""Whom the drill plays: people and an engine of its own, made for it and gone with it.

With the hub's database and keys at hand (``LocalCast``) it also looks whether each refusal is on
record. Against a hub elsewhere (``RemoteCast``) it logs in as a person who was made for it, and
what needs the database is not tried.
"""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, Protocol

from engine.models import EngineSession
from hubsite.drill.wire import Actor, fetch
from security import clock, database, services
from security.models import ServiceAccount, User, Violation
from security.sessions import RequestMeta, open_session
from security.signatures import from_base64url
from security.tokens import issue_for_service

__all__ = ["Cast", "LocalCast", "RemoteCast", "local_cast"]

RECORDED_S: Final = 3.0  # a roll-up takes one second, and its commit its time
RECORDED_TRIES: Final = 30
SLACK: Final = timedelta(seconds=1)  # between the clocks of two processes of one machine


class Cast(Protocol):
    """Where actors come from."""

    local: bool

    async def person(self) -> Actor:
        """A fresh login session."""

    async def engine(self) -> Actor | None:
        """A fresh token of an engine; None: there is none to play."""

    async def recorded(self, kind: str, since: datetime) -> bool | None:
        """Whether a violation of that kind was stored since; None: it cannot be seen from here."""


class RemoteCast:
    """Logs in over HTTP, as anybody would."""

    local = False

    def __init__(self, url: str, username: str, password: str) -> None:
        self._url, self._login = url, {"username": username, "password": password}

    async def person(self) -> Actor:
        status, login = await fetch(f"{self._url}/api/token/", "POST", body=self._login)
        if status != 200:  # noqa: PLR2004 - OK
            raise ConnectionError(f"the drill cannot log in: {login.get('code', status)}")
        return Actor(
            token=login["access"],
            secret=from_base64url(login["session_secret"]),
            refresh=login["refresh"],
        )

    async def engine(self) -> None:
        """Its secret is shown once, and not to us."""

    async def recorded(self, _kind: str, _since: datetime) -> None:
        """The records are behind the admin."""


class LocalCast:
    """Shares the database and the keys of the hub."""

    local = True

    def __init__(self, user: User, account: ServiceAccount) -> None:
        self._user, self._account = user, account

    async def person(self) -> Actor:
        return await self.person_at(0)

    async def person_at(self, age_s: float) -> Actor:
        """A login that was made so long ago."""
        return await database.write(self._log_in, age_s)

    async def engine(self) -> Actor:
        return await database.read(self._engine)

    async def end_sessions(self) -> None:
        """Revoke every login of the drill's person, and its tokens."""
        await database.write(self._user.end_logins, "drill", clock.moment(clock.now_ms()))

    async def recorded(self, kind: str, since: datetime) -> bool:
        rows = Violation.rows().filter(kind=kind, at__gte=since - SLACK)
        for _ in range(RECORDED_TRIES):
            if await database.read(rows.exists):
                return True
            await asyncio.sleep(RECORDED_S / RECORDED_TRIES)
        return False

    def _log_in(self, age_s: float) -> Actor:
        login = open_session(self._user, RequestMeta(), clock.now_ms() / 1000 - age_s)
        return Actor(token=login.tokens.access, secret=login.secret, refresh=login.tokens.refresh)

    def _engine(self) -> Actor:
        secret = services.secret_of_account(self._account)
        if secret is None:  # it was made a moment ago, with the key that signs
            raise AssertionError(self._account)
        token = issue_for_service(self._account, clock.now_ms() / 1000)
        return Actor(token=token.text, secret=secret, namespace="/engine")


@contextmanager
def local_cast() -> Iterator[LocalCast]:
    """A person without a password and an engine that takes no jobs; both are removed at the end."""
    name = f"drill-{secrets.token_hex(6)}"
    user = User.objects.create_user(name)
    account = services.add("engine", name).account
    try:
        yield LocalCast(user, account)
    finally:
        account.delete()
        EngineSession.objects.filter(name=name).delete()  # or people would read of a lost engine
        user.delete()
