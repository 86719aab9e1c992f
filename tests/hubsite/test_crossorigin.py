"""Pages of allowed origins read the API's answers, refusals included; nobody else does."""

from typing import Any

import pytest

from hubsite.crossorigin import CrossOrigin
from realtime.cors import Cors

PAGE = "https://page.example"
ALLOWED = (b"access-control-allow-origin", PAGE.encode())
WANTS_TO_POST = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization",
}


async def refuses(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 401, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def ask(
    path: str = "/api/token/", *, method: str = "POST", **headers: str
) -> tuple[int, list[tuple[bytes, bytes]]]:
    """The status and headers that a client gets."""
    said: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    names = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "method": method, "headers": names}
    app = CrossOrigin(refuses, cors=Cors(origins=[PAGE]))
    await app(scope, None, send)
    assert [each["type"] for each in said] == ["http.response.start", "http.response.body"]
    return said[0]["status"], said[0]["headers"]


async def test_an_allowed_page_may_read_a_refusal() -> None:
    assert await ask(origin=PAGE) == (401, [(b"x-own", b"1"), (b"vary", b"Origin"), ALLOWED])


@pytest.mark.parametrize("origin", ["https://evil.example", f"{PAGE}.evil", "null"])
async def test_no_other_page_may(origin: str) -> None:
    assert ALLOWED[0] not in dict((await ask(origin=origin))[1])


async def test_a_preflight_is_answered_without_asking_anybody() -> None:
    status, headers = await ask(method="OPTIONS", origin=PAGE, **WANTS_TO_POST)
    said = dict(headers)
    assert (status, said[ALLOWED[0]]) == (204, ALLOWED[1])
    assert said[b"access-control-allow-headers"] == b"authorization"


async def test_an_options_request_that_is_no_preflight_goes_its_way() -> None:
    assert (await ask(method="OPTIONS", origin=PAGE))[0] == 401


async def test_pages_of_the_hub_are_not_the_api() -> None:
    assert await ask("/admin/", origin=PAGE) == (401, [(b"x-own", b"1")])


async def test_nothing_is_said_where_no_other_origin_is_allowed() -> None:
    said: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    scope = {"type": "http", "path": "/api/time/", "method": "GET", "headers": []}
    await CrossOrigin(refuses, cors=None)(scope, None, send)
    assert said[0]["headers"] == [(b"x-own", b"1")]
