"""Hostile handshakes and tokens over real sockets (docs/security.md)."""

import json

import pytest

from tests.hostile.cases_connect import CONNECTS, HANDSHAKES, Connect, Handshake
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


async def test_the_books_are_right(stage: Stage) -> None:
    assert stage.differences() == {}
    assert stage.domain() == stage.calm
    stage.assert_clean(stage.hub.output)
