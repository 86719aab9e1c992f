"""Is the process up, is it of use, and what does it count: /healthz, /readyz, /metrics."""

import asyncio
import hmac
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from hubsite.composition import server
from security import database
from security.addresses import address_of
from security.conf import hub

ANSWERS_WITHIN_S: Final = 2.0
FORWARDED: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP")

__all__ = ["healthz", "may_read_metrics", "metrics", "pending_migrations", "readyz"]


@require_safe
async def healthz(_request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"ok": True})


@require_safe
async def readyz(_request: HttpRequest) -> JsonResponse:
    """The process can do its work: each part by name, 503 if one of them fails.

    The parts that may hang are asked at the same time, and have ANSWERS_WITHIN_S: whoever asks us
    waits as long as that, and not for the database.
    """
    asked = await asyncio.gather(*(_answers(check) for check in REMOTE.values()))
    parts = dict(zip(REMOTE, asked, strict=True))
    parts |= {name: _works(check) for name, check in LOCAL.items()}
    ready = all(parts.values())
    return JsonResponse({"ok": ready, "checks": parts}, status=200 if ready else 503)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, for loopback or the bearer of HUB_METRICS_TOKEN."""
    if not may_read_metrics(request):
        return JsonResponse({"code": "forbidden", "message": "Not from here."}, status=403)
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


async def _answers(check: Callable[[], bool]) -> bool:
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            return await database.read(check)
    except Exception:  # noqa: BLE001 - as below
        return False


def _works(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except Exception:  # noqa: BLE001 - whatever fails, the part is not ready
        return False


def _database() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone())


def pending_migrations() -> bool:
    """Whether the database lacks a migration that this code has."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _migrations() -> bool:
    return not pending_migrations()


def _layer() -> bool:
    node = server().running
    return node is None or node.bus.healthy


def _not_draining() -> bool:
    node = server().running
    return node is None or not node.draining


REMOTE: Final[dict[str, Callable[[], bool]]] = {"database": _database, "migrations": _migrations}
LOCAL: Final[dict[str, Callable[[], bool]]] = {
    "channel_layer": _layer,
    "not_draining": _not_draining,
}


def may_read_metrics(request: HttpRequest) -> bool:
    """Whether a request comes from this machine, or shows HUB_METRICS_TOKEN."""
    token = hub().metrics_token
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token and hmac.compare_digest(given.encode(), token.encode()):
        return True
    if any(name in request.headers for name in FORWARDED):
        return False  # whoever is behind a proxy is not on this machine
    try:
        return ip_address(address_of(request)).is_loopback
    except ValueError:
        return False
