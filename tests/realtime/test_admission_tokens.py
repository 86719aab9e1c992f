"""No token in any part of an address, at a handshake or later: addresses end up in logs."""

from typing import Any

from realtime.handshake import Handshake
from tests.realtime.guarded import Bench, settle

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


def scope(query: str) -> dict[str, Any]:
    return {
        "type": "websocket",
        "path": "/socket.io/",
        "query_string": f"EIO=4&transport=websocket&{query}".encode(),
        "headers": [(b"host", b"testserver")],
        "client": ("192.0.2.1", 1),
    }


async def test_a_token_behind_another_value_of_the_same_name_is_found(bench: Bench) -> None:
    handshake = Handshake.from_scope(scope(f"x=1&x={JWT}"))
    assert handshake.query["x"] == "1"
    assert await bench.policy.admit(handshake, now=bench.time.now) is not None
    assert bench.kinds() == ["token_in_url"]


async def test_a_later_request_holds_no_token_either(bench: Bench) -> None:
    peer = await bench.joined("ada")
    refused = bench.policy.readmit(Handshake.from_scope(scope(f"t={JWT}")), peer.session)
    await settle()
    assert refused is not None
    assert (refused.status, bench.kinds()) == (403, ["token_in_url"])
    assert peer.wires.code is None
