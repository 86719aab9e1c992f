"""An engine stays as long as it says something authentic and its token is good."""

import pytest

from tests.engine.engine_bench import SAYS, EngineBench


async def test_an_engine_that_says_nothing_authentic_is_closed_and_on_record_once(
    hub: EngineBench,
) -> None:
    peer = await hub.proved()
    await hub.advance(89)
    await peer.call("telemetry", {**peer.sign("telemetry", {}), "sig": "0" * 64})
    assert not peer.left()
    await hub.advance(1)
    assert peer.wires.code == 4408
    assert hub.kinds() == ["engine_signature_invalid", "heartbeat_missing"]
    await hub.advance(200)
    assert hub.kinds().count("heartbeat_missing") == 1
    assert hub.names()[-1] == "engine_closed"


async def test_every_authentic_message_begins_the_wait_anew(hub: EngineBench) -> None:
    peer = await hub.proved()
    for event in ("job_ack", "engine_heartbeat", "telemetry"):
        await hub.advance(60)
        await peer.say(event, SAYS[event])
    await hub.advance(89)
    assert not peer.left()
    await hub.advance(1)
    assert peer.wires.code == 4408


async def test_an_engine_that_leaves_while_it_is_greeted_is_not_watched(
    hub: EngineBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = hub.engine()

    async def leaving(*_args: object) -> dict[str, object]:
        peer.lose()
        return {}

    monkeypatch.setattr(hub.engines, "session_extra", leaving)
    with pytest.raises(IndexError):  # no session to learn a key from
        await peer.connect()
    await hub.advance(90)
    assert hub.kinds() == []


async def test_a_newer_token_of_the_same_engine_prolongs_the_connection(hub: EngineBench) -> None:
    peer = await hub.proved()
    hub.renew("newer", of="forge", expires_at=hub.time.now_ms() + 600_000)
    answer = await peer.say("reauth", {"token": "newer"})
    assert answer["token_expires_at"] == hub.time.now_ms() + 600_000


@pytest.mark.parametrize("token", ["anvil", "ada", "nobody", "", 5, None, ["forge"]])
async def test_no_other_token_prolongs_it(hub: EngineBench, token: object) -> None:
    peer = await hub.proved()
    assert (await peer.say("reauth", {"token": token}))["error"] == "AUTH_INVALID"
    assert [each["reason"] for each in peer.heard("reauth_rejected")] == ["AUTH_INVALID"]
