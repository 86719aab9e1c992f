"""A namespace that does whatever a test asks for, and keeps what it was told."""

import asyncio
from typing import Any

from realtime.namespaces import Ack, ConnectionRefused, Namespace, Socket, on


class Room(Namespace[dict[str, Any]]):
    """Does whatever a test asks for."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.sockets: list[Socket[Any]] = []
        self.ended: list[str] = []
        self.refused: list[tuple[int | None, int]] = []
        self.failures: list[Exception] = []
        self.broken_hooks = False

    async def authorize(
        self, socket: Socket[dict[str, Any]], auth: dict[str, Any] | None
    ) -> dict[str, Any]:
        if auth and "refuse" in auth:
            raise ConnectionRefused("no", auth["refuse"])
        if auth and auth.get("slow"):
            await self.gate.wait()
        return auth or {}

    async def joined(self, socket: Socket[dict[str, Any]]) -> None:
        self.sockets.append(socket)
        if socket.state.get("greet"):
            socket.emit("welcome")

    def left(self, socket: Socket[dict[str, Any]], reason: str) -> None:
        self.ended.append(reason)
        if self.broken_hooks:
            raise RuntimeError

    def failed(self, socket: Socket[dict[str, Any]], error: Exception) -> None:
        self.failures.append(error)
        if self.broken_hooks:
            raise RuntimeError

    def closing(self, socket: Socket[dict[str, Any]], code: int, reason: str) -> None:
        if self.broken_hooks:
            raise RuntimeError

    def throttled(
        self, socket: Socket[dict[str, Any]], ack_id: int | None, retry_after_ms: int
    ) -> None:
        self.refused.append((ack_id, retry_after_ms))

    @on("echo")
    def echo(self, socket: Socket[Any], *args: Any) -> Ack:
        return Ack(*args)

    @on("wait")
    async def wait(self, socket: Socket[Any], value: int) -> Ack:
        await self.gate.wait()
        return Ack(value)

    @on("raise")
    def fail(self, socket: Socket[Any]) -> None:
        raise ValueError

    @on("raise later")
    async def fail_later(self, socket: Socket[Any]) -> None:
        await asyncio.sleep(0)
        raise ValueError

    @on("unsendable")
    def unsendable(self, socket: Socket[Any]) -> Ack:
        return Ack(object())


class Side(Room):
    """A second namespace."""

    name = "/side"
