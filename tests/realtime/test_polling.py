"""HTTP long-polling of Engine.IO: who may ask, what is answered, how a session ends."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from realtime.cors import Cors
from realtime.engineserver import EngineServer, MessageSession
from realtime.handshake import Denial, Handshake
from realtime.longpolling import LongPolling
from realtime.outbox import OutboxLimits
from realtime.policy import Policy
from realtime.protocol import Closed, Frame, Limits
from tests.realtime.asgi import EIO, HttpAnswer, clocked, connect, request, settle

HANDSHAKE = EIO.format("polling")


class Doorman(Policy):
    """Refuses what a test says, and remembers how sessions ended."""

    def __init__(self) -> None:
        self.denial: Denial | None = None
        self.readmission: Denial | None = None
        self.closed: list[Closed] = []

    async def admit(self, handshake: Handshake, *, now: float) -> Denial | None:
        return self.denial

    def readmit(self, handshake: Handshake, session: Any) -> Denial | None:
        return self.readmission

    def close(self, session: Any, closed: Closed) -> None:
        self.closed.append(closed)


def echo(session: MessageSession, message: Frame) -> None:
    session.send(message)


@dataclass
class Site:
    """A server and one session on it."""

    server: EngineServer
    doorman: Doorman
    sid: str = ""

    async def open(self) -> "Site":
        """Shake hands."""
        answer = await request(self.server, "GET", HANDSHAKE)
        assert answer.status == 200
        self.sid = orjson.loads(answer.body[1:])["sid"]
        return self

    @property
    def session(self) -> MessageSession:
        """The live session."""
        session = self.server.node().sessions[self.sid]
        assert isinstance(session, MessageSession)
        return session

    def query(self) -> str:
        return f"{HANDSHAKE}&sid={self.sid}"

    async def poll(self, **options: Any) -> HttpAnswer:
        """Ask for packets."""
        return await request(self.server, "GET", self.query(), **options)

    async def post(
        self, *chunks: bytes, headers: Iterable[tuple[str, str]] = (), **options: Any
    ) -> HttpAnswer:
        """Bring packets."""
        return await request(self.server, "POST", self.query(), *chunks, headers=headers, **options)

    @property
    def end(self) -> str:
        """Why the one session ended."""
        (closed,) = self.doorman.closed
        return str(closed.reason)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A server of echoes with a small limit, and a session that polls."""
    async for site in make_site(limits=Limits(max_payload=100)):
        yield site


async def make_site(**options: Any) -> AsyncIterator[Site]:
    doorman = Doorman()
    server = EngineServer(on_message=echo, policy=doorman, **options)
    yield await Site(server, doorman).open()
    await server.shutdown(deadline_s=0)


# The handshake


async def test_the_open_packet_is_never_cached(site: Site) -> None:
    answer = await request(site.server, "GET", HANDSHAKE)
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert answer.headers["cache-control"] == "no-store"
    assert orjson.loads(answer.body[1:])["upgrades"] == ["websocket"]


async def test_a_policy_says_no_in_engine_ios_words(site: Site) -> None:
    site.doorman.denial = Denial(503, 4, "Try again later", retry_after_ms=1_500)
    answer = await request(site.server, "GET", HANDSHAKE)
    assert (answer.status, orjson.loads(answer.body)) == (
        503,
        {"code": 4, "message": "Try again later"},
    )
    assert answer.headers["retry-after"] == "2"
    assert len(site.server.node().sessions) == 1


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [
        ("PUT", "EIO=3&transport=abc&sid=x", 0),
        ("PUT", "EIO=3&transport=polling&sid=x", 1),
        ("PUT", "EIO=3&transport=polling", 2),
        ("GET", "EIO=4&transport=websocket", 3),
        ("OPTIONS", HANDSHAKE, 2),
        ("GET", "EIO=3&transport=polling", 5),
        ("GET", "transport=polling", 5),
    ],
)
async def test_the_first_failed_check_names_the_refusal(
    site: Site, method: str, query: str, code: int
) -> None:
    answer = await request(site.server, method, query)
    assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [
        ("GET", "EIO=4&transport=websocket&sid={}", 3),
        ("GET", "EIO=3&transport=polling&sid={}", 3),
        ("PUT", "EIO=4&transport=polling&sid={}", 2),
    ],
)
async def test_a_wrong_request_of_a_session_leaves_it_alive(
    site: Site, method: str, query: str, code: int
) -> None:
    answer = await request(site.server, method, query.format(site.sid))
    assert (answer.status, answer.code) == (400, code)
    assert (await site.post(b"4a")).body == "ok"


