"""How a process speaks with Redis: one pipelined connection for the loop, and a pool for threads.

Whatever is asked within one turn of the loop, and while an answer is on its way, leaves in one
write. Every wait is bounded; what fails is told as a value, because most who ask go on without an
answer. A pulse writes once a second, also while nothing else is asked: a server that is paused,
full or read-only is known before a message has to wait for it.
"""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from hiredis import pack_command
from redis import Redis
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.connection import Connection as TcpConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from realtime.state.errors import StateUnreachable
from realtime.state.health import Health

__all__ = ["KEY_PREFIX", "Link", "Reply", "Script", "Threads"]

KEY_PREFIX: Final = "hub:"
TIMEOUT_S: Final = 0.5
PULSE_S: Final = 1.0
WAITING: Final = 20_000  # commands not yet written; beyond this they fail at once

Reply: TypeAlias = Any
"""What Redis says, or the exception that tells why it said nothing."""

Argument: TypeAlias = str | bytes | int | float


class Script:
    """Lua that runs as one step of Redis, and its name there."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Link:
    """The loop's connection. Everything but ``health`` belongs to the loop's thread."""

    def __init__(
        self, url: str, *, health: Health, timeout_s: float = TIMEOUT_S, pulse_s: float = PULSE_S
    ) -> None:
        self.health = health
        self.timeout_s = timeout_s
        self.pulse_s = pulse_s
        self._options: dict[str, Any] = dict(parse_url(url))
        self._scripts: dict[str, Script] = {}
        self._queue: list[tuple[bytes, asyncio.Future[Reply]]] = []
        self._wake = asyncio.Event()
        self._pulses: list[Callable[[], object]] = []
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[None] | None = None

    # -- its life

    def start(self) -> None:
        """Begin to speak and to pulse; harmless when begun. Asking begins by itself, too."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="hub-redis")

    async def aclose(self) -> None:
        """End the connection; who waits is told that there is no answer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def on_pulse(self, listener: Callable[[], object]) -> None:
        """Call this at each pulse, to ask what is worth asking now and then."""
        self._pulses.append(listener)

    # -- asking

    def submit(self, *command: Argument) -> "asyncio.Future[Reply] | None":
        """Ask; the future's result is a Reply, after TIMEOUT_S at the latest. None: degraded.

        The future is the caller's own: cancelling it withdraws the interest, not the command.
        """
        self.start()
        if self.health.degraded or len(self._queue) >= WAITING:
            return None
        return self._ask(command)

    def evaluate(
        self, script: Script, keys: Sequence[str], *args: Argument
    ) -> "asyncio.Future[Reply] | None":
        """As ``submit``, for a script."""
        if script.sha not in self._scripts:
            self._scripts[script.sha] = script
            self.submit("SCRIPT", "LOAD", script.text)  # arrives first; later, at each connect
        return self.submit("EVALSHA", script.sha, len(keys), *keys, *args)

    async def answer(self, asked: "asyncio.Future[Reply] | None") -> Reply:
        """Wait for what ``submit`` or ``evaluate`` gave. Raises StateUnreachable."""
        if asked is None:
            raise StateUnreachable(self.health.reason or "too much is waiting")
        reply = await asked
        if isinstance(reply, Exception):
            raise StateUnreachable(str(reply)) from reply
        return reply

    def _ask(self, command: tuple[Argument, ...]) -> "asyncio.Future[Reply]":
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        packed = pack_command(command)  # type: ignore[arg-type]  # typed for one argument only
        self._queue.append((packed, future))
        self._wake.set()
        return future

    # -- the connection's one task

    async def _run(self) -> None:
        pulse = asyncio.get_running_loop().create_task(self._pulse(), name="hub-redis-pulse")
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._exchange()
        finally:
            pulse.cancel()
            await self._abandon("the link was closed")

    async def _pulse(self) -> None:
        while True:
            reply = await self._ask(("SET", f"{KEY_PREFIX}pulse", 1, "EX", 60))
            if not isinstance(reply, Exception):
                self.health.works()
                for listener in self._pulses:
                    listener()
            await asyncio.sleep(self.pulse_s)

    async def _exchange(self) -> None:
        """Write all that waits, read as many answers; both within the timeout."""
        sent, self._queue = self._queue, []
        told, refusal = 0, None
        try:
            async with asyncio.timeout(self.timeout_s):
                connection = self._connection or await self._connect()
                packed = b"".join([command for command, _ in sent])
                await connection.send_packed_command([packed], check_health=False)
                for _, future in sent:
                    reply = await _read(connection)
                    refusal = refusal or (reply if isinstance(reply, Exception) else None)
                    _tell(future, reply)
                    told += 1
        except Exception as error:  # noqa: BLE001 - not only what Redis and the network raise: uvloop has a RuntimeError for a connection that was reset; and if this task ended, who asks would wait for ever
            refusal = error
        finally:
            self._queue = sent[told:] + self._queue
        if refusal is not None:  # also a script it forgot, no memory, read-only: none serves us
            self.health.failed(refusal)
            await self._abandon(str(refusal))

    async def _connect(self) -> AbstractConnection:
        options = {
            **self._options,
            "retry": AsyncRetry(NoBackoff(), 0),
            "socket_timeout": None,  # ours is around the whole exchange
        }
        kind = options.pop("connection_class", TcpConnection)
        connection: AbstractConnection = kind(**options)
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own gap
        self._connection = connection
        for script in self._scripts.values():
            await connection.send_command("SCRIPT", "LOAD", script.text)
            await connection.read_response()
        return connection

    async def _abandon(self, reason: str) -> None:
        """The connection is of no use: all who wait go on without it."""
        waiting, self._queue = self._queue, []
        for _, future in waiting:
            _tell(future, StateUnreachable(reason))
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


class Threads:
    """The same for threads without a loop: each call waits for its own answer."""

    def __init__(self, url: str, *, health: Health, timeout_s: float = TIMEOUT_S) -> None:
        self.health = health
        self._client = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._lock = threading.Lock()

    def evaluate(self, script: Script, keys: Sequence[str], *args: Argument) -> Reply:
        """Run a script. Raises StateUnreachable, within two timeouts."""
        if not self.health.may_ask():
            raise StateUnreachable(self.health.reason)
        try:
            reply = self._client.eval(script.text, len(keys), *keys, *map(str, args))
        except (RedisError, OSError) as error:
            self.health.failed(error)
            raise StateUnreachable(str(error)) from error
        self.health.works()
        return reply

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


async def _read(connection: AbstractConnection) -> Reply:
    try:
        return await connection.read_response()
    except ResponseError as refusal:
        return refusal


def _tell(future: "asyncio.Future[Reply]", reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)
