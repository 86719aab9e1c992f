"""Who may open a transport, how fast it may speak, and with which code it is closed."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from realtime import arrivals
from realtime.guard import NEVER_MS
from realtime.handshake import Denial
from realtime.protocol import Closed, CloseReason
from realtime.protocol.errors import BadJson, PayloadTooLarge
from realtime.protocol.socketio import PacketType
from tests.realtime.guarded import Bench, _handshake, settle

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


async def denial(bench: Bench, **handshake: Any) -> Denial | None:
    return await bench.policy.admit(_handshake(**handshake), now=bench.time.now)


def headers(**more: str) -> dict[str, str]:
    return {"host": "testserver", **{name.replace("_", "-"): text for name, text in more.items()}}


async def test_a_native_client_without_origin_and_our_own_page_may_come(bench: Bench) -> None:
    assert await denial(bench) is None
    assert await denial(bench, headers=headers(origin="http://testserver")) is None


@pytest.mark.parametrize(
    "origin", ["https://testserver", "null", "http://evil.example", "http://testserver.evil", ""]
)
async def test_a_foreign_page_is_refused_and_the_record_says_what_to_change(
    bench: Bench, origin: str
) -> None:
    refused = await denial(bench, headers=headers(origin=origin))
    assert refused is not None
    assert (refused.status, refused.code) == (403, 4)
    [incident] = bench.incidents
    assert incident.kind == "origin_forbidden"
    assert incident.detail["setting"] == "HUB_ALLOWED_ORIGINS"
    assert incident.detail["seen"] == origin
    assert (incident.principal, incident.ip) == ("", "192.0.2.1")


async def test_native_clients_can_be_shut_out(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(allow_missing_origin=False)
    assert await denial(bench) is not None


@pytest.mark.parametrize(
    ("facts", "admitted"),
    [
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"sec_fetch_site": "same-origin", "host": "rebound.example"}, False),
        ({"sec_fetch_site": "same-origin", "origin": "http://evil.example"}, False),
    ],
)
async def test_our_own_page_may_poll_without_an_origin_when_its_browser_says_whose_it_is(
    make_bench: Callable[..., Bench], facts: dict[str, str], admitted: bool
) -> None:
    bench = make_bench(allow_missing_origin=False)
    refused = await denial(bench, headers=headers(**facts))
    assert (refused is None) is admitted


@pytest.mark.parametrize(
    ("origin", "kinds"),
    [(None, []), ("http://testserver", []), ("http://evil.example", ["origin_forbidden"])],
)
async def test_a_later_request_of_a_session_comes_from_our_own_pages_too(
    bench: Bench, origin: str | None, kinds: list[str]
) -> None:
    peer = await bench.joined()
    request = _handshake(headers=headers(**({"origin": origin} if origin else {})))
    refused = bench.policy.readmit(request, peer.session)
    await settle()
    assert (refused.status if refused else None, bench.kinds()) == (403 if kinds else None, kinds)


@pytest.mark.parametrize(
    "query",
    [
        {"token": "x"},
        {"Token": "x"},
        {"access_token": "x"},
        {"jwt": ""},
        {"auth": "x"},
        {"t": JWT},
        {"anything": JWT},
    ],
)
async def test_a_token_in_the_address_is_refused_whatever_it_is_called(
    bench: Bench, query: dict[str, str]
) -> None:
    refused = await denial(bench, query={"EIO": "4", "transport": "websocket", **query})
    assert refused is not None
    assert refused.status == 403
    assert bench.kinds() == ["token_in_url"]
    assert JWT not in str(bench.incidents[0])


async def test_handshakes_of_an_address_are_limited_and_say_when_to_return(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(handshakes_per_s=1.0, handshake_burst=2)
    assert [await denial(bench) for _ in range(2)] == [None, None]
    refused = await denial(bench)
    assert refused is not None
    assert (refused.status, refused.retry_after_ms, bench.kinds()) == (429, 1_000, ["rate_limited"])
    assert await denial(bench, peer="192.0.2.2") is None


class Elsewhere:
    """Rates or penalties that other processes know of, and that take a while to answer."""

    def __init__(self, wait_ms: int) -> None:
        self.wait_ms = wait_ms
        self.asked: list[object] = []

    async def take(self, ip: str | None, _now: float) -> int:
        self.asked.append(ip)
        await asyncio.sleep(0)
        return self.wait_ms


@pytest.mark.parametrize("wait_ms", [0, 700])
async def test_handshakes_may_be_counted_together_with_other_processes(
    make_bench: Callable[..., Bench], wait_ms: int
) -> None:
    rates = Elsewhere(wait_ms)
    refused = await denial(make_bench(handshakes=rates))
    assert rates.asked == ["192.0.2.1"]
    assert (refused.retry_after_ms if refused else 0) == wait_ms
    assert refused is None or (refused.status, refused.close_code) == (429, None)


async def test_a_forged_forwarded_address_does_not_count_from_an_untrusted_peer(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(handshakes_per_s=1.0, handshake_burst=1)
    await denial(bench)
    assert await denial(bench, headers=headers(x_forwarded_for="203.0.113.9")) is not None
    assert bench.incidents[0].ip == "192.0.2.1"


async def test_a_trusted_proxys_word_counts(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(trusted_proxies=("192.0.2.1",), handshakes_per_s=1.0, handshake_burst=1)
    await denial(bench, headers=headers(x_forwarded_for="203.0.113.8"))
    assert await denial(bench, headers=headers(x_forwarded_for="203.0.113.9")) is None
    session: Any = bench.node.open(_handshake(headers=headers(x_forwarded_for="203.0.113.9")))
    assert session.policy_state.ip == "203.0.113.9"


async def test_connections_that_prove_nothing_are_counted_by_address(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(unauthenticated_per_ip=2)
    first, second = bench.peer(), bench.peer()
    refused = await denial(bench)
    assert refused is not None
    assert (refused.status, refused.close_code) == (429, 4429)
    assert bench.kinds() == ["too_many_connections"]
    await first.connect()
    assert await denial(bench) is None
    second.lose()
    first.lose()
    assert not bench.policy._unproved


async def test_a_full_process_asks_to_try_again_without_blame(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(sockets_per_process=1)
    peer = bench.peer()
    refused = await denial(bench)
    assert refused is not None
    assert (refused.status, refused.retry_after_ms, bench.incidents) == (503, 2_000, [])
    peer.lose()
    assert await denial(bench) is None


async def test_a_process_that_many_come_to_at_once_asks_to_try_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "IN_LINE", 1 - arrivals.AT_ONCE)
    assert await denial(bench) is None
    async with bench.policy._arrivals.place():
        refused = await denial(bench)
    assert refused is not None
    assert (refused.status, refused.retry_after_ms, bench.incidents) == (503, 2_000, [])
    assert await denial(bench) is None


async def test_a_connection_that_joins_nothing_in_time_is_closed_on_record(bench: Bench) -> None:
    peer = bench.peer()
    await bench.advance(5.0)
    assert peer.wires.code == 4408
    assert [(each.kind, each.detail) for each in bench.incidents] == [
        ("auth_required", {"reason": "connect_deadline"})
    ]


# Frames that break the protocol: the close code and the kind of the record.
FAULTS: list[tuple[str | bytes, int, str]] = [
    ("", 4400, "malformed"),
    ("9", 4400, "malformed"),
    ("\u00b2", 4400, "malformed"),
    ("\uff14" + "2[]", 4400, "malformed"),
    ("2", 4400, "malformed"),
    ("4", 4400, "malformed"),
    ("49", 4400, "malformed"),
    ("42{}", 4400, "malformed"),
    ("42[]", 4400, "malformed"),
    ("42[null]", 4400, "malformed"),
    ('42["connect"]', 4400, "malformed"),
    ('42["disconnecting"]', 4400, "malformed"),
    ('4299999999999999999999["action"]', 4400, "malformed"),
    ('45["action"]', 4400, "malformed"),
    ('4511-["action"]', 4400, "malformed"),
    ('42/engine,["action"]', 4400, "malformed"),
    ("40", 4400, "malformed"),
    ("44{}", 4400, "malformed"),
    (b"\x00", 4400, "malformed"),
    ("4" + "2" * 1_000_000, 1009, "payload_too_large"),
]


@pytest.mark.parametrize(("frame", "code", "kind"), FAULTS)
async def test_what_breaks_the_protocol_closes_and_is_recorded_once(
    bench: Bench, frame: str | bytes, code: int, kind: str
) -> None:
    peer, other = await bench.joined("ada"), await bench.joined("grace")
    peer.send(frame)
    await settle()
    assert peer.wires.code == code
    assert [(each.kind, each.principal) for each in bench.incidents] == [(kind, "user:1")]
    assert peer.heard("goodbye")[0]["code"] == code
    assert (await other.act("click"))["ok"] is True


@pytest.mark.parametrize(
    ("detail", "kinds"),
    [
        ("code 1009", ["payload_too_large"]),
        ("code 1002", ["malformed"]),
        ("code 1007", ["malformed"]),
        ("code 1008", ["malformed"]),
        ("code 1000", []),
        ("code 1001", []),
        ("code 1005", []),
    ],
)
async def test_a_frame_that_the_asgi_server_refused_is_on_record_too(
    bench: Bench, detail: str, kinds: list[str]
) -> None:
    peer = await bench.joined()
    peer.session.lose(CloseReason.TRANSPORT_CLOSE, detail)
    await settle()
    assert bench.kinds() == kinds


async def test_a_slow_reader_is_on_record(bench: Bench) -> None:
    peer = await bench.joined()
    peer.session.is_slow()
    await settle()
    assert (bench.kinds(), peer.wires.code) == (["slow_consumer"], 4410)


@pytest.mark.parametrize(
    ("closed", "code"),
    [
        (Closed(CloseReason.FORCED_CLOSE, "", (), PayloadTooLarge), 1009),
        (Closed(CloseReason.FORCED_CLOSE, "", (), BadJson), 4400),
        (Closed(CloseReason.PING_TIMEOUT, "", ()), 4408),
        (Closed(CloseReason.FORCED_SERVER_CLOSE, "", ()), 4408),
        (Closed(CloseReason.TRANSPORT_CLOSE, "", ()), 1000),
    ],
)
async def test_each_way_to_close_has_its_code(bench: Bench, closed: Closed, code: int) -> None:
    assert bench.policy.close_code(closed) == code


async def test_a_refused_connect_leaves_a_connection_alone_on_which_something_is_joined(
    bench: Bench,
) -> None:
    def close(*_code: object, **_detail: object) -> None:
        pytest.fail("closed")

    session: Any = SimpleNamespace(sockets={"/": 1}, close=close)
    bench.policy.refused(session, SimpleNamespace(message="AUTH_INVALID"))  # type: ignore[arg-type]  # only its message counts


@pytest.mark.parametrize(
    ("packet", "messages", "size", "pause"),
    [
        (PacketType.EVENT, 1, 100, 0),
        (PacketType.EVENT, 0, 100, 1_000),
        (PacketType.EVENT, 1, 3_000, 20_000),
        (PacketType.EVENT, 0, 3_000, 20_000),
        (PacketType.EVENT, 0, 1_050, 1_000),
        (PacketType.ACK, 0, 100, 0),
        (PacketType.BINARY_EVENT, 1, 100, NEVER_MS),
    ],
)
async def test_events_wait_for_the_slower_of_both_buckets(
    make_bench: Callable[..., Bench], packet: PacketType, messages: int, size: int, pause: int
) -> None:
    bench = make_bench(bytes_per_s=100.0, byte_burst=1_000, messages_per_s=1.0, message_burst=1)
    session = bench.peer().session
    if not messages:
        session.policy_state.messages.take(bench.time.now)
    assert bench.policy.meter(session)(packet, size, bench.time.now) == pause


@pytest.mark.parametrize("frame", ["3", "431[]", "6"])
async def test_packets_that_need_no_answer_are_not_endless_either(
    make_bench: Callable[..., Bench], frame: str
) -> None:
    bench = make_bench(messages_per_s=1.0, message_burst=2)
    peer, other = await bench.joined(), await bench.joined("grace")
    for _ in range(30):  # the CONNECT was one
        peer.send(frame)
    assert peer.wires.code is None
    for _ in range(10):
        peer.send(frame)
    await settle()
    assert (peer.wires.code, bench.kinds()) == (4400, ["malformed"])
    assert bench.incidents[0].detail == {"reason": "TooManyPackets"}
    assert not peer.wires.aborted
    await bench.advance(1.0)
    assert peer.wires.aborted
    assert (await other.act("click"))["ok"] is True


async def test_a_calm_peer_may_answer_for_ever(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(messages_per_s=1.0, message_burst=2)
    peer = await bench.joined()
    for _ in range(38):
        peer.send("3")
    for _ in range(20):
        await bench.advance(1.0)
        peer.send("3")
    assert peer.wires.code is None


async def test_who_leaves_before_proving_anything_is_on_no_record(bench: Bench) -> None:
    bench.peer().lose()
    await settle()
    assert bench.incidents == []


async def test_a_proved_connection_that_we_close_is_on_no_record(bench: Bench) -> None:
    peer = await bench.joined()
    peer.session.close(1012, CloseReason.FORCED_SERVER_CLOSE)
    await settle()
    assert bench.incidents == []


async def test_a_later_request_may_lack_the_origin_that_the_first_needed(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(allow_missing_origin=False)
    peer = await bench.joined()
    assert bench.policy.readmit(_handshake(), peer.session) is None


async def test_a_refused_handshake_without_an_address_is_recorded_without_one(
    bench: Bench,
) -> None:
    await denial(bench, peer=None, headers=headers(origin="null"))
    assert bench.incidents[0].ip is None
