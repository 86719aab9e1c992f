"""Bodies of requests, counted as they come, and answers that nobody caches."""

from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from realtime.answers import (
    PATIENCE,
    Answer,
    BodyTooLarge,
    ClientGone,
    deny,
    read_body,
    refusal,
    until_gone,
)
from realtime.handshake import Denial

LIMIT = 10
FORBIDDEN = Denial(403, 4, "Forbidden")
LATER = Denial(429, 4, "Later", retry_after_ms=1_001)


class Client:
    """Sends what a test gives it, and keeps what it is answered."""

    def __init__(self, chunks: Iterable[bytes | None] = ()) -> None:
        self.coming = list(chunks)
        self.answers: list[dict[str, Any]] = []
        self.gone = False

    async def receive(self) -> dict[str, Any]:
        if not self.coming or (chunk := self.coming.pop(0)) is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(self.coming)}

    async def send(self, message: dict[str, Any]) -> None:
        if self.gone:
            raise OSError
        self.answers.append(message)

    async def read(self, declared: str | None = None) -> bytes:
        return await read_body(self.receive, limit=LIMIT, declared=declared)


@pytest.mark.parametrize("chunks", [[b""], [b"0123456789"], [b"01234", b"", b"56789"]])
async def test_a_body_is_all_its_chunks(chunks: list[bytes]) -> None:
    assert await Client(chunks).read() == b"".join(chunks)


@pytest.mark.parametrize(
    ("chunks", "declared"),
    [
        ([b"0123456789", b"x"], None),
        ([b"0123456789", b"x"], "3"),
        ([b"short"], "11"),
        ([b"x" * 11, b"y"], "nonsense"),
    ],
)
async def test_too_much_is_too_much_whatever_was_declared(
    chunks: list[bytes], declared: str | None
) -> None:
    client = Client(chunks)
    with pytest.raises(BodyTooLarge):
        await client.read(declared)
    assert client.coming == []  # read to its end, or the client would not see the answer


async def test_nobody_reads_for_ever() -> None:
    client = Client([b"x" * LIMIT] * 100)
    with pytest.raises(BodyTooLarge):
        await client.read()
    assert len(client.coming) == 100 - PATIENCE - 1


async def test_a_client_that_goes_leaves_no_body() -> None:
    with pytest.raises(ClientGone):
        await Client([b"half", None]).read()


async def test_an_answer_has_a_length_and_is_not_kept() -> None:
    client = Client()
    await Answer(200, b"ok").send(client.send, [(b"x-more", b"1")])
    start, body = client.answers
    assert dict(start["headers"]) == {
        b"content-type": b"text/plain; charset=UTF-8",
        b"content-length": b"2",
        b"cache-control": b"no-store",
        b"x-more": b"1",
    }
    assert (start["status"], body["body"]) == (200, b"ok")


def test_a_refusal_is_json_and_says_when_to_come_back_in_whole_seconds() -> None:
    assert orjson.loads(refusal(LATER).body) == {"code": 4, "message": "Later"}
    assert refusal(LATER).headers == ((b"retry-after", b"2"),)
    assert (refusal(FORBIDDEN).headers, refusal(FORBIDDEN).content_type) == (
        (),
        b"application/json",
    )


async def test_who_waits_hears_that_the_client_has_gone() -> None:
    heard: list[bool] = []
    await until_gone(Client([b"", None]).receive, lambda: heard.append(True))
    assert heard == [True]


@pytest.mark.parametrize(
    ("extensions", "types"),
    [
        ({"websocket.http.response": {}}, ["http.response.start", "http.response.body"]),
        ({}, ["close"]),
        (None, ["close"]),
    ],
)
async def test_a_websocket_is_refused_with_a_status_where_the_server_can(
    extensions: Any, types: list[str]
) -> None:
    client = Client()
    await deny(FORBIDDEN, {"extensions": extensions}, client.send)
    assert [each["type"] for each in client.answers] == [f"websocket.{name}" for name in types]


async def test_a_refusal_with_a_code_is_accepted_first() -> None:
    client = Client()
    await deny(Denial(429, 4, "Too many", close_code=4429), {}, client.send)
    assert [each.get("code") for each in client.answers] == [None, 4429]


async def test_a_refused_peer_that_has_gone_is_no_error() -> None:
    client = Client()
    client.gone = True
    await deny(FORBIDDEN, {"extensions": {"websocket.http.response": {}}}, client.send)
    await deny(Denial(429, 4, "Too many", close_code=4429), {}, client.send)
    assert client.answers == []
