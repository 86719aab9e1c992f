"""What every hostile case has: a hub, somebody to be, an address of one's own, and the books.

Each case comes from another address (the hub trusts this machine as a proxy), so that its records
can be told from all others; and the books are closed when all cases have run: every refusal that
was provoked is on record, and nothing else is.
"""

import base64
import hashlib
import hmac
import itertools
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import psycopg

from tests import leaks
from tests.hostile.raw import Member, Raw
from tests.live import LiveHub

RECORDED_WITHIN_S = 5.0
PEOPLE = 24
ENGINES = 6
AGENTS = 6
# Whose tokens are minted once must outlive the slowest run of all who share the stage.
MINTED_FOR = {"HUB_ACCESS_TOKEN_S": "28000", "HUB_SERVICE_TOKEN_S": "28000"}

# Logins without passwords: hashing them would take longer than all cases together.
CAST = """
import json, time
from security import grants, services, sessions, tokens
from security.models import User
from security.signatures import to_base64url
now, cast = time.time(), {}
def log_in(user, name):
    login = sessions.open_session(user, sessions.RequestMeta(), now)
    cast[name] = {
        "principal": f"user:{user.pk}", "session": login.session_id,
        "secret": to_base64url(login.secret), "token": login.tokens.access,
        "refresh": login.tokens.refresh,
    }
for number in range(%(people)d):
    user = User(username=f"person{number}"); user.set_unusable_password(); user.save()
    log_in(user, user.username)
    if number < 2:
        log_in(user, f"{user.username}-elsewhere")
def enrol(made):
    account = made.account
    cast[account.name] = {
        "principal": f"{account.kind}:{account.name}", "secret": made.secret,
        "token": tokens.issue_for_service(account, now).text,
    }
for number in range(%(engines)d):
    enrol(services.add("engine", f"engine{number}"))
for number in range(%(agents)d):
    enrol(grants.add_with_rooms("agent", f"agent{number}", ["lobby"]))
enrol(services.add("agent", "deaf"))
print(json.dumps(cast))
"""

DOMAIN = {
    "engine_build": "id, state",
    "engine_job": "id, state",
    "engine_jobevent": "id, event",
    "engine_feedevent": "id, seq",
    "security_user": "id, password, is_staff, is_active, token_version",
    "security_serviceaccount": "id, key_version, enabled",
    "security_session": "id, revoked_at",
}


