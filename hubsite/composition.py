"""The composition root of the live part: which stores, namespaces and actions this site has.

Every other module is given what it needs; here is decided what that is.
"""

import hmac
from collections.abc import Mapping
from functools import cache

from django.conf import settings as django_settings

from engine import artifacts, feed, views
from engine.actions import world_actions
from engine.coordinator import Coordinator
from engine.namespace import EngineNamespace
from realtime.admission import HubPolicy
from realtime.agents.namespace import AgentNamespace
from realtime.census import Census
from realtime.cors import Cors
from realtime.guard import Guard
from realtime.hub import HubNamespace
from realtime.inquiries import Inquiries
from realtime.outbox import OutboxLimits
from realtime.protocol import Limits
from realtime.server import Server
from realtime.state.shared import SharedState, shared_state
from security import database, door, throttle
from security.conf import HubSettings, hub
from security.keys import Key

__all__ = ["body_limit", "server", "state"]


@cache
def state() -> SharedState:
    """What this process shares with others: nothing in memory; on Redis used nonces, penalties,
    budgets, and the rates of handshakes and failed log-ins."""
    return shared_state(django_settings.REDIS_URL, hub())


@cache
def server() -> Server:
    """The hub's server of this process."""
    settings = hub()
    shared = state()
    door.use_nonces(shared.request_nonces)
    throttle.use_attempts(shared.attempts)
    leases = shared.leases if shared.link else None
    guard = Guard(
        settings,
        shared.nonces,
        shared.penalties,
        handshakes=shared.handshakes,
        budgets=shared.budgets,
        leases=leases,
    )
    coordinator = Coordinator()
    people = HubNamespace(
        guard,
        actions=world_actions(coordinator, settings),
        feed=feed,
        greetings={"engine_status": views.engine_status},
    )
    engines = EngineNamespace(guard, coordinator)
    inquiries = Inquiries()
    census = Census(guard, people.attendance, inquiries, degraded=lambda: shared.degraded)
    coordinator.connect(people=people, engines=engines)
    return Server(
        namespaces=[people, engines, AgentNamespace(guard, inquiries)],
        limits=limits_of(settings),
        outbox_limits=OutboxLimits(
            messages=settings.outbox_messages,
            size=settings.outbox_bytes,
            write_deadline_s=settings.write_deadline_s,
        ),
        inbox_limit=settings.inbox_messages,
        policy=HubPolicy(guard),
        companions=[inquiries, census],
        relay_key=relay_key(django_settings.KEYS.master.signing),
        cors=Cors(origins=settings.allowed_origins) if settings.allowed_origins else None,
    )


def relay_key(master: Key) -> bytes:
    """What the processes of a site authenticate the owner of a session's id with."""
    return hmac.digest(master.secret, b"hub.relay.v1", "sha256")


def limits_of(settings: HubSettings) -> Limits:
    """The numbers of the wire, out of the settings."""
    return Limits(
        ping_interval_ms=int(settings.ping_interval_s * 1000),
        ping_timeout_ms=int(settings.ping_timeout_s * 1000),
        max_payload=settings.max_payload,
        connect_timeout_ms=int(settings.connect_deadline_s * 1000),
        max_namespaces=settings.namespaces_per_socket,
    )


async def body_limit(method: str, path: str, headers: Mapping[str, str]) -> int:
    """How many bytes the body of a request may have; asks the database only for uploads."""
    if method != "PUT":
        return hub().http_body
    return await database.read(artifacts.body_limit, method, path, headers)
