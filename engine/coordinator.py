"""Carries out what the dispatcher decides: runs it off the loop, then delivers and publishes.

One for each process. It also wakes the dispatcher when there may be something to assign, and lets
the reaper run every second, in any process.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, Protocol

from django.db import DatabaseError, InterfaceError

from engine import dispatcher, effects, views
from engine.leases import RESCUE_EVERY_S
from engine.outcome import Delivery, Outcome
from realtime.hub import EVERYBODY, HubNamespace, user_room
from realtime.node import Node
from security import database

__all__ = ["CLOSE_REPLACED", "Coordinator", "EngineLines"]

log = logging.getLogger(__name__)

P = ParamSpec("P")

# Django's InterfaceError (a connection that broke) is no DatabaseError, as PEP 249 has it.
DATABASE_TROUBLE: Final = (DatabaseError, InterfaceError, database.DatabaseBusy)

STATUS_INTERVAL_S: Final = 0.25  # engine_status is told at most four times a second
BUSY_INTERVAL_S: Final = 1.0  # and once a second when only jobs have moved in it
PARTS_WITHIN_S: Final = 1.0  # a part of the ten seconds of a stop (hubsite.serving)

CLOSE_REPLACED: Final = "close_replaced"
"""Not an event of the wire: between processes it asks the owner to close the socket with 4409."""


class EngineLines(Protocol):
    """Whoever holds the sockets of engines."""

    def deliver(self, engine_session_id: str, event: str, body: Mapping[str, object]) -> None:
        """Sign and send; a connection that is not here loses it."""


class Coordinator:
    """Decisions on database threads, effects on the loop."""

    def __init__(self) -> None:
        self._people: HubNamespace
        self._engines: EngineLines
        self._node: Node
        self._assigning = False
        self._assign_again = False
        self._status_due = False

    def connect(self, *, people: HubNamespace, engines: EngineLines) -> None:
        """Meet those whose sockets the effects are for."""
        self._people, self._engines = people, engines

    def start(self, node: Node) -> None:
        """The process is up: hear of deliveries for our sockets, and let the reaper run."""
        self._node = node
        node.bus.subscribe(_topic(node.id), self._hear)
        node.timers.after(RESCUE_EVERY_S, self._rescue_soon)
        effects.announce(self._from_elsewhere)

    async def stop(self) -> None:
        """The process ends: close its engines' connections, and tell who is left of it.

        Else an engine would look connected until it is given up for dead.
        """
        try:
            async with asyncio.timeout(PARTS_WITHIN_S):
                outcome = await database.write(dispatcher.process_stopped, self._node.id)
        except (*DATABASE_TROUBLE, TimeoutError) as error:
            log.warning("engine connections stay open until they are given up: %r", error)
        else:
            if outcome.engines_changed or self._status_due:
                await self._tell_status()

    def _from_elsewhere(self, outcome: Outcome) -> None:
        """A decision of another thread of this process, such as the admin's."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it all sockets
            self._node.loop.call_soon_threadsafe(self.carry_out, outcome)

    async def decide(
        self, decision: Callable[P, Outcome], *args: P.args, **kwargs: P.kwargs
    ) -> Outcome:
        """Run a decision in its transaction, then its effects. Raises what the decision raises."""
        outcome = await database.write(decision, *args, **kwargs)
        self.carry_out(outcome)
        return outcome

    def carry_out(self, outcome: Outcome) -> None:
        """The effects of a committed decision."""
        for delivery in outcome.deliveries:
            self._deliver(delivery)
        for live in outcome.broadcasts:
            self._people.broadcast(
                [user_room(str(live.user_id))], live.event, dict(live.body), volatile=True
            )
        if outcome.feed_heads:
            self._people.feed.publish(outcome.feed_heads)
        if outcome.engines_changed:
            self._tell_status_soon(STATUS_INTERVAL_S)
        elif outcome.deliveries or outcome.assignable:
            self._tell_status_soon(BUSY_INTERVAL_S)
        if outcome.assignable:
            self.wake()

    def wake(self) -> None:
        """There may be something to assign."""
        if self._node.draining:
            return  # what we sent now might not leave; another process looks within a second
        if self._assigning:
            self._assign_again = True
        else:
            self._assigning = True
            self._node.background(self._assign())

    # -- deliveries

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.node == self._node.id:
            self._engines.deliver(delivery.engine_session_id, delivery.event, delivery.body)
            return
        message = {
            "engine_session_id": delivery.engine_session_id,
            "event": delivery.event,
            "body": dict(delivery.body),
        }
        self._node.bus.publish(_topic(delivery.node), message)

    def _hear(self, message: Mapping[str, Any]) -> None:
        self._engines.deliver(message["engine_session_id"], message["event"], message["body"])

    def close_engine(self, engine_session_id: str, node: str) -> None:
        """An engine connection was replaced; close it wherever it is."""
        self._deliver(Delivery(engine_session_id, node, CLOSE_REPLACED, {}))

    # -- assigning and rescuing

    async def _assign(self) -> None:
        try:
            while True:
                self._assign_again = False
                outcome = await database.write(dispatcher.assign)
                self.carry_out(outcome)
                if not (outcome.deliveries or self._assign_again):
                    return
        except DATABASE_TROUBLE as error:
            log.warning("nothing was assigned, the next second tries again: %s", error)
        finally:
            self._assigning = False

    def _rescue_soon(self) -> None:
        self._node.background(self._rescue())

    async def _rescue(self) -> None:
        try:
            more = True
            while more:
                outcome = await self.decide(dispatcher.rescue)
                more = bool(outcome.reply["more"])
            self.wake()  # a pause between attempts may be over
        except DATABASE_TROUBLE as error:
            log.warning("the reaper did not reach the database: %s", error)
        finally:
            self._node.timers.after(RESCUE_EVERY_S, self._rescue_soon)

    # -- engine_status

    def _tell_status_soon(self, within_s: float) -> None:
        if not self._status_due:
            self._status_due = True
            self._node.timers.after(within_s, lambda: self._node.background(self._tell_status()))

    async def _tell_status(self) -> None:
        self._status_due = False
        try:
            status = await database.read(views.engine_status)
        except DATABASE_TROUBLE as error:
            log.warning("engine_status could not be read, the next second tries again: %s", error)
            self._tell_status_soon(BUSY_INTERVAL_S)
        else:
            self._people.broadcast([EVERYBODY], "engine_status", status)


def _topic(node_id: str) -> str:
    return f"engine:{hashlib.sha256(node_id.encode()).hexdigest()[:32]}"
