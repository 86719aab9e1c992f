"""What the commands that connect thousands share: servers of their own, and many people.

These have no passwords: hashing them would take longer than all the rest.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from tests.live import LiveHub
from tests.services import SUPERUSER, PostgresServer, RedisServer, own_postgres, own_redis
from tests.storm.returner import Address

__all__ = ["Servers", "address_of", "in_parts", "ip_of", "logins", "servers"]

AT_ONCE = 400
SIGN_IN = """
import json, time
from security import recorder, sessions
from security.models import User
said = []
for number in range({first}, {end}):
    user = User.objects.create(username=f"person{{number}}")
    login = sessions.open_session(user, sessions.RequestMeta(), time.time())
    said.append(login.tokens.access)
recorder.shutdown(60)
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Servers:
    """A Redis and a database of one's own."""

    postgres: PostgresServer
    redis: RedisServer
    database: str

    @property
    def database_url(self) -> str:
        """What DATABASE_URL takes."""
        return self.postgres.url(self.database)

    @property
    def environ(self) -> dict[str, str]:
        """What a hub is told."""
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis.url}


@contextmanager
def servers() -> Iterator[Servers]:
    """Both, up; they end with this process."""
    postgres, redis = own_postgres(), own_redis()
    if postgres is None or redis is None:
        raise SystemExit("this needs the wheels of PostgreSQL and Valkey (extra dev)")
    name = f"hub_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.url(SUPERUSER), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    yield Servers(postgres, redis, name)


def logins(hub: LiveHub, count: int) -> list[str]:
    """The tokens of so many people."""
    said = in_parts(hub, SIGN_IN, count)
    return [token for part in said for token in json.loads(part.splitlines()[-1])]


def in_parts(hub: LiveHub, program: str, count: int) -> list[str]:
    """Run a program for so many people, by commands that are short enough to be waited for."""
    parts = [(first, min(count, first + AT_ONCE)) for first in range(0, count, AT_ONCE)]
    return [
        hub.manage("shell", "--no-imports", "-c", program.format(first=first, end=end))
        for first, end in parts
    ]


def address_of(hub: LiveHub) -> Address:
    """Where a process listens."""
    host, _, port = hub.url.removeprefix("http://").partition(":")
    return host, int(port)


def ip_of(number: int) -> str:
    """An address of one's own, for a hub that trusts this machine as a proxy."""
    return f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
