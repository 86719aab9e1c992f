"""Hostile frames over real sockets, down to bytes that no WebSocket library sends."""

import asyncio
import struct

import pytest

from tests.hostile.cases_framing import FRAMINGS, HARMLESS, TOO_EARLY, Frame, Framing
from tests.hostile.raw import ADDRESS, Member, Raw
from tests.hostile.stage import Stage

pytestmark = pytest.mark.xdist_group("hostile")

TEXT, BINARY, CONTINUE, PING, FINAL = 0x1, 0x2, 0x0, 0x9, 0x80


def websocket_frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A masked frame by hand (RFC 6455, 5.2), with a mask of zeros."""
    head = bytes([opcode | (FINAL if final else 0)])
    if len(payload) < 126:
        size = bytes([0x80 | len(payload)])
    elif len(payload) < 2**16:
        size = bytes([0x80 | 126]) + struct.pack(">H", len(payload))
    else:
        size = bytes([0x80 | 127]) + struct.pack(">Q", len(payload))
    return head + size + b"\0" * 4 + payload


EMPTY_FRAGMENT = websocket_frame(CONTINUE, b"", final=False)


@pytest.mark.parametrize("case", FRAMINGS, ids=lambda case: case.name)
async def test_a_hostile_frame_ends_its_connection_only(
    stage: Stage, bystander: Member, case: Framing
) -> None:
    ip = stage.address({case.kind: case.count})
    async with stage.member(stage.person(), ip) as attacker:
        await attacker.send_all(*case.frames)
        assert await attacker.closed() == case.code
        goodbyes = attacker.heard("goodbye")
        assert [each["code"] for each in goodbyes] in ([case.code], [])
    stage.assert_clean("".join(attacker.frames))


@pytest.mark.parametrize("case", TOO_EARLY, ids=lambda case: case.name)
async def test_who_has_not_joined_may_only_connect(
    stage: Stage, bystander: Member, case: Framing
) -> None:
    ip = stage.address({case.kind: 1})
    async with stage.raw(ip) as attacker:
        await attacker.send_all(*case.frames)
        assert await attacker.closed() == case.code


@pytest.mark.parametrize(("name", "frames"), HARMLESS, ids=[name for name, _ in HARMLESS])
async def test_a_frame_without_meaning_does_no_harm(
    stage: Stage, bystander: Member, name: str, frames: tuple[Frame, ...]
) -> None:
    ip = stage.address({})
    async with stage.member(stage.person(), ip) as member:
        await member.send_all(*frames)
        assert (await member.call("heartbeat"))["ok"] is True


@pytest.mark.parametrize(
    "packet",
    [
        '451-["action",{"_placeholder":true,"num":0}]',
        '451-["action",{"_placeholder":true,"num":7}]',
        '451-["action",{"_placeholder":true,"num":-1}]',
        '451-["heartbeat"]',
    ],
)
async def test_binary_is_malformed_here_and_the_connection_goes_on(
    stage: Stage, bystander: Member, packet: str
) -> None:
    ip = stage.address({"malformed": 1})
    async with stage.member(stage.person(), ip) as attacker:
        await attacker.send_all(packet, b"\0" * 100)
        await attacker.until(lambda frame: frame.startswith('42["action_error"'))
        assert attacker.heard("action_error")[0]["error"] == "malformed"
        assert (await attacker.call("heartbeat"))["ok"] is True


@pytest.mark.parametrize(
    ("name", "sent", "code", "kind"),
    [
        ("text that is not UTF-8", [websocket_frame(TEXT, b'42["\xff\xfe"]')], 1007, "malformed"),
        (
            "fragments that are too long together",
            [
                websocket_frame(TEXT, b"4" + b"x" * 400_000, final=False),
                websocket_frame(CONTINUE, b"x" * 400_000, final=False),
                websocket_frame(CONTINUE, b"x" * 400_000),
            ],
            1009,
            "payload_too_large",
        ),
        ("two million bytes", [websocket_frame(BINARY, b"\0" * 2**21)], 1009, "payload_too_large"),
        (
            "two thousand empty fragments",
            [websocket_frame(TEXT, b"4", final=False), *[EMPTY_FRAGMENT] * 2_000],
            1008,
            "malformed",
        ),
        ("a thousand pings", [websocket_frame(PING, b"x" * 125)] * 1_000, 1008, "malformed"),
        ("a reserved opcode", [websocket_frame(0x3, b"x")], 1002, "malformed"),
    ],
)  # fmt: skip
async def test_bytes_that_break_the_websocket_end_it_on_record(
    stage: Stage, bystander: Member, name: str, sent: list[bytes], code: int, kind: str
) -> None:
    ip = stage.address({kind: 1})
    async with stage.member(stage.person(), ip) as attacker:
        for part in sent:
            attacker.transport.write(part)
        assert await attacker.closed() == code
    assert stage.await_recorded(ip) == stage.expected[ip]


async def test_a_message_in_many_fragments_is_one_message(stage: Stage, bystander: Member) -> None:
    async with stage.member(stage.person(), stage.address({})) as member:
        packet = b'420["heartbeat"]'
        member.transport.write(websocket_frame(TEXT, packet[:1], final=False))
        for byte in packet[1:-1]:
            member.transport.write(websocket_frame(CONTINUE, bytes([byte]), final=False))
            member.transport.write(websocket_frame(CONTINUE, b"", final=False))
        member.transport.write(websocket_frame(CONTINUE, packet[-1:]))
        assert (await member.answer(0))["ok"] is True


async def test_compression_is_offered_and_not_taken(stage: Stage, bystander: Member) -> None:
    client = stage.raw(stage.address({}))
    await client.open(compression="deflate")
    assert "sec-websocket-extensions" not in client._socket.response.headers
    await client.close()


async def test_two_thousand_half_finished_handshakes_keep_nobody_out(
    stage: Stage, bystander: Member
) -> None:
    host, _, port = stage.hub.url.removeprefix("http://").rpartition(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(2_000)]
    for _, writer in opened:
        writer.write(f"GET {ADDRESS} HTTP/1.1\r\nHost: {host}\r\n".encode())
    assert (await bystander.call("heartbeat"))["ok"] is True
    for _, writer in opened:
        writer.close()
        await writer.wait_closed()


async def test_connecting_and_leaving_many_times_leaves_no_trace(
    stage: Stage, bystander: Member
) -> None:
    for _ in range(50):
        async with Raw(stage.hub.url, ip=stage.address({})):
            pass
    assert (await bystander.call("heartbeat"))["ok"] is True


async def test_the_books_are_right(stage: Stage) -> None:
    assert stage.differences() == {}
    assert stage.domain() == stage.calm
    stage.assert_clean(stage.hub.output)
