"""The admin of this site: Django's own, with an overview on its first page."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from hubsite.overview import overview
from security.blocks import is_blocked

__all__ = ["HubAdminSite"]


class HubAdminSite(AdminSite):
    """Where members of staff look at what happened, and act on it."""

    def has_permission(self, request: HttpRequest) -> bool:
        """As Django has it, but for those who are blocked: a cookie does not outlast that."""
        if not super().has_permission(request):
            return False
        return not is_blocked(f"user:{request.user.pk}", timezone.now())

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """The first page, which begins with the state of things."""
        shown = {"overview": overview(request.user, timezone.now())}
        return super().index(request, {**shown, **(extra_context or {})})
