"""What comes of an engine's messages on the database."""

from collections.abc import Callable

import pytest

from engine import dispatcher
from engine.models import EngineSession
from tests.engine.conftest import Bench
from tests.engine.engine_bench import BAD_SIGNATURE, SAYS, EngineBench, EnginePeer


@pytest.mark.django_db
async def test_progress_is_a_whole_per_cent(make_hub: Callable[..., EngineBench]) -> None:
    hub = make_hub(stored=True)
    peer = await _at_work(hub)
    for progress in (-1, 101, 50.5, "50", True, None, [50]):
        answer = await peer.say("job_progress", {**_first_job(peer), "progress": progress})
        assert answer["error"] == "PAYLOAD_INVALID"
    assert hub.kinds() == ["payload_invalid"] * 7
    assert (await peer.say("job_progress", {**_first_job(peer), "progress": 50}))["ok"] is True
    backwards = await peer.say("job_progress", {**_first_job(peer), "progress": 49})
    assert backwards["error"] == "PAYLOAD_INVALID"


@pytest.mark.django_db
async def test_what_one_report_says_cannot_be_sent_as_another(
    make_hub: Callable[..., EngineBench],
) -> None:
    hub = make_hub(stored=True)
    peer = await _at_work(hub)
    body = {**_first_job(peer), "progress": 100}
    assert (await peer.say("job_completed", body))["error"] == "PAYLOAD_INVALID"
    progress = peer.sign("job_progress", body)
    assert (await peer.call("job_completed", progress))["error"] == BAD_SIGNATURE


@pytest.mark.django_db
@pytest.mark.parametrize("size", [65_600, 900_000])
async def test_a_result_is_bounded(make_hub: Callable[..., EngineBench], size: int) -> None:
    hub = make_hub(stored=True)
    peer = await _at_work(hub)
    large = {**_first_job(peer), "result": {"blob": "x" * size}}
    assert (await peer.say("job_completed", large))["error"] == "PAYLOAD_INVALID"
    assert hub.kinds() == ["payload_invalid"]
    fitting = {**_first_job(peer), "result": {"blob": "x" * 65_000}}
    assert (await peer.say("job_completed", fitting))["ok"] is True


@pytest.mark.django_db
async def test_a_job_of_another_engine_is_not_moved(make_hub: Callable[..., EngineBench]) -> None:
    hub = make_hub(stored=True)
    forge = await _at_work(hub)
    anvil = await hub.proved("anvil")
    done = {**_first_job(forge), "result": {}}
    assert (await anvil.say("job_completed", done))["error"] == "JOB_NOT_YOURS"
    unknown = {"job_id": "j_none", "attempt_id": "a_none", "result": {}}
    assert (await forge.say("job_completed", unknown))["error"] == "JOB_UNKNOWN"
    assert hub.kinds() == ["job_not_yours", "job_unknown"]


@pytest.mark.django_db
async def test_a_replaced_connection_is_closed_and_the_new_one_resumes(
    make_hub: Callable[..., EngineBench],
) -> None:
    hub = make_hub(stored=True)
    first = await _at_work(hub)
    held = _first_job(first)
    second = hub.engine()
    await second.connect()
    assert not first.left()
    answer = await second.say("engine_resume", {"attempts": [held]})
    assert answer["resumed"] == [held["job_id"]]
    assert first.wires.code == 4409
    assert (await second.say("job_completed", {**held, "result": {}}))["ok"] is True


@pytest.mark.django_db
async def test_an_engine_that_was_given_up_while_the_hub_slept_is_sent_back_to_connect_anew(
    make_hub: Callable[..., EngineBench],
) -> None:
    hub = make_hub(stored=True)
    peer = await _at_work(hub)
    hub.on_database(lambda: dispatcher.engine_closed(EngineSession.objects.get().id))
    assert (await peer.say("engine_heartbeat", {"attempts": []}))["error"] == "TRY_AGAIN"
    assert peer.wires.code == 1012
    assert peer.heard("goodbye")[0]["retry_after_ms"] > 0


async def _at_work(hub: EngineBench) -> EnginePeer:
    """An engine that has started the first job of a person's world."""
    hub.on_database(Bench().submit)
    peer = await hub.proved()
    await peer.say("engine_ready", SAYS["engine_ready"])
    assert (await peer.say("job_started", _first_job(peer)))["ok"] is True
    return peer


def _first_job(peer: EnginePeer) -> dict[str, str]:
    body = peer.opened("engine_job")[0]
    return {key: body[key] for key in ("job_id", "attempt_id")}
