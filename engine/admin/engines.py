"""Engine connections in the admin, as honest as the clock; and the switch that pauses dispatch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from engine import dispatcher, effects
from engine.admin.parts import Situated, time_between
from engine.clock import database_now
from engine.models import EngineSession
from engine.outcome import Outcome
from engine.views import live_jobs_by_engine, shown_state
from security.admin import confirmed
from security.admin.bases import audit_staff_action

__all__ = ["EngineSessionAdmin"]


@dataclass(frozen=True, slots=True)
class Wish:
    """One way to turn the switch, and how its page speaks of it."""

    title: str
    says: str
    effects: tuple[str, ...]
    decide: Callable[[int | None], Outcome]
    record: str
    done: str


PAUSE: Final = Wish(
    title="Pause dispatch",
    says="No job goes to an engine until somebody resumes.",
    effects=("What engines hold goes on.", "People may ask for worlds, which wait."),
    decide=dispatcher.pause,
    record="staff_dispatch_paused",
    done="Dispatch is paused.",
)
RESUME: Final = Wish(
    title="Resume dispatch",
    says="Dispatch is paused.",
    effects=("Waiting jobs go to the engines again.",),
    decide=dispatcher.resume,
    record="staff_dispatch_resumed",
    done="Dispatch goes on.",
)


@admin.register(EngineSession)
class EngineSessionAdmin(Situated):
    """Engine connections, open ones and those of before."""

    list_display = (
        "name",
        "now",
        "last_sign",
        "held",
        "capacity",
        "version",
        "connected_at",
        "closed_at",
    )
    list_filter = ("state", "name")
    search_fields = ("name", "id", "node")
    date_hierarchy = "connected_at"
    readonly_fields = ("now", "last_sign", "held", "jobs_link", "connected_for")

    def get_urls(self) -> list[URLPattern]:
        """Django's, and the switch."""
        switch = self.admin_site.admin_view(self.switch)
        return [path("dispatch/", switch, name="engine_dispatch"), *super().get_urls()]

    def switch(self, request: HttpRequest) -> HttpResponse:
        """Ask whether to pause, or to resume if dispatch is paused; then do it."""
        if not request.user.has_perm("engine.pause_dispatch"):
            raise PermissionDenied
        wish = RESUME if dispatcher.is_paused() else PAUSE
        answer = confirmed(
            self,
            request,
            title=wish.title,
            says=wish.says,
            effects=wish.effects,
            choices=((wish.record, wish.title),),
        )
        if isinstance(answer, HttpResponse):
            return answer
        effects.hand_over(wish.decide(request.user.pk))
        audit_staff_action(request, wish.record, request.user, target="dispatch")
        messages.success(request, wish.done)
        return HttpResponseRedirect(reverse("admin:engine_enginesession_changelist"))

    @admin.display(description="state", ordering="state")
    def now(self, session: EngineSession) -> str:
        return shown_state(session, self.held(session), database_now())

    @admin.display(description="last sign of life", ordering="last_seen_at")
    def last_sign(self, session: EngineSession) -> str:
        return f"{time_between(session.last_seen_at, database_now())} ago"

    @admin.display(description="live jobs")
    def held(self, session: EngineSession) -> int:
        return 0 if session.closed_at else live_jobs_by_engine().get(session.id, 0)

    @admin.display(description="jobs")
    def jobs_link(self, session: EngineSession) -> SafeString:
        address = reverse("admin:engine_job_changelist")
        return format_html(
            '<a href="{}?engine_session__id__exact={}">all its jobs</a>', address, session.id
        )

    @admin.display(description="connected for")
    def connected_for(self, session: EngineSession) -> str:
        return time_between(session.connected_at, session.closed_at or session.last_seen_at)