class Stage:
    """One hub and its cast."""

    def __init__(self, hub: LiveHub) -> None:
        self.hub = hub
        program = CAST % {"people": PEOPLE, "engines": ENGINES, "agents": AGENTS}
        said = hub.manage("shell", "--no-imports", "-c", program, **MINTED_FOR)
        self.cast: dict[str, dict[str, Any]] = json.loads(said.splitlines()[-1])
        keys = json.loads((hub.data_dir / "development_keys.json").read_text("utf-8"))
        self.kid, _, encoded = keys["HUB_JWT_KEYS"].partition(",")[0].partition(":")
        self.jwt_key = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        self.secrets = [
            *(text.partition(":")[2] or text for text in keys.values()),
            *(who[name] for who in self.cast.values() for name in who if name in SECRET),
        ]
        leaks.know("a secret of the cast", *self.secrets)
        self.expected: dict[str, Counter[str]] = {}
        self.calm = self.domain()  # the domain's rows as lawful deeds have left them
        self._addresses = (f"10.{a}.{b}.7" for a in range(200) for b in range(250))
        self._turn = itertools.count(2)

    def person(self) -> dict[str, Any]:
        """Somebody; not 0 and 1, who are bystanders or have other uses."""
        return self.cast[f"person{2 + next(self._turn) % (PEOPLE - 2)}"]

    def engine(self) -> dict[str, Any]:
        return self.cast[f"engine{1 + next(self._turn) % (ENGINES - 1)}"]

    def agent(self) -> dict[str, Any]:
        """One that hears the lobby; ``deaf`` is another, which hears nothing."""
        return self.cast[f"agent{next(self._turn) % AGENTS}"]

    def address(self, expects: Mapping[str, int]) -> str:
        """An address that nobody had before, and what will be on record about it."""
        ip = next(self._addresses)
        self.expected[ip] = Counter({kind: count for kind, count in expects.items() if count})
        return ip

    def raw(self, ip: str, **headers: str) -> Raw:
        return Raw(self.hub.url, ip=ip, headers=headers)

    def member(self, who: Mapping[str, Any], ip: str) -> Member:
        return Member(self.hub.url, who, ip=ip)

    # -- the books

    def recorded(self, ip: str) -> Counter[str]:
        return self.book(ip).get(ip, Counter())

    def book(self, ip: str = "%") -> dict[str, Counter[str]]:
        """By address: how many refusals of each kind are on record."""
        book: dict[str, Counter[str]] = {}
        query = "SELECT ip, kind, sum(count) FROM security_violation WHERE ip LIKE ? GROUP BY 1, 2"
        for address, kind, count in self.ask(query, ip):
            book.setdefault(address, Counter())[kind] = count
        return book

    def await_recorded(self, ip: str) -> Counter[str]:
        """What is on record, as soon as it is what was expected, or when no more will come."""
        deadline = time.monotonic() + RECORDED_WITHIN_S
        while self.recorded(ip) != self.expected[ip] and time.monotonic() < deadline:
            time.sleep(0.02)  # another process writes, and says nothing when it is done
        return self.recorded(ip)

    def differences(self) -> dict[tuple[str, ...], tuple[Counter[str], Counter[str]]]:
        """Addresses whose record is not what was expected, be they of the cast or not."""
        nothing: Counter[str] = Counter()
        deadline = time.monotonic() + RECORDED_WITHIN_S
        while True:
            book = self.book()
            wrong = {
                ip: (book.get(ip, nothing), self.expected.get(ip, nothing))
                for ip in book.keys() | self.expected.keys()
                if book.get(ip, nothing) != self.expected.get(ip, nothing)
            }
            if not wrong or time.monotonic() > deadline:
                return {(ip, *self.details(ip)): pair for ip, pair in wrong.items()}
            time.sleep(0.05)  # another process writes, and says nothing when it is done

    def details(self, ip: str) -> list[str]:
        """What staff can read about an address."""
        query = "SELECT kind, event_type, detail FROM security_violation WHERE ip = ?"
        return [" ".join(map(str, row)) for row in self.ask(query, ip)]

    def domain(self) -> dict[str, list[Any]]:
        return {
            table: self.ask(f"SELECT {columns} FROM {table} ORDER BY id")  # noqa: S608 - names of our own
            for table, columns in DOMAIN.items()
        }

    def ask(self, query: str, *values: object) -> list[Any]:
        url = self.hub.environ.get("DATABASE_URL", "")
        if url.startswith("postgres"):
            with psycopg.connect(url) as server:
                return server.execute(query.replace("?", "%s").encode(), values).fetchall()
        with closing(sqlite3.connect(self.hub.data_dir / "hub.sqlite3", timeout=20)) as database:
            return list(database.execute(query, values))

    def assert_clean(self, said: str) -> None:
        """No secret, no trace of a failure in what an attacker or a log gets to see."""
        leaked = [secret[:6] for secret in self.secrets if secret in said]
        assert not leaked, leaked
        assert "Traceback" not in said, said[-6000:]
        assert 'File "' not in said

    # -- tokens

    def token(self, who: Mapping[str, Any], **claims: object) -> str:
        """A token of somebody with other claims (None leaves one out), signed with the real key."""
        return self.forge(self.claims(who, **claims))

    def claims(self, who: Mapping[str, Any], **changes: object) -> dict[str, Any]:
        body = who["token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return {key: each for key, each in {**claims, **changes}.items() if each is not None}

    def forge(
        self,
        claims: object,
        *,
        header: object = None,
        key: bytes | None = None,
        digest: str = "sha256",
    ) -> str:
        """A token made by hand; ``claims`` and ``header`` may be JSON text."""
        head = header or {"alg": "HS256", "typ": "JWT", "kid": self.kid}
        parts = ".".join(_base64(_text(each)) for each in (head, claims))
        mac = hmac.digest(key or self.jwt_key, parts.encode(), getattr(hashlib, digest))
        return f"{parts}.{_base64(mac)}"


SECRET = frozenset({"secret", "token", "refresh"})


@contextmanager
def staged(**settings: str) -> Iterator[Stage]:
    """A running hub with a cast."""
    with LiveHub(HUB_TRUSTED_PROXIES="127.0.0.1", **settings) as hub:
        yield Stage(hub)


def _text(value: object) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
