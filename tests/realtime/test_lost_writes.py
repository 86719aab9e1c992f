"""A write that fails because the server has closed does not hide why it has."""

import asyncio
from typing import Any

from realtime.consumers import _lose_soon
from realtime.protocol import CloseReason


class Session:
    """Keeps why it was lost; the first reason counts, as in the real one."""

    def __init__(self) -> None:
        self.reasons: list[tuple[CloseReason, str]] = []

    def lose(self, reason: CloseReason, detail: str = "") -> None:
        self.reasons.append((reason, detail))


async def test_the_servers_close_code_is_heard_before_the_failed_write() -> None:
    session: Any = Session()
    disconnects: asyncio.Queue[int] = asyncio.Queue()

    async def pump() -> None:
        session.lose(CloseReason.TRANSPORT_CLOSE, f"code {await disconnects.get()}")

    pumping = asyncio.create_task(pump())
    await asyncio.sleep(0)
    disconnects.put_nowait(1009)  # what the server says as it closes
    _lose_soon(session)  # and what the writer finds in the same turn of the loop
    await pumping
    await asyncio.sleep(0)
    assert session.reasons == [
        (CloseReason.TRANSPORT_CLOSE, "code 1009"),
        (CloseReason.TRANSPORT_ERROR, "the write failed"),
    ]
