"""Two keys of each kind live through a rotation, over restarts of a hub; a dropped one ends."""

import asyncio
import json
import secrets
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from security.signatures import from_base64url, to_base64url
from tests.hostile.raw import Member
from tests.live import PASSWORD, LiveHub

Person = dict[str, Any]


def key() -> str:
    return to_base64url(secrets.token_bytes(32))


OLD = {"DJANGO_SECRET_KEY": key(), "HUB_MASTER_KEYS": f"m1:{key()}", "HUB_JWT_KEYS": f"j1:{key()}"}
NEW = {name: f"{kid}:{key()}" for name, kid in (("HUB_MASTER_KEYS", "m2"), ("HUB_JWT_KEYS", "j2"))}
BOTH = {name: f"{NEW[name]},{OLD[name]}" for name in NEW}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    settings = {**OLD, "HUB_DEVELOPMENT_KEYS": "0", "HUB_TRUSTED_PROXIES": "127.0.0.1"}
    with LiveHub(data_dir=tmp_path_factory.mktemp("keys"), **settings) as running:
        running.add_person("ada")
        yield running


def post(hub: LiveHub, path: str, body: object, ip: str = "10.9.0.1") -> tuple[int, Any]:
    request = urllib.request.Request(  # noqa: S310 - the hub's own http address
        f"{hub.url}{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-Forwarded-For": ip},
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


def log_in(hub: LiveHub) -> Person:
    status, answer = post(hub, "/api/token/", {"username": "ada", "password": PASSWORD})
    assert status == 200
    person = {"principal": "user:1", "secret": answer["session_secret"], **answer}
    return {**person, "token": answer["access"]}


def restart(hub: LiveHub, **keys: str) -> None:
    hub.stop()
    hub.environ.update(keys)
    hub.start()


async def acts(hub: LiveHub, person: Person) -> bool:
    """Whether the person gets in and signs with the secret that was given at log-in."""
    async with Member(hub.url, person) as member:
        return (await member.act(member.sign("presence", {"state": "active"})))["ok"] is True


def kid_of(token: str) -> str:
    head = token.partition(".")[0]
    kid: str = json.loads(from_base64url(head))["kid"]
    return kid


async def test_two_keys_of_each_kind_live_until_the_old_ones_are_dropped(hub: LiveHub) -> None:
    early = log_in(hub)
    assert kid_of(early["token"]) == "j1"
    assert await acts(hub, early)

    await asyncio.to_thread(restart, hub, **BOTH)
    assert await acts(hub, early), "a token and a secret of the old keys"
    status, renewed = post(hub, "/api/token/refresh/", {"refresh": early["refresh"]})
    assert (status, kid_of(renewed["access"])) == (200, "j2")
    early = {**early, "token": renewed["access"], "refresh": renewed["refresh"]}
    assert await acts(hub, early), "a token of the new key with a secret of the old one"
    late = log_in(hub)
    assert await acts(hub, late)

    await asyncio.to_thread(restart, hub, **NEW)
    assert await acts(hub, late)
    with pytest.raises(ConnectionError, match="AUTH_INVALID"):
        await acts(hub, early)
    status, refused = post(hub, "/api/token/refresh/", {"refresh": early["refresh"]})
    assert (status, refused["code"]) == (401, "auth_invalid")
    reasons = {row["detail"]["reason"] for row in hub.violations(kind="auth_invalid")}
    assert reasons == {"key_dropped"}


def test_an_unknown_name_costs_as_much_time_as_a_wrong_password(hub: LiveHub) -> None:
    """Without the same work an unknown name would be answered many times faster."""
    took: dict[str, list[float]] = {"ada": [], "nobody": []}
    answers = []
    for number in range(5):
        for name, times in took.items():
            began = time.monotonic()
            answers.append(
                post(hub, "/api/token/", {"username": name, "password": "?"}, f"10.9.1.{number}")
            )
            times.append(time.monotonic() - began)
    assert {status for status, _ in answers} == {401}
    assert len({json.dumps(body, sort_keys=True) for _, body in answers}) == 1
    slow, fast = sorted(statistics.median(times) for times in took.values())[::-1]
    assert slow < 3 * fast
