"""The parts of ``manage.py demo``: logins, accounts, the agent, and a little traffic.

Passwords are made up on the first start and kept in a git-ignored file of mode 0600, so that they
are the same the next time; there is no default one.
"""

import asyncio
import contextlib
import json
import os
import random
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp
import socketio

from realtime.agents.errors import Unwelcome
from realtime.agents.reference import build_reference
from realtime.client import HubClient, HubRefused
from realtime.hub import LOBBY
from security import grants, services
from security.models import ServiceAccount, User
from security.signatures import to_base64url

__all__ = [
    "ENGINE_NAME",
    "PEOPLE",
    "agent_secret",
    "engine_secret",
    "guide",
    "make_people",
    "stroll",
]

ENGINE_NAME: Final = "reference-1"
AGENT_NAME: Final = "coach"
PEOPLE: Final[Mapping[str, bool]] = {"ada": False, "grace": False, "admin": True}
"""The demo's people, and whether they are staff."""

STUMBLES: Final = (
    *(OSError, HubRefused, TimeoutError),
    *(aiohttp.ClientError, socketio.exceptions.SocketIOError),
)
"""What may befall a visitor, who then comes back."""

LOGINS_FILE: Final = "demo_logins.json"
PAUSE_S: Final = (2.0, 6.0)
STEPS: Final = ("move", "click", "emote", "inspect", "speak")


def make_people(data_dir: Path) -> dict[str, str]:
    """Create whoever is missing; returns everybody's password."""
    logins = _logins(data_dir / LOGINS_FILE)
    for name, staff in PEOPLE.items():
        user, created = User.objects.get_or_create(
            username=name, defaults={"is_staff": staff, "is_superuser": staff}
        )
        if created or not user.check_password(logins[name]):
            user.set_password(logins[name])
            user.save()
    return logins


def engine_secret() -> str:
    """The secret of the demo's engine, whose account is made if it is missing."""
    return _secret("engine", ENGINE_NAME)


def agent_secret() -> str:
    """The secret of the demo's agent, which hears the lobby; its account is made if missing."""
    secret = _secret("agent", AGENT_NAME)
    grants.grant("agent", AGENT_NAME, [LOBBY])
    return secret


async def guide(url: str, secret: str) -> None:
    """Be the reference agent, for ever."""
    with contextlib.suppress(Unwelcome):
        await build_reference(url, AGENT_NAME, secret).run()


async def stroll(url: str, name: str, password: str) -> None:
    """Be a visitor who wanders about: signed moves and clicks, a few seconds apart, for ever."""
    while True:
        with contextlib.suppress(*STUMBLES):
            async with HubClient(url) as client:
                await client.sign_in(name, password)
                await client.connect()
                await _wander(client)
        await asyncio.sleep(PAUSE_S[1])


async def _wander(client: HubClient) -> None:
    while client.socket.connected:
        x, z = (round(random.uniform(-10, 10), 1) for _ in range(2))  # noqa: S311 - a walk, no secret
        kind = random.choice(STEPS)  # noqa: S311 - as above
        await client.act(kind, {"x": x, "z": z})
        await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311 - as above


def _secret(kind: str, name: str) -> str:
    try:
        return services.add(kind, name).secret
    except services.ServiceExists:
        account = ServiceAccount.objects.get(kind=kind, name=name)
        secret = services.secret_of_account(account)
        if secret is None:
            return services.rotate(kind, name, now=0).secret
        return to_base64url(secret)


def _logins(path: Path) -> dict[str, str]:
    if not path.exists():
        made = {name: secrets.token_urlsafe(9) for name in PEOPLE}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(made, file, indent=1)
    logins: dict[str, str] = json.loads(path.read_text("utf-8"))
    return logins
