"""uvicorn's WebSocket protocol with a short way to the session, and an end for silent readers.

The library ``websockets`` does the framing. What is left out on the short way is a queue, a
dictionary, a task switch and two system calls (pausing and resuming the reading) for each frame.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State

from realtime.direct import SharedText
from realtime.handshake import ABORT_EXTENSION, DIRECT_EXTENSION
from security.limits import TokenBucket

__all__ = ["HubWebSocket"]

TEXT: Final = Opcode.TEXT
# Answers to the frames of one read leave in one write, but never more than this waits for it:
# what is held back is unknown to the transport, which tells us when a peer does not read.
LARGEST_FLUSH: Final = 64 * 1024
# A message of a million empty fragments costs its sender little, and would cost us memory.
MOST_FRAGMENTS: Final = 1_024
CLOSE_POLICY: Final = 1008
# Engine.IO has a heartbeat of its own; some libraries send WebSocket's as well, three a minute.
# Each ping is answered, and the answers to a peer that does not read would pile up here.
CONTROLS_PER_S: Final = 5.0
MOST_CONTROLS: Final = 100
# After this a peer that was told why, and reads nothing or goes on, is dropped.
LETS_GO_S: Final = 10.0
# What a peer may still send after it was told why; a flood is not read for longer than its due.
MOST_DISCARDED: Final = 8 * 1024 * 1024
# uvicorn and websockets log several lines for each connection, which has audit rows of its own.
LOGGER: Final = "hub.websocket"

# uvicorn writes a traceback for each peer that sends no UTF-8: on record as a violation already.
PEER_FAULT: Final = "Invalid UTF-8 sequence"


def is_ours(record: logging.LogRecord) -> bool:
    """Whether a line says something of the hub, and not only of what a peer sent."""
    return not str(record.msg).startswith(PEER_FAULT)


log = logging.getLogger(LOGGER)
log.setLevel(logging.WARNING)
log.addFilter(is_ours)


class HubWebSocket(WebSocketsSansIOProtocol):
    """One WebSocket. It is also the ``Wire`` that it offers to the session."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the base class
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = log
        self.ready = False
        self._receive: Callable[[Any], None] | None = None
        self._held: list[bytes] | None = None
        self._held_size = 0
        self._told_why = False
        self._discarded = 0
        self._last_resort: asyncio.TimerHandle | None = None
        self._controls = TokenBucket(CONTROLS_PER_S, MOST_CONTROLS, now=self.loop.time())

    def handle_connect(self, event: Request) -> None:
        """Offer what ASGI does not know of."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions = cast("dict[str, Any]", self.scope["extensions"])
            extensions[ABORT_EXTENSION] = self.transport.abort
            extensions[DIRECT_EXTENSION] = self

    # -- the wire

    def listen(self, receive: Callable[[Any], None]) -> None:
        """As ``Wire.listen``. Call it after the handshake was accepted."""
        self._receive = receive
        self._look()
        ends = []
        while not self.queue.empty():
            message: Any = self.queue.get_nowait()
            if message["type"] != "websocket.receive":
                ends.append(message)
                continue
            receive(message["text"] if "text" in message else message["bytes"])
        for message in ends:
            self.queue.put_nowait(message)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def send_frame(self, frame: str | bytes) -> None:
        """As ``Wire.send``."""
        data = _encode_text(frame) if type(frame) is str else _encode(frame)
        if self._held is None:
            self.transport.write(data)
            return
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size > LARGEST_FLUSH:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._held_size = 0
            self.transport.write(data)

    def _look(self) -> None:
        """Whether a frame may be sent past ASGI, which refuses it in every other state."""
        self.ready = (
            self._receive is not None
            and self.conn.state is State.OPEN
            and self.writable.is_set()
            and not self.disconnected
            and not self.close_sent
        )

    # -- arrivals

    def data_received(self, data: bytes) -> None:
        """Hold back what is sent while the frames of one read are handled."""
        if self._told_why:
            self._discard(len(data))
            return
        if self._receive is None:
            super().data_received(data)
            return
        self._held = []
        try:
            super().data_received(data)
        finally:
            self._flush()
            self._held = None

    def handle_events(self) -> None:
        """The usual frame goes straight to the session; all others the usual way."""
        conn = self.conn
        for event in conn.events_received():
            receive = self._receive
            if (
                receive is not None
                and type(event) is Frame
                and event.opcode is TEXT
                and event.fin
                and not self.close_sent
            ):
                text = _decode(event.data)
                if text is not None:
                    receive(text)
                    continue
            self._flush()
            conn.events.append(event)
            super().handle_events()
            self._look()

    def handle_ping(self) -> None:
        """As the base class, within reason."""
        if not self._is_flooded():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """As the base class, within reason."""
        if not self._is_flooded():
            super().handle_pong(event)

    def _is_flooded(self) -> bool:
        if self.close_sent:
            return True
        if not self._controls.take(self.loop.time()):
            return False
        self.conn.fail(CLOSE_POLICY, "too many pings")
        self.handle_parser_exception()
        return True

    def handle_cont(self, event: Frame) -> None:
        """As the base class, but a message has an end."""
        if self.close_sent:
            return
        if len(self.frames) >= MOST_FRAGMENTS:
            self.conn.fail(CLOSE_POLICY, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """A whole message that came in fragments, or binary."""
        if self._receive is None or self.close_sent:
            super().send_receive_event_to_app()
            return
        data = b"".join(self.frames)
        message = _decode(data) if self.curr_msg_data_type == "text" else data
        if message is None:
            super().send_receive_event_to_app()
            return
        self.frames = []
        self._receive(message)

    # -- what changes whether it is ready

    async def send(self, message: Any) -> None:  # noqa: ANN401 - as the base class
        """As the base class, behind what is held back."""
        self._flush()
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            # uvicorn forgets to note a refusal as an answer, and logs an error for each.
            self.handshake_complete = True
        self._look()

    def handle_parser_exception(self) -> None:
        """Say why, and read on until the peer has heard it.

        To close a TCP connection with unread bytes resets it, and a reset makes the peer's system
        throw away the close frame (RFC 1122, 4.2.2.13; RFC 6455, 7.1.1). TLS cannot be closed by
        half: there the old way remains.
        """
        why = self.conn.close_sent
        if why is None or not self.transport.can_write_eof():
            super().handle_parser_exception()
            self.loop.call_later(LETS_GO_S, self.transport.abort)
            return
        if self.close_timer is not None:
            self.close_timer.cancel()
        # The base class closes when the application ends, unless this timer is there.
        self.close_timer = self.loop.call_later(LETS_GO_S, self.transport.abort)
        self._say(why)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def _say(self, why: Close) -> None:
        """The close frame and the end of what we write, to the peer and to the application."""
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": why.code, "reason": why.reason}
        )
        self.close_sent = self._told_why = True
        self._look()
        self._flush()
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > MOST_DISCARDED:
            self.transport.abort()

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        """Nothing more will be said. To close waits for what was, and a peer that does not read
        would keep the connection for good."""
        super().on_task_complete(task)
        if not self.disconnected:
            self._last_resort = self.loop.call_later(LETS_GO_S, self.transport.abort)

    def shutdown(self) -> None:
        """As the base class, which raises where the peer has said its goodbye already."""
        if self.handshake_complete and self.conn.state is not State.OPEN and not self.close_sent:
            self.transport.close()
        else:
            super().shutdown()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.ready = False

    def resume_writing(self) -> None:
        super().resume_writing()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ready = False
        if self._last_resort is not None:
            self._last_resort.cancel()
        super().connection_lost(exc)


def _encode(frame: str | bytes) -> bytes:
    if type(frame) is SharedText:
        if frame.encoded is None:
            frame.encoded = _encode_text(frame)
        return frame.encoded
    return _encode_text(frame) if isinstance(frame, str) else _encode_binary(frame)


def _encode_text(text: str) -> bytes:
    return Frame(TEXT, text.encode()).serialize(mask=False)


def _encode_binary(data: bytes) -> bytes:
    return Frame(Opcode.BINARY, data).serialize(mask=False)


def _decode(data: bytes | bytearray | memoryview) -> str | None:
    """The text of a message; None if it is not UTF-8, which the base class answers with 1007."""
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return None
