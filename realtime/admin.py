"""Live connections in the admin: who is connected, where, since when, and a button to end it.

There is no table behind the page: each look asks every process (``realtime.census``).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from realtime import census
from realtime.census import Census, Listing
from realtime.models import Connection
from security import clock
from security.admin import ReadOnlyAdmin, confirmed
from security.admin.bases import audit_staff_action

__all__ = ["ConnectionAdmin"]

T = TypeVar("T")

SHOWN: Final = 200
NOBODY: Final = Listing(connections=(), total=0, processes=0, silent=0)
DISCONNECT: Final = (("disconnect", "Disconnect"),)


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    """The page, and the page that asks before a connection is ended."""

    class Media:
        css = {"all": ("realtime/admin.css",)}  # noqa: RUF012 - Django's own form

    def get_urls(self) -> list[URLPattern]:
        """The list, and the end of one connection; nothing else is there to see."""
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="realtime_connection_changelist"),
            path(
                "<str:process>/<str:key>/disconnect/",
                view(self.disconnect_view),
                name="realtime_connection_disconnect",
            ),
        ]

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("realtime.disconnect_connection")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Everybody who is connected now, newest first; ``q`` searches in what is shown."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        search = request.GET.get("q", "")[:100]
        listing = _asked(lambda asked: asked.connections(search, limit=SHOWN)) or NOBODY
        context = {
            **self.admin_site.each_context(request),
            "title": "Live connections",
            "opts": self.model._meta,  # noqa: SLF001 - Django's public _meta
            "media": self.media,
            "is_nav_sidebar_enabled": False,  # the table needs the width
            "listing": listing,
            "rows": [_row(each) for each in listing.connections],
            "search": search,
            "may_disconnect": self.has_disconnect_permission(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "realtime/admin/connections.html", context)

    def disconnect_view(self, request: HttpRequest, process: str, key: str) -> HttpResponse:
        """Ask, then end a connection; it is audited, and its right to come back stays."""
        if not self.has_disconnect_permission(request):
            raise PermissionDenied
        found = _asked(lambda asked: asked.connection(process, key))
        if found is None:
            messages.warning(request, "That connection is gone already.")
            return _back()
        answer = confirmed(
            self,
            request,
            title="Disconnect",
            says="The connection closes with 4401. Whoever it is may connect again: to keep "
            "somebody out, end the login or block.",
            effects=[f"{found.name or 'somebody unproved'} at {found.ip or 'an unknown address'}"],
            choices=DISCONNECT,
        )
        if not isinstance(answer, str):
            return answer
        if _asked(lambda asked: asked.disconnect(process, key)):
            audit_staff_action(
                request,
                "staff_connection_ended",
                request.user,
                target=found.principal or f"ip:{found.ip}",
                process=process,
                connection=key,
                namespaces=list(found.namespaces),
            )
            messages.success(request, "The connection is closed.")
        return _back()


def _asked(call: Callable[[Census], Awaitable[T]]) -> T | None:
    """Ask the census of this process from a thread of Django's; None where there is none."""
    here = census.current()
    return None if here is None else asyncio.run(here.from_anywhere(call))


def _back() -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:realtime_connection_changelist"))


def _row(connection: census.Connection) -> dict[str, Any]:
    """What the page shows of a connection beside its own fields."""
    now_ms = clock.now_ms()
    kind, _, subject = connection.principal.partition(":")
    person = reverse("admin:security_user_change", args=[subject]) if kind == "user" else ""
    return {
        "it": connection,
        "kind": kind or "nobody yet",
        "person": person,
        "since": _ago(now_ms - connection.since_ms),
        "since_at": clock.moment(connection.since_ms),
        "heard": _ago(now_ms - connection.heard_ms) if connection.heard_ms else "-",
    }


def _ago(milliseconds: int) -> str:
    """A time that has passed, in its two largest units."""
    seconds = max(0, milliseconds // 1000)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
