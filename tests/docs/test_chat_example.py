"""The example of the layer alone does what its chapter says, for a client that people use."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import socketio

from tests.conformance.echo_process import COMMANDS, running

WITHIN_S = 30.0
CHAT = "docs.examples.chat:application"


@pytest.fixture(scope="module", params=list(COMMANDS))
def origin(request: pytest.FixtureRequest) -> Iterator[str]:
    with running(request.param, CHAT) as origin:
        yield origin


class Guest:
    """Somebody in the chat, who answers questions if told to."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self.heard: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.answer: str | None = None
        self.client.on("*", self._hear, namespace="/chat")
        self.client.on("question", self._question, namespace="/chat")
        self.client.on("disconnect", self._gone, namespace="/chat")

    async def _hear(self, event: str, *args: Any) -> None:
        self.heard.put_nowait([event, *args[:-1]])  # without the offset

    async def _question(self, question: str) -> str:
        if self.answer is None:
            await asyncio.Event().wait()
        return f"{question} {self.answer}"

    async def _gone(self, reason: str) -> None:
        self.heard.put_nowait(["gone by itself", reason])

    async def next(self) -> list[Any]:
        async with asyncio.timeout(WITHIN_S):
            return await self.heard.get()

    async def ask(self, event: str, *args: Any) -> Any:
        return await self.client.call(event, args, namespace="/chat", timeout=WITHIN_S)

    async def tell(self, event: str, *args: Any) -> None:
        await self.client.emit(event, args, namespace="/chat")


@asynccontextmanager
async def guest(origin: str, name: Any) -> AsyncIterator[Guest]:
    guest = Guest()
    refusals: asyncio.Queue[Any] = asyncio.Queue()
    guest.client.on("connect_error", refusals.put_nowait, namespace="/chat")
    try:
        await guest.client.connect(origin, auth={"name": name}, namespaces=["/chat"])
    except socketio.exceptions.ConnectionError:
        raise ConnectionRefusedError(refusals.get_nowait()) from None
    try:
        assert await guest.next() == ["welcome", name]
        yield guest
    finally:
        await guest.client.disconnect()


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        (None, {"message": "who are you?", "data": {"code": "NAME_MISSING"}}),
        ("mallory", {"message": "banned", "data": {"code": "BANNED", "address": "127.0.0.1"}}),
    ],
)
async def test_it_says_why_it_refuses(origin: str, name: Any, refusal: dict[str, Any]) -> None:
    with pytest.raises(ConnectionRefusedError) as refused:
        async with guest(origin, name):
            pass
    assert refused.value.args == (refusal,)


async def test_what_one_says_the_others_hear(origin: str) -> None:
    async with guest(origin, "ada") as ada, guest(origin, "grace") as grace:
        assert await ada.next() == ["arrived", "grace"]
        assert await ada.ask("say", "hello") == "delivered"
        assert await grace.next() == ["said", "ada", "hello"]
        await ada.tell("typing")
        await ada.tell("say", "more")
        heard = [await grace.next()]
        if heard[0][0] == "typing":  # which may be dropped
            heard.append(await grace.next())
        assert heard[-1] == ["said", "ada", "more"]
        assert ada.heard.empty()


async def test_a_room_is_left_for_another(origin: str) -> None:
    async with guest(origin, "ada") as ada, guest(origin, "grace") as grace:
        await ada.next()
        assert await ada.ask("move", "cellar") == ["cellar"]
        await grace.ask("say", "into the lobby")
        await ada.ask("move", "lobby")
        await grace.ask("say", "again")
        assert await ada.next() == ["said", "grace", "again"]


@pytest.mark.parametrize(("answer", "told"), [("42", "6 x 7? 42"), (None, "no answer")])
async def test_the_server_asks_and_waits_no_longer_than_it_says(
    origin: str, answer: str | None, told: str
) -> None:
    async with guest(origin, "ada") as ada:
        ada.answer = answer
        await ada.tell("quiz", "6 x 7?")
        assert await ada.next() == ["answered", "ada", told]


async def test_what_nobody_handles_goes_to_the_wildcard(origin: str) -> None:
    async with guest(origin, "ada") as ada:
        assert await ada.ask("dance", 1, 2) == ("unknown event", "dance", 2)
        assert await ada.ask("say") == ("unknown event", "say", 0)


@pytest.mark.parametrize("word", ["bye", "quit"])
async def test_the_server_lets_a_client_go(origin: str, word: str) -> None:
    async with guest(origin, "ada") as ada, guest(origin, "grace") as grace:
        await grace.tell(word)
        assert await ada.next() == ["arrived", "grace"]
        assert await ada.next() == ["gone", "grace", "server namespace disconnect"]
        assert await grace.next() == ["gone by itself", "server disconnect"]