async def test_an_origin_that_is_no_header_is_refused(site: Site) -> None:
    answer = await request(site.server, "GET", HANDSHAKE, headers=[("origin", "a\x7f")])
    assert (answer.status, answer.code) == (400, 3)


async def test_the_policy_is_asked_about_every_later_request(site: Site) -> None:
    site.doorman.readmission = Denial(403, 4, "Forbidden")
    assert (await site.poll()).status == 403
    assert (await site.post(b"4a")).status == 403
    async with connect(site.server, f"{EIO.format('websocket')}&sid={site.sid}") as socket:
        assert socket.waiting() == ["websocket.close"]
    assert site.doorman.closed == []


# Polls


async def test_a_poll_waits_and_takes_all_at_once(site: Site) -> None:
    poll = asyncio.create_task(site.poll())
    await settle()
    site.session.send("a")
    site.session.send(b"\x01\x02\x03")
    assert (await poll).body == "4a\x1ebAQID"


async def test_what_came_before_the_poll_is_answered_at_once(site: Site) -> None:
    await site.post(b"4a\x1e4b")
    assert (await site.poll()).body == "4a\x1e4b"


async def test_a_second_poll_ends_the_session(site: Site) -> None:
    poll = asyncio.create_task(site.poll())
    await settle()
    assert (await site.poll()).code == 3
    first = await poll
    assert (first.status, first.body) == (200, "1")
    assert site.end == "transport error"
    assert (await site.poll()).code == 1


async def test_a_poll_that_is_given_up_ends_the_session(site: Site) -> None:
    gone = asyncio.Event()
    poll = asyncio.create_task(site.poll(gone=gone))
    await settle()
    gone.set()
    await poll
    assert site.end == "transport error"
    assert (await site.poll()).code == 1


# POSTs


async def test_more_than_sixteen_packets_in_one_body_are_all_taken(site: Site) -> None:
    body = b"\x1e".join(b"4%d" % (number % 10) for number in range(33))
    assert (await site.post(body)).body == "ok"
    assert (await site.poll()).body.encode() == body


async def test_a_chunked_body_is_one_body(site: Site) -> None:
    assert (await site.post(b"4a", b"b\x1e", b"4c")).body == "ok"
    assert (await site.poll()).body == "4ab\x1e4c"


@pytest.mark.parametrize("headers", [(), [("content-length", "101")]])
async def test_a_body_over_the_limit_is_refused_and_the_session_lives(
    site: Site, headers: Any
) -> None:
    chunks = (b"4", b"x" * 60, b"x" * 60) if not headers else (b"4",)
    assert (await site.post(*chunks, headers=headers)).status == 413
    assert (await site.post(b"4a")).body == "ok"
    assert (await site.poll()).body == "4a"


async def test_a_body_of_exactly_the_limit_is_taken(site: Site) -> None:
    assert (await site.post(b"4" + b"x" * 99)).body == "ok"


async def test_a_second_post_ends_the_session(site: Site) -> None:
    transport = site.session.transport
    assert isinstance(transport, LongPolling)
    transport.posting = True
    assert (await site.post(b"4a")).code == 3
    assert site.end == "transport error"


async def test_a_binary_body_ends_the_session(site: Site) -> None:
    answer = await site.post(b"4a", headers=[("content-type", "application/octet-stream")])
    assert (answer.code, site.end) == (3, "transport error")


async def test_a_client_that_goes_in_mid_body_ends_the_session(site: Site) -> None:
    gone = asyncio.Event()
    gone.set()
    receive_all = [
        {"type": "http.request", "body": b"4a", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return receive_all.pop(0)

    async def send(_message: dict[str, Any]) -> None:
        """Nobody hears it."""

    from tests.realtime.asgi import scope  # noqa: PLC0415 - only here by hand

    await site.server.http(scope("http", site.query(), (), method="POST"), receive, send)
    assert site.end == "transport error"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "parse error"),
        (b"abc", "parse error"),
        (b"4\xff", "parse error"),
        (b"b%%", "parse error"),
        (b"2", "transport error"),
    ],
)
async def test_a_fault_is_answered_400_and_ends_the_session(
    site: Site, body: bytes, reason: str
) -> None:
    assert (await site.post(body)).code == 3
    assert site.end == reason
    assert (await site.poll()).code == 1


