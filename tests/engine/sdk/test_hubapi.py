"""Uploads and specifications, against a hub with real HTTP and real signatures."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

import aiohttp
import pytest

from engine.sdk import HubRefused, HubUnreachable, SpecMismatch
from engine.sdk.envelope import Identity, Secret
from engine.sdk.hubapi import LARGEST_ANSWER, HubApi, Place
from engine.sdk.timing import HubClock
from tests.engine.fake_hub import NAME, QUICK, FakeHub

PLACE = Place("b1", "j1", "a1")


@pytest.fixture
async def api(hub: FakeHub) -> AsyncIterator[HubApi]:
    identity = Identity(NAME, Secret(hub.key))
    async with aiohttp.ClientSession() as http:
        yield HubApi(hub.url, identity, http=http, clock=HubClock(), timing=QUICK)


@pytest.mark.parametrize("kind", ["artifact", "thumbnail"])
async def test_an_upload_arrives_with_its_ids(hub: FakeHub, api: HubApi, kind: str) -> None:
    await api.put(kind, PLACE, b"bytes")  # type: ignore[arg-type]  # the two words of the Literal
    ids = {"job_id": "j1", "attempt_id": "a1", "build_id": "b1", "kind": kind}
    assert hub.uploads == [(kind, ids, b"bytes")]


async def test_an_upload_of_32_mebibytes_arrives(hub: FakeHub, api: HubApi) -> None:
    data = bytes(32 * 1024 * 1024)
    await api.put("artifact", PLACE, data)
    assert len(hub.uploads[0][2]) == len(data)


async def test_an_upload_gives_up_after_its_tries(hub: FakeHub, api: HubApi) -> None:
    hub.upload_answers = [(500, {"code": "internal_error"})] * 100
    with pytest.raises(HubUnreachable, match="internal_error"):
        await api.put("artifact", PLACE, b"bytes")
    assert len(hub.upload_answers) == 100 - QUICK.upload_tries


@pytest.mark.parametrize(("status", "code"), [(403, "JOB_NOT_YOURS"), (413, "payload_too_large")])
async def test_an_upload_that_is_refused_is_not_repeated(
    hub: FakeHub, api: HubApi, status: int, code: str
) -> None:
    hub.upload_answers = [(status, {"code": code, "message": "no"})] * 2
    with pytest.raises(HubRefused, match=code):
        await api.put("artifact", PLACE, b"bytes")
    assert len(hub.upload_answers) == 1


async def test_an_upload_outside_the_window_is_signed_with_the_right_time(
    hub: FakeHub, api: HubApi
) -> None:
    await api.new_token()
    hub.clock_ahead_ms = 120_000
    hub.upload_answers = [(400, {"code": "timestamp_expired"})]
    await api.put("artifact", PLACE, b"bytes")
    assert len(hub.uploads) == 1


async def test_one_token_serves_many_requests(hub: FakeHub, api: HubApi) -> None:
    for _ in range(3):
        await api.put("artifact", PLACE, b"bytes")
    assert len(hub.tokens) == 1


async def test_a_token_about_to_end_is_replaced_before_it_is_sent(
    hub: FakeHub, api: HubApi
) -> None:
    hub.token_life_ms = 4_000
    for _ in range(2):
        await api.put("artifact", PLACE, b"bytes")
    assert len(hub.tokens) == 2


async def test_a_specification_is_checked_by_its_digest(hub: FakeHub, api: HubApi) -> None:
    hub.specs["b1"] = b'{"schema_version": "1.0"}'
    digest = sha256(hub.specs["b1"]).hexdigest()
    assert await api.specification("b1", digest=digest) == {"schema_version": "1.0"}
    with pytest.raises(SpecMismatch):
        await api.specification("b1", digest="0" * 64)


async def test_an_endless_answer_is_not_read_to_its_end(hub: FakeHub, api: HubApi) -> None:
    hub.specs["b1"] = bytes(LARGEST_ANSWER + 1)
    with pytest.raises(HubRefused, match="answer_too_large"):
        await api.specification("b1", digest="0" * 64)


async def test_something_that_is_no_hub_is_recognised(hub: FakeHub, api: HubApi) -> None:
    hub.token_answers = [(200, {"hello": "world"})]
    with pytest.raises(HubRefused, match="no token"):
        await api.new_token()


async def test_a_hub_that_cannot_be_reached_says_nothing_of_the_secret(hub: FakeHub) -> None:
    identity = Identity(NAME, Secret(hub.key))
    async with aiohttp.ClientSession() as http, asyncio.timeout(10):
        api = HubApi("http://127.0.0.1:9", identity, http=http, clock=HubClock(), timing=QUICK)
        with pytest.raises(HubUnreachable) as fault:
            await api.new_token()
    assert hub.secret not in repr(fault.value)
