"""Hostile signatures, times, nonces and payloads over real sockets."""

import asyncio

import pytest

from tests.hostile.cases_messages import HOSTILE_TEXTS, MESSAGES, Message
from tests.hostile.raw import Member
from tests.hostile.stage import Stage

pytestmark = pytest.mark.xdist_group("hostile")


@pytest.mark.parametrize("case", MESSAGES, ids=lambda case: case.name)
async def test_a_hostile_message_is_refused_once_and_the_genuine_one_still_works(
    stage: Stage, bystander: Member, case: Message
) -> None:
    ip = stage.address({case.error: 1})
    async with stage.member(stage.person(), ip) as attacker:
        answer = await attacker.act(case.forge(stage, attacker))
        assert (answer["ok"], answer["error"]) == (False, case.error)
        assert stage.recorded(ip) == stage.expected[ip]
        # In a room of one's own: what is accepted must not reach the bystander either.
        assert (await attacker.act(attacker.sign("room_leave", {"room": "lobby"})))["ok"] is True
        assert (await attacker.act(attacker.sign("click", {"x": 1})))["ok"] is True
    stage.assert_clean("".join(attacker.frames))


async def test_each_bit_of_a_signature_counts_and_each_refusal_is_counted(
    stage: Stage, bystander: Member
) -> None:
    ip = stage.address({"invalid_signature": 256})
    async with stage.member(stage.person(), ip) as attacker:
        envelope = attacker.sign("click", {"x": 1})
        number = int(envelope["sig"], 16)
        for bit in range(256):
            flipped = {**envelope, "sig": f"{number ^ (1 << bit):064x}"}
            assert (await attacker.act(flipped))["error"] == "invalid_signature"
        await attacker.act(attacker.sign("room_leave", {"room": "lobby"}))
        assert (await attacker.act(envelope))["ok"] is True
    assert stage.await_recorded(ip) == stage.expected[ip]


async def test_the_same_message_works_on_no_other_socket_user_or_connection(
    stage: Stage, bystander: Member
) -> None:
    who, other = stage.cast["person1"], stage.cast["person1-elsewhere"]
    ip = stage.address({"invalid_signature": 3})
    async with stage.member(who, stage.address({})) as victim:
        captured = victim.sign("presence", {"state": "idle"})
    for principal in (who, other, stage.person()):
        async with stage.member(principal, ip) as attacker:
            assert (await attacker.act(captured))["error"] == "invalid_signature"


async def test_a_replay_is_refused_at_once_and_by_the_person_on_every_socket(
    stage: Stage, bystander: Member
) -> None:
    who, ip = stage.person(), stage.address({"replay_detected": 2})
    async with stage.member(who, ip) as one, stage.member(who, ip) as two:
        envelope = one.sign("presence", {"state": "idle"})
        assert (await one.act(envelope))["ok"] is True
        assert (await one.act(envelope))["error"] == "replay_detected"
        again = two.sign("presence", {"state": "idle"}, nonce=envelope["nonce"])
        assert (await two.act(again))["error"] == "replay_detected"


async def test_of_sixty_four_racers_with_one_nonce_exactly_one_is_accepted(
    stage: Stage, bystander: Member
) -> None:
    who, ip = stage.person(), stage.address({"replay_detected": 63})
    sockets = [stage.member(who, ip) for _ in range(8)]
    for socket in sockets:
        await socket.open()
    nonce = "race-" + "r" * 20
    answers = await asyncio.gather(
        *(
            socket.act(socket.sign("presence", {"state": "active"}, nonce=nonce))
            for socket in sockets
            for _ in range(8)
        )
    )
    for socket in sockets:
        await socket.close()
    errors = [answer.get("error", "") for answer in answers]
    assert (errors.count(""), errors.count("replay_detected")) == (1, 63)
    assert stage.await_recorded(ip) == stage.expected[ip]


async def test_another_persons_same_nonce_is_another_nonce(stage: Stage, bystander: Member) -> None:
    nonce = "shared-" + "n" * 20
    for name in ("person1", "person2"):
        async with stage.member(stage.cast[name], stage.address({})) as member:
            envelope = member.sign("presence", {"state": "active"}, nonce=nonce)
            assert (await member.act(envelope))["ok"] is True


async def test_a_bad_payload_has_burned_its_nonce_and_a_bad_signature_has_not(
    stage: Stage, bystander: Member
) -> None:
    expects = {"payload_invalid": 1, "replay_detected": 1, "invalid_signature": 1}
    ip = stage.address(expects)
    async with stage.member(stage.person(), ip) as attacker:
        bad = attacker.sign("presence", "{")
        answers = [(await attacker.act(bad))["error"] for _ in range(2)]
        assert answers == ["payload_invalid", "replay_detected"]
        good = attacker.sign("presence", {"state": "idle"})
        forged = {**good, "sig": "0" * 64}
        assert (await attacker.act(forged))["error"] == "invalid_signature"
        assert (await attacker.act(good))["ok"] is True


@pytest.mark.parametrize("offset_ms", [-13_000, 13_000])
async def test_inside_the_window_a_message_is_accepted(
    stage: Stage, bystander: Member, offset_ms: int
) -> None:
    async with stage.member(stage.person(), stage.address({})) as member:
        envelope = member.sign("presence", {"state": "active"}, ts=member.now_ms() + offset_ms)
        assert (await member.act(envelope))["ok"] is True


@pytest.mark.parametrize("name", sorted(HOSTILE_TEXTS))
async def test_hostile_text_in_what_is_refused_is_one_line_of_the_record(
    stage: Stage, bystander: Member, name: str
) -> None:
    text = HOSTILE_TEXTS[name]
    ip = stage.address({"malformed": 1, "unknown_type": 1})
    async with stage.member(stage.person(), ip) as attacker:
        envelope = {**attacker.sign("click"), text: text}
        assert (await attacker.act(envelope))["error"] == "malformed"
        assert (await attacker.call(text, text))["error"] == "unknown_type"
    stored = "".join(
        "".join(map(str, row))
        for row in stage.ask("SELECT event_type, detail FROM security_violation WHERE ip = ?", ip)
    )
    assert not any(character in stored for character in "\x1b\r\n\u202e")
    assert text not in stage.hub.output or text.isprintable()


async def test_without_an_ack_the_refusal_is_an_event(stage: Stage, bystander: Member) -> None:
    ip = stage.address({"malformed": 1})
    async with stage.member(stage.person(), ip) as attacker:
        await attacker.send('42["action",{}]')
        await attacker.until(lambda frame: frame.startswith('42["action_error"'))
        assert attacker.heard("action_error")[0]["error"] == "malformed"


async def test_the_person_is_told_what_happened_under_their_name(
    stage: Stage, bystander: Member
) -> None:
    who, ip = stage.cast["person1"], stage.address({"invalid_signature": 1})
    async with (
        stage.member(who, stage.address({})) as owner,
        stage.member(stage.cast["person1-elsewhere"], ip) as thief,
    ):
        await thief.act({**thief.sign("click"), "sig": "0" * 64})
        await owner.until(lambda frame: frame.startswith('42["security_notice"'))
        notice = owner.heard("security_notice")[0]
        assert (notice["kind"], notice["count"]) == ("invalid_signature", 1)


async def test_the_books_are_right(stage: Stage) -> None:
    assert stage.differences() == {}
    assert stage.domain() == stage.calm
    stage.assert_clean(stage.hub.output)