@pytest.mark.parametrize("packet", [b"0", b"5", b"6"])
async def test_packets_that_mean_nothing_are_ignored(site: Site, packet: bytes) -> None:
    assert (await site.post(packet)).body == "ok"
    assert site.doorman.closed == []


async def test_a_client_that_closes_gets_a_noop_for_its_poll(site: Site) -> None:
    poll = asyncio.create_task(site.poll())
    await settle()
    assert (await site.post(b"1")).body == "ok"
    assert ((await poll).body, site.end) == ("6", "transport close")
    assert (await site.poll()).code == 1


# Closing, and time


async def test_a_waiting_poll_hears_that_we_close(site: Site) -> None:
    poll = asyncio.create_task(site.poll())
    await settle()
    site.session.send("last")
    site.session.close(1000)
    assert (await poll).body == "4last\x1e1"
    assert (await site.poll()).code == 1


async def test_the_next_poll_hears_that_we_closed_once(site: Site) -> None:
    site.session.send("last")
    site.session.close(1000)
    assert (await site.poll()).body == "4last\x1e1"
    assert (await site.poll()).code == 1


async def test_last_words_are_dropped_when_nobody_asks_for_them() -> None:
    server = EngineServer(on_message=echo)
    _, clock = clocked(server)
    site = await Site(server, Doorman()).open()
    site.session.close(1000)
    clock.push(30)
    assert (await site.poll()).code == 1
    await server.shutdown(deadline_s=0)


async def test_an_idle_session_is_reaped_by_its_heartbeat() -> None:
    doorman = Doorman()
    server = EngineServer(on_message=echo, policy=doorman)
    node, clock = clocked(server)
    site = await Site(server, doorman).open()
    clock.push(25)
    assert (await site.poll()).body == "2"
    clock.push(19.9)
    assert site.sid in node.sessions
    clock.push(0.1)
    assert (site.end, node.sessions) == ("ping timeout", {})
    assert (await site.poll()).code == 1
    await server.shutdown(deadline_s=0)


async def test_pongs_keep_a_session_and_space_the_pings() -> None:
    server = EngineServer(on_message=echo)
    _, clock = clocked(server)
    site = await Site(server, Doorman()).open()
    for _ in range(10):
        poll = asyncio.create_task(site.poll())
        await settle()
        clock.push(24.9)
        await settle()
        assert not poll.done()
        clock.push(0.1)
        assert (await poll).body == "2"
        assert (await site.post(b"3")).body == "ok"
    await server.shutdown(deadline_s=0)


async def test_a_client_that_never_polls_is_a_slow_reader() -> None:
    async for site in make_site(outbox_limits=OutboxLimits(size=10_000)):
        for _ in range(5):
            site.session.send("x" * 2_000) if site.sid in site.server.node().sessions else None
        assert site.end == "transport error"
        assert (await site.poll()).body == "1"


# CORS


async def test_cors_headers_are_on_every_answer_to_a_listed_origin() -> None:
    cors = Cors(origins={"https://a.example"}, credentials=True)
    async for site in make_site(cors=cors):
        for query in (HANDSHAKE, "EIO=4&transport=abc", f"{HANDSHAKE}&sid=x"):
            answer = await request(
                site.server, "GET", query, headers=[("origin", "https://a.example")]
            )
            assert answer.headers["access-control-allow-origin"] == "https://a.example"
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert answer.headers["vary"] == "Origin"
        foreign = await request(
            site.server, "GET", HANDSHAKE, headers=[("origin", "https://b.example")]
        )
        assert "access-control-allow-origin" not in foreign.headers


async def test_a_preflight_is_answered_where_cors_is_configured() -> None:
    async for site in make_site(cors=Cors(origins={"https://a.example"})):
        headers = [("origin", "https://a.example"), ("access-control-request-headers", "x-a")]
        answer = await request(site.server, "OPTIONS", HANDSHAKE, headers=headers)
        assert (answer.status, answer.body) == (204, "")
        assert answer.headers["access-control-allow-methods"] == "GET, POST"
        assert answer.headers["access-control-allow-headers"] == "x-a"
        assert "access-control-allow-credentials" not in answer.headers


async def test_without_cors_no_answer_speaks_of_it(site: Site) -> None:
    answer = await request(site.server, "GET", HANDSHAKE, headers=[("origin", "https://a.example")])
    assert not [name for name in answer.headers if name.startswith("access-control")]
