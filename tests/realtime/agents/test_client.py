"""The agent's client at its edges: what it is given, and hubs that say no or are none.

What it does with a real hub is shown in ``tests/end_to_end/test_agents.py``.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from realtime.agents.client import HEARD_AT_MOST, Agent
from realtime.agents.errors import InvalidSecret, NotConnected, NotSaid, Unwelcome
from realtime.agents.link import Link
from realtime.envelopes import Secret
from realtime.hubclock import HubClock

SECRET = "A" * 43

Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Answer requests for a token with a status and a body; returns the address."""
    runners: list[web.AppRunner] = []

    async def start(status: int, body: object, content_type: str = "application/json") -> str:
        async def answer(_request: web.Request) -> web.Response:
            text = body if isinstance(body, str) else json.dumps(body)
            return web.Response(status=status, text=text, content_type=content_type)

        app = web.Application()
        app.router.add_post("/api/service-token/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def ask(url: str, clock: HubClock | None = None) -> str:
    """A token of the hub at an address."""
    link = Link(
        url,
        "coach",
        Secret(b"s" * 32),
        clock=clock or HubClock(),
        hear=lambda _action: None,
        drop=lambda _reason: None,
    )
    try:
        return await link.token()
    finally:
        await link.close()


@pytest.mark.parametrize("secret", ["", "short", "A" * 42, "A" * 44, "é" * 43, "A" * 42 + "="])
def test_a_secret_of_another_form_is_refused(secret: str) -> None:
    with pytest.raises(InvalidSecret):
        Agent("http://hub", "coach", secret)


@pytest.mark.parametrize("url", ["", "hub", "ftp://hub", "http://"])
def test_an_address_that_can_be_no_hubs_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Agent(url, "coach", SECRET)


async def test_without_a_connection_nothing_is_said() -> None:
    agent = Agent("http://hub", "coach", SECRET)
    assert not agent.connected
    with pytest.raises(NotConnected):
        await agent.say("1", "Hello.", reason="greeting")


def test_what_comes_faster_than_it_is_handled_is_dropped_oldest_first() -> None:
    agent = Agent("http://hub", "coach", SECRET)
    for number in range(HEARD_AT_MOST + 2):
        agent._hear({"id": number})
    assert agent.dropped == {"handler_too_slow": 2}
    assert agent._actions.get_nowait() == {"id": 2}


async def test_a_word_that_was_not_said_ends_no_handler() -> None:
    agent = Agent("http://hub", "coach", SECRET)

    async def handler(code: str) -> None:
        raise NotSaid(code)

    await agent._try(handler, "RATE_LIMITED")
    with pytest.raises(ZeroDivisionError):
        await agent._try(lambda: 1 / 0)


async def test_a_token_is_taken_and_the_clock_follows(serve: Serve) -> None:
    clock = HubClock()
    told = {"access": "t", "access_expires_at": 5_000, "server_time": 1_000}
    assert await ask(await serve(200, told), clock) == "t"
    assert 1_000 <= clock.now_ms() < 60_000


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (401, {"code": "invalid_signature"}, Unwelcome, "invalid_signature"),
        (403, {"code": "forbidden"}, Unwelcome, "forbidden"),
        (404, {}, Unwelcome, "404"),
        (200, {}, Unwelcome, "answer_malformed"),
        (200, {"access": "t", "access_expires_at": "soon"}, Unwelcome, "answer_malformed"),
        (401, {"code": "timestamp_expired", "server_time": 5}, NotConnected, "timestamp_expired"),
        (429, {"code": "rate_limited", "retry_after_ms": 3_000}, NotConnected, "rate_limited"),
        (503, {"code": "try_again"}, NotConnected, "try_again"),
        (500, {}, NotConnected, "500"),
    ],
)
async def test_a_no_is_for_ever_or_for_now(
    serve: Serve, status: int, body: dict[str, Any], error: type[Unwelcome], code: str
) -> None:
    with pytest.raises(error) as refused:
        await ask(await serve(status, body))
    assert refused.value.code == code
    if code == "rate_limited":
        assert refused.value.retry_after_s == 3  # type: ignore[attr-defined]  # a NotConnected


async def test_what_is_no_hub_is_named_so(serve: Serve) -> None:
    with pytest.raises(Unwelcome, match="address of a hub"):
        await ask(await serve(200, "<html>", "text/html"))


async def test_nobody_there_is_no_reason_to_give_up() -> None:
    with pytest.raises(NotConnected):
        await ask("http://127.0.0.1:1")
