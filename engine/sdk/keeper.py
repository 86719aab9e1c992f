"""Keeps the engine connected: token, connection, introduction, heartbeats, renewal, and again.

The order on a connection is the hub's contract (docs/engine.md): `session`, then `engine_resume`
if attempts are alive, then `engine_ready` (or `engine_draining`), and only then reports.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.sdk.envelope import Identity
from engine.sdk.errors import AckMissing, HubRefused, LinkLost, TryLater
from engine.sdk.hubapi import HubApi, Token
from engine.sdk.link import Goodbye, Link, Session
from engine.sdk.reports import Gate
from engine.sdk.roster import Roster
from engine.sdk.timing import HubClock, Timing

__all__ = ["Keeper"]

log = logging.getLogger("engine.sdk")

RENEW_AT: Final = 0.8  # of a token's life: leaves minutes of an hour for trying again

# The introduction itself is wrong; no other connection would make it right.
_INTRODUCTION_REFUSED: Final = frozenset({"PAYLOAD_INVALID", "ENGINE_PACKET_INCOMPLETE"})
_UNHEARD: Final = "ENGINE_SIGNATURE_INVALID"  # the two sides hold different keys: connect anew


class Keeper:
    """Runs one connection after another."""

    def __init__(
        self,
        url: str,
        identity: Identity,
        *,
        api: HubApi,
        clock: HubClock,
        timing: Timing,
        gate: Gate,
        roster: Roster,
        ready: Mapping[str, Any],
        refuse: Callable[[str], None],
    ) -> None:
        """`ready` is the body of `engine_ready`; `refuse` counts messages not of the hub."""
        self._url = url
        self._identity = identity
        self._api = api
        self._clock = clock
        self._timing = timing
        self._gate = gate
        self._roster = roster
        self._ready = ready
        self._refuse = refuse
        self._draining = asyncio.Event()
        self._drain_heard = asyncio.Event()
        self._serving = False

    async def run(self) -> None:
        """Stay connected. Never returns; raises `HubRefused` when the hub says a final no."""
        loop = asyncio.get_running_loop()
        delays = self._timing.delays()
        while True:
            began = loop.time()
            try:
                wait_s = await self._connection()
            except TryLater as later:
                wait_s = later.retry_after_s
                log.warning("%s", later, extra={"action": "engine.not_connected"})
            if loop.time() - began > self._timing.steady_after_s:
                delays = self._timing.delays()
            await asyncio.sleep(max(next(delays), self._timing.spread(wait_s)))

    async def drain(self) -> None:
        """Take no more jobs, on this connection and the next ones; wait till the hub has heard.

        Without a connection there is nobody to wait for.
        """
        self._draining.set()
        if not self._serving:
            return
        try:
            async with asyncio.timeout(self._timing.farewell_s):
                await self._drain_heard.wait()
        except TimeoutError:
            log.warning(
                "the hub did not hear of draining", extra={"action": "engine.drain_unheard"}
            )

    async def _connection(self) -> float:
        """Serve one connection to its end; return how long the hub wants to be left alone."""
        token = await self._api.new_token()
        link = Link(
            self._url,
            self._identity,
            clock=self._clock,
            timing=self._timing,
            deliver=self._roster.deliver,
            refuse=self._refuse,
        )
        try:
            await self._serve(link, token)
        except LinkLost:
            log.info("connection ended", extra={"action": "engine.link_lost"})
        finally:
            self._serving = False
            self._gate.admit(None)
            await link.close()
        return _wait_wished(link.goodbye)

    async def _serve(self, link: Link, token: Token) -> None:
        session = await link.open(token.access)
        self._serving = True
        await self._introduce(link)
        self._gate.admit(link)
        log.info("connected as %s", self._identity.name, extra={"action": "engine.connected"})
        duties = [
            asyncio.create_task(duty)
            for duty in (
                self._beat(link, session),
                self._renew(link, token),
                self._announce_drain(link),
                link.ended.wait(),
            )
        ]
        try:
            done, _ = await asyncio.wait(duties, return_when=asyncio.FIRST_COMPLETED)
            for duty in done:
                duty.result()
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)

    async def _introduce(self, link: Link) -> None:
        """Say what is alive, also nothing: what this engine held before a crash is released then.

        Otherwise its jobs would wait for their leases to lapse.
        """
        await self._tell(link, "engine_resume", {"attempts": self._roster.live()})
        if not self._draining.is_set():
            await self._tell(link, "engine_ready", self._ready)

    async def _announce_drain(self, link: Link) -> None:
        await self._draining.wait()
        await self._tell(link, "engine_draining", {})
        self._drain_heard.set()
        await link.ended.wait()

    async def _beat(self, link: Link, session: Session) -> None:
        """Renew the leases; return when the hub has been silent for too long."""
        loop = asyncio.get_running_loop()
        next_beat = heard = loop.time()
        while loop.time() - heard < session.disconnect_after_s:
            next_beat = max(next_beat + session.heartbeat_s, loop.time())
            await asyncio.sleep(next_beat - loop.time())
            try:
                ack = await link.call("engine_heartbeat", {"attempts": self._roster.live()})
            except AckMissing:
                continue
            heard = loop.time()
            if ack.get("ok") is not True:
                self._clock.follow(ack.get("server_time"))
        log.warning("the hub is silent", extra={"action": "engine.hub_silent"})

    async def _renew(self, link: Link, token: Token) -> None:
        """Bring a new token before the old one ends."""
        delays = self._timing.delays()
        while True:
            left_s = (token.expires_at_ms - self._clock.now_ms()) / 1000
            await asyncio.sleep(max(left_s * RENEW_AT, next(delays)))
            try:
                token = await self._api.new_token()
                await self._tell(link, "reauth", {"token": token.access})
            except LinkLost:
                raise
            except TryLater as later:
                log.warning("no new token: %s", later, extra={"action": "engine.renewal_failed"})
            else:
                delays = self._timing.delays()

    async def _tell(self, link: Link, event: str, body: Mapping[str, Any]) -> None:
        """Send one event until the hub takes it. Raises `HubRefused` if it never will."""
        delays = self._timing.delays()
        while (ack := await link.call(event, body)).get("ok") is not True:
            code = str(ack.get("error", ""))
            log.warning("%s refused: %s", event, code, extra={"action": "engine.refused"})
            if code in _INTRODUCTION_REFUSED:
                raise HubRefused(code, f"{event}: {ack.get('message', '')}")
            if code == _UNHEARD:
                raise TryLater(code)
            self._clock.follow(ack.get("server_time"))
            await asyncio.sleep(next(delays))


def _wait_wished(goodbye: Goodbye | None) -> float:
    if goodbye is None:
        return 0.0
    if goodbye.final:
        raise HubRefused(str(goodbye.code), goodbye.reason)
    return goodbye.retry_after_s
