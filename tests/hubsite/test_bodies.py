"""Bodies are bounded while they stream in."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from hubsite.bodies import BoundedBodies
from security.violations import Incident

LIMIT = 10


@pytest.fixture(autouse=True)
def incidents(monkeypatch: pytest.MonkeyPatch) -> list[Incident]:
    reported: list[Incident] = []
    monkeypatch.setattr("security.violations.report", reported.append)
    return reported


class Exchange:
    """One request against an application that reads its whole body and answers with its size."""

    def __init__(self, *parts: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self._parts = list(parts)
        self.scope = {"type": "http", "method": "PUT", "path": "/x", "headers": headers}
        self.sent: list[Mapping[str, Any]] = []
        self.read = 0
        self.cut_off = False

    async def run(self) -> None:
        async def limit_of(_method: str, _path: str, _headers: Mapping[str, str]) -> int:
            return LIMIT

        await BoundedBodies(self._application, limit_of=limit_of)(
            self.scope, self._receive, self._send
        )

    async def _receive(self) -> Mapping[str, Any]:
        part = self._parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}

    async def _send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)

    async def _application(self, _scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.cut_off = True
                break
            self.read += len(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % self.read})

    @property
    def status(self) -> int:
        starts = [each for each in self.sent if each["type"] == "http.response.start"]
        assert len(starts) == 1
        return int(starts[0]["status"])


async def test_a_body_at_the_limit_passes(incidents: list[Incident]) -> None:
    exchange = Exchange(b"12345", b"67890")
    await exchange.run()
    assert (exchange.status, exchange.read, incidents) == (200, LIMIT, [])


async def test_a_body_without_a_declared_length_is_cut_off_by_count(
    incidents: list[Incident],
) -> None:
    exchange = Exchange(b"12345", b"678901", b"never read")
    await exchange.run()
    assert exchange.status == 413
    assert exchange.cut_off
    assert exchange.read == 5
    assert [each.kind for each in incidents] == ["payload_too_large"]


async def test_a_declared_length_is_refused_before_anything_is_read(
    incidents: list[Incident],
) -> None:
    exchange = Exchange(b"x" * 99, headers=((b"content-length", b"99"),))
    await exchange.run()
    assert exchange.status == 413
    assert exchange.read == 0
    assert orjson.loads(exchange.sent[1]["body"])["code"] == "payload_too_large"
    assert len(incidents) == 1


@pytest.mark.parametrize("declared", [b"-1", b"\xb2", b"ten", b""])
async def test_a_length_that_is_no_number_is_left_to_the_count(declared: bytes) -> None:
    exchange = Exchange(b"123", headers=((b"content-length", declared),))
    await exchange.run()
    assert exchange.status == 200
