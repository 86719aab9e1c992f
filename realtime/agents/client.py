"""An agent in Python: hears signed actions, says signed words, and stays connected.

    agent = Agent("https://hub.example", "greeter", secret)

    @agent.on_action
    async def greet(action):
        if action["type"] == "emote":
            await agent.say(action["user_id"], "Hello!", reason="greeting")

    agent.main()            # or: await agent.run()

It imports nothing of Django (extra ``engine`` brings python-socketio).
"""

import asyncio
import contextlib
import inspect
import logging
import random
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from realtime.agents.errors import InvalidSecret, NotConnected, NotSaid
from realtime.agents.link import Link
from realtime.envelopes import Secret
from realtime.hubclock import HubClock
from security.signatures import KEY_BYTES, BadBase64Url, from_base64url

__all__ = ["Agent"]

log = logging.getLogger("realtime.agents")

HEARD_AT_MOST: Final = 1_000  # actions that wait for the handler; the oldest go first
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STEADY_AFTER_S: Final = 10.0
RENEW_AT: Final = 0.8  # of a token's life: leaves minutes of an hour for trying again

Handler = TypeVar("Handler", bound=Callable[..., Any])
_spread = random.SystemRandom()


class Agent:
    """One agent of one hub. ``dropped`` counts what was not heard, by reason.

    Actions are handled one after the other; those that come faster than the handler takes them
    are dropped, oldest first.
    """

    def __init__(self, url: str, name: str, secret: str) -> None:
        """Describe the agent; nothing connects before ``run``.

        ``secret`` is the text that ``manage.py service add agent NAME`` printed. Raises
        InvalidSecret, and ValueError for an address that is not http or https.
        """
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc:
            raise ValueError(f"the hub's address starts with http:// or https://, not {url!r}")
        self._url, self.name, self._secret = url.rstrip("/"), name, _secret(secret)
        self._clock = HubClock()
        self._actions: asyncio.Queue[dict[str, Any]] = asyncio.Queue(HEARD_AT_MOST)
        self._handler: Callable[[dict[str, Any]], Any] | None = None
        self._rounds: list[tuple[float, Callable[[], Any]]] = []
        self._link: Link | None = None
        self._stop = asyncio.Event()
        self.rooms: tuple[str, ...] = ()
        self.dropped: Counter[str] = Counter()

    # -- what it does

    def on_action(self, handler: Handler) -> Handler:
        """Decorate what is called with each ``action_update``; it may be a coroutine."""
        self._handler = handler
        return handler

    def every(self, seconds: float) -> Callable[[Handler], Handler]:
        """Decorate what is called again and again while connected; it may be a coroutine."""

        def register(handler: Handler) -> Handler:
            self._rounds.append((seconds, handler))
            return handler

        return register

    async def say(
        self, user_id: str, message: str, *, reason: str, in_reply_to: str | None = None
    ) -> None:
        """Say one line to a person. Raises NotSaid, NotConnected; nothing is said later instead."""
        if self._link is None:
            raise NotConnected("no_link")
        word = {"user_id": user_id, "message": message, "reason": reason}
        if in_reply_to is not None:
            word["in_reply_to"] = in_reply_to
        await self._link.call("agent_update", word)

    @property
    def connected(self) -> bool:
        """Whether it hears its rooms now."""
        return self._link is not None

    # -- its life

    def main(self) -> None:
        """Run until SIGTERM or SIGINT."""
        asyncio.run(self._main())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C cancels ``run`` there
                loop.add_signal_handler(number, self.stop)
        await self.run()

    def stop(self) -> None:
        """Let ``run`` return; to be called on its loop."""
        self._stop.set()

    async def run(self) -> None:
        """Serve the hub until ``stop``; come back for as long as that can help.

        Raises Unwelcome when the hub does not want this agent.
        """
        duties = [asyncio.create_task(each) for each in (self._stay(), self._stop.wait())]
        try:
            done, _ = await asyncio.wait(duties, return_when=asyncio.FIRST_COMPLETED)
            for duty in done:
                duty.result()
        finally:
            await _ended(duties)

    async def _stay(self) -> None:
        loop, pause_s = asyncio.get_running_loop(), FIRST_PAUSE_S
        while True:
            began = loop.time()
            try:
                wished_s = await self._connection()
            except NotConnected as fault:
                wished_s = fault.retry_after_s
                log.warning("%s", fault, extra={"action": "agent.not_connected"})
            steady = loop.time() - began > STEADY_AFTER_S
            pause_s = FIRST_PAUSE_S if steady else min(pause_s * 2, LONGEST_PAUSE_S)
            await asyncio.sleep(max(pause_s, wished_s) * _spread.uniform(0.75, 1.25))

    async def _connection(self) -> float:
        """Serve one connection to its end; returns how long the hub wants to be left alone."""
        link = Link(
            self._url,
            self.name,
            self._secret,
            clock=self._clock,
            hear=self._hear,
            drop=self._drop,
        )
        try:
            session = await link.open()
            await self._serve(link, session)
        finally:
            self._link = None
            await link.close()
        return link.wait_wished_s()

    async def _serve(self, link: Link, session: dict[str, Any]) -> None:
        await link.call("agent_heartbeat", {})  # nothing is heard before the first signed message
        self._link, self.rooms = link, tuple(session["rooms"])
        log.info("%s hears %s", self.name, ", ".join(self.rooms) or "no room")
        duties = [
            asyncio.create_task(duty)
            for duty in (
                self._beat(link, session["heartbeat"]["interval_ms"] / 1000),
                self._renew(link),
                self._handle(),
                *(self._repeat(seconds, handler) for seconds, handler in self._rounds),
                link.ended.wait(),
            )
        ]
        try:
            done, _ = await asyncio.wait(duties, return_when=asyncio.FIRST_COMPLETED)
            for duty in done:
                duty.result()
        finally:
            await _ended(duties)

    # -- its duties

    async def _beat(self, link: Link, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            with contextlib.suppress(NotSaid):
                await link.call("agent_heartbeat", {})

    async def _renew(self, link: Link) -> None:
        while True:
            left_s = (link.expires_at_ms - self._clock.now_ms()) / 1000
            await asyncio.sleep(max(left_s * RENEW_AT, FIRST_PAUSE_S))
            with contextlib.suppress(NotSaid, NotConnected):  # there is time to try again
                await link.call("reauth", {"token": await link.token()})

    async def _handle(self) -> None:
        while True:
            action = await self._actions.get()
            if self._handler is not None:
                await self._try(self._handler, action)

    async def _repeat(self, seconds: float, handler: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._try(handler)

    async def _try(self, handler: Callable[..., Any], *args: Any) -> None:  # noqa: ANN401 - any handler's
        """Call a handler; a word that was not said is logged, and the agent goes on."""
        try:
            result = handler(*args)
            if inspect.isawaitable(result):
                await result
        except NotSaid as refusal:
            log.info("%s", refusal, extra={"action": "agent.not_said"})

    def _hear(self, action: dict[str, Any]) -> None:
        if self._actions.full():
            self._actions.get_nowait()
            self._drop("handler_too_slow")
        self._actions.put_nowait(action)

    def _drop(self, reason: str) -> None:
        self.dropped[reason] += 1


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _secret(text: str) -> Secret:
    try:
        secret = Secret(from_base64url(text.strip()))
    except BadBase64Url as fault:
        raise InvalidSecret from fault
    if len(secret) != KEY_BYTES:
        raise InvalidSecret
    return secret
