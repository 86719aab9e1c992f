"""What a Django developer writes: a Namespace, its event handlers, and the sockets it meets.

    class Chat(Namespace[None]):
        name = "/chat"

        async def authorize(self, socket, auth):
            if auth != {"room": "open"}:
                raise ConnectionRefused("closed", {"code": "FORBIDDEN"})

        @on("message")
        def message(self, socket, text):
            socket.namespace.broadcast(["lobby"], "message", text, without=[socket.id])
            return Ack("delivered")

A handler is a plain function where it never waits (the fast path: it runs at once), or a coroutine
where it does (it runs apart from the wire loop; the messages of one socket stay in order).
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

from realtime.fanout import EVERYONE
from realtime.protocol import Frame

if TYPE_CHECKING:  # the two know each other; at run time only the session imports
    from realtime.node import Node
    from realtime.sessions import Session

__all__ = ["Ack", "ConnectionRefused", "Middleware", "Namespace", "Result", "Socket", "on"]

S = TypeVar("S")
ANY_EVENT = "*"


@dataclass(slots=True)  # as good as frozen, which would double the cost of making one per message
class Ack:
    """A handler's answer to the sender; sent only if an acknowledgement was asked for."""

    args: tuple[Any, ...]

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - whatever the wire can carry
        self.args = args


Result: TypeAlias = Ack | None
Handler: TypeAlias = Callable[..., Result | Awaitable[Result]]
Middleware: TypeAlias = Callable[["Socket[Any]", dict[str, Any] | None], Awaitable[None]]


class ConnectionRefused(Exception):
    """Raised by ``authorize``: the CONNECT_ERROR's message and data."""

    def __init__(self, message: str, data: dict[str, Any] | None = None) -> None:
        self.message, self.data = message, data
        super().__init__(message)


class Socket(Generic[S]):
    """One client's membership of one namespace. ``state`` is what ``authorize`` returned.

    ``recovered`` tells whether it goes on after a break (see ``Server``, ``recovery``).
    """

    __slots__ = (
        "__weakref__",
        "connected",
        "entered",
        "id",
        "namespace",
        "pid",
        "recovered",
        "rooms",
        "session",
        "state",
    )

    def __init__(self, namespace: "Namespace[S]", session: "Session", socket_id: str) -> None:
        self.namespace = namespace
        self.session = session
        self.id = socket_id
        self.rooms: set[str] = set()
        # When it came into each room, where that is to be remembered over a break.
        self.entered: dict[str, float] | None = None
        self.connected = False
        self.recovered = False
        self.pid: str | None = None
        self.state: S

    def emit(self, event: str, *args: Any, volatile: bool = False) -> None:  # noqa: ANN401 - whatever the wire can carry
        """Send an event; dropped when the socket has left, a volatile one also when others wait."""
        if not self.connected or (volatile and not self.session.writable):
            return
        name, node = self.namespace.name, self.session.node
        if node.recovery is None or volatile:
            self.session.emit(name, [event, *args])
        else:
            frames = node.recovery.record(name, [event, *args], rooms=(self.id,), now=node.now())
            self.session.send_encoded(frames)

    def acknowledge(self, ack_id: int, *args: Any) -> None:  # noqa: ANN401 - whatever the wire can carry
        """Answer a message; for handlers that answer before they return, and at most once."""
        if self.connected:
            self.session.acknowledge(self.namespace.name, ack_id, args)

    async def call(self, event: str, *args: Any, timeout_s: float) -> list[Any]:  # noqa: ANN401 - as emit
        """Send an event and await its acknowledgement. Raises TimeoutError, or ConnectionError."""
        if not self.connected:
            raise ConnectionError(f"{self.id} has left {self.namespace.name}")
        return await self.session.call(self, [event, *args], timeout_s=timeout_s)

    def send_encoded(self, frames: Collection[Frame], *, volatile: bool = False) -> None:
        """Send frames that were encoded for many; volatile ones only if nothing waits."""
        if self.connected:
            self.session.send_encoded(frames, volatile=volatile)

    def join(self, room: str) -> None:
        """Enter a room of this namespace; entering twice is harmless."""
        if self.connected and room not in self.rooms:
            self.rooms.add(room)
            self.session.node.fanout.join(self.namespace.name, room, self)
            if self.entered is not None:
                self.entered.setdefault(room, self.session.node.now())

    def leave(self, room: str) -> None:
        """Leave a room; harmless when not in it."""
        if room in self.rooms:
            self.rooms.remove(room)
            self.session.node.fanout.leave(self.namespace.name, room, self)
            if self.entered is not None:
                self.entered.pop(room, None)

    def disconnect(self, *, close: bool = False) -> None:
        """End this membership from our side; the connection stays open, unless ``close``."""
        if self.connected and close:
            self.session.disconnect_all()
        elif self.connected:
            self.session.disconnect(self)


