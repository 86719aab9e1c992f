"""Hostile handshakes and tokens over real sockets (docs/security.md)."""

import json
import urllib.error
import urllib.request

import pytest

from tests.hostile.cases_connect import CONNECTS, FRIEND, HANDSHAKES, Connect, Handshake
from tests.hostile.stage import Stage

pytestmark = pytest.mark.xdist_group("hostile")


@pytest.mark.parametrize("case", HANDSHAKES, ids=lambda case: case.name)
async def test_a_hostile_handshake_is_answered_by_its_status(stage: Stage, case: Handshake) -> None:
    ip = stage.address({case.kind: 1} if case.kind else {})
    port, token = stage.hub.url.rpartition(":")[2], stage.person()["token"]
    client = stage.raw(ip, **{name: text.format(port=port) for name, text in case.headers})
    base = "/socket.io/?EIO=4"
    address = base + ("" if "transport" in case.query else "&transport=websocket")
    assert await client.status(address + case.query.format(token=token)) == case.status
    await client.close()
    assert stage.await_recorded(ip) == stage.expected[ip]
    stage.assert_clean("".join(client.frames))


@pytest.mark.parametrize("case", CONNECTS, ids=lambda case: case.name)
async def test_a_hostile_connect_is_refused_recorded_and_closed(
    stage: Stage, case: Connect
) -> None:
    ip = stage.address({case.recorded: 1})
    auth = case.auth(stage, stage.person())
    async with stage.raw(ip) as client:
        text = auth if isinstance(auth, str) else json.dumps(auth)
        refusal = await client.join(text, case.namespace)
        assert refusal["code"] == case.code
        assert refusal.keys() == {"code", "retry", "server_time"}
        # The answer waited for the row, so it is there already.
        assert stage.recorded(ip) == stage.expected[ip]
        assert await client.closed() == 4401
    stage.assert_clean("".join(client.frames))


@pytest.mark.parametrize("namespace", ["/engine", "/agent"])
async def test_no_page_is_a_service_however_welcome_it_is_as_a_person(
    stage: Stage, namespace: str
) -> None:
    ip = stage.address({"origin_forbidden": 1})
    name = "engine1" if namespace == "/engine" else "agent0"
    auth = json.dumps({"token": stage.cast[name]["token"], "client_nonce": "Y" * 43})
    async with stage.raw(ip, Origin=FRIEND) as page:
        refusal = await page.join(auth, namespace)
        assert (refusal["code"], await page.closed()) == ("FORBIDDEN", 4403)
    assert stage.recorded(ip) == stage.expected[ip]


@pytest.mark.parametrize(
    ("origin", "status"), [(FRIEND, 200), ("https://evil.example", 403), ("null", 403)]
)
def test_pages_that_poll_are_held_to_the_same_origins(
    stage: Stage, origin: str, status: int
) -> None:
    ip = stage.address({"origin_forbidden": 1} if status == 403 else {"auth_required": 1})
    address = f"{stage.hub.url}/socket.io/?EIO=4&transport=polling"
    headers = {"Origin": origin, "X-Forwarded-For": ip}
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 - the hub's own http address
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
            seen = answer.status
    except urllib.error.HTTPError as refused:
        with refused:
            seen = refused.code
            stage.assert_clean(refused.read().decode())
    assert seen == status
    if status == 403:
        assert stage.recorded(ip) == stage.expected[ip]


async def test_the_books_are_right(stage: Stage) -> None:
    assert stage.differences() == {}
    assert stage.domain() == stage.calm
    stage.assert_clean(stage.hub.output)