class Namespace(Generic[S]):
    """Handlers and hooks of one namespace. Subclass it; one instance serves all its sockets."""

    name: ClassVar[str] = "/"
    handlers: ClassVar[dict[str, "_Entry"]] = {}
    # Asked in order before ``authorize``; each may raise ConnectionRefused.
    middlewares: Sequence["Middleware"] = ()
    node: "Node"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.handlers = dict(cls.handlers)
        for attribute in vars(cls).values():
            for event in getattr(attribute, "_hub_events", ()):
                cls.handlers[event] = _Entry.of(attribute)

    # -- hooks, in the order of a socket's life

    def bind(self, node: "Node") -> None:
        """The process is up: the first socket of any namespace is about to open."""
        self.node = node

    async def authorize(self, socket: Socket[S], auth: dict[str, Any] | None) -> S:
        """Decide about a CONNECT: return the socket's state, or raise ConnectionRefused."""
        return None  # type: ignore[return-value]  # the default namespace has no state

    def identity(self, socket: Socket[S]) -> Hashable:
        """Who this is, once authorized: only the same may take up a broken session."""
        return None

    def keep(self, socket: Socket[S]) -> Any:  # noqa: ANN401 - whatever restore takes
        """What a broken session goes on with; JSON, where processes share the recovery."""
        return socket.state

    def restore(self, socket: Socket[S], kept: Any) -> None:  # noqa: ANN401 - as keep
        """A broken session goes on: take over what was kept, by default all its state."""
        socket.state = kept

    async def joined(self, socket: Socket[S]) -> None:
        """The CONNECT reply has been sent; emit what the client should see first."""

    def left(self, socket: Socket[S], reason: str) -> Awaitable[None] | None:
        """The membership is over, for one of the standard reasons; rooms are left already."""

    def unknown_event(
        self, socket: Socket[S], event: object, args: list[Any], ack_id: int | None
    ) -> Result | Awaitable[Result]:
        """No handler takes this event; by default nothing is said, as the reference server does."""

    def throttled(self, socket: Socket[S], ack_id: int | None, retry_after_ms: int) -> None:
        """An event was refused unread, by the meter or because the inbox is full.

        By default nothing is said: a client that asked for an acknowledgement gets none in time.
        """

    def failed(self, socket: Socket[S], error: Exception) -> None:
        """A handler raised; the session is closed with 1011 after this."""

    def closing(self, socket: Socket[S], code: int, reason: str) -> None:
        """We are about to close the connection; the last chance to say why."""

    async def stop(self) -> None:
        """The process ends; its sockets are gone already."""

    # -- what the session calls

    def handle(
        self, socket: Socket[S], args: list[Any], ack_id: int | None
    ) -> Result | Awaitable[Result]:
        """Find the handler of an event and call it."""
        event = args[0]
        entry = self.handlers.get(event) if type(event) is str else None
        if entry is None or not entry.least < len(args) <= entry.most + 1:
            entry = self.handlers.get(ANY_EVENT)
            if entry is None:
                return self.unknown_event(socket, event, args[1:], ack_id)
            return entry.function(self, socket, *args)
        return entry.function(self, socket, *args[1:])

    # -- what handlers call

    def broadcast(
        self,
        rooms: Iterable[str],
        event: str,
        *args: Any,  # noqa: ANN401 - whatever the wire can carry
        without: Collection[str] = (),
        volatile: bool = False,
    ) -> None:
        """Send an event to rooms on every process, encoded once, each socket once.

        A socket's id is the name of a room with that socket in it; ``without`` are rooms as well.
        """
        self.node.fanout.broadcast(
            self.name, rooms, event, *args, without=without, volatile=volatile
        )

    def emit(
        self,
        event: str,
        *args: Any,  # noqa: ANN401 - whatever the wire can carry
        without: Collection[str] = (),
        volatile: bool = False,
    ) -> None:
        """Send an event to everybody in this namespace, on every process."""
        self.broadcast([EVERYONE], event, *args, without=without, volatile=volatile)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A handler and how many arguments it takes: a peer may send any number."""

    function: Handler
    least: int
    most: float

    @classmethod
    def of(cls, function: Handler) -> "_Entry":
        own = list(inspect.signature(function).parameters.values())[2:]
        positional = [each for each in own if each.kind in _POSITIONAL]
        least = sum(1 for each in positional if each.default is each.empty)
        variadic = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in own)
        return cls(function, least, float("inf") if variadic else len(positional))


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

H = TypeVar("H", bound=Handler)


def on(*events: str) -> Callable[[H], H]:
    """Mark a method as the handler of events; ``*`` takes what no other handler takes."""

    def mark(function: H) -> H:
        function._hub_events = events  # type: ignore[attr-defined]  # noqa: SLF001 - read back by Namespace above
        return function

    return mark


def is_awaitable(result: object) -> bool:
    """Whether a handler has more to do; cheaper than inspect.isawaitable for the usual answers."""
    return not (result is None or type(result) is Ack) and (
        asyncio.iscoroutine(result) or inspect.isawaitable(result)
    )
