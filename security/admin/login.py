"""The admin's log-in page: same limit, same work, same records as ``/api/token/``."""

from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from security import clock
from security.addresses import address_of
from security.admin.bases import audit_staff_action
from security.blocks import is_blocked
from security.logins import person_of
from security.refusals import Refused
from security.rest import report_refusal

__all__ = ["StaffLoginForm"]


class StaffLoginForm(AdminAuthenticationForm):
    """Name and password of a member of staff."""

    def clean(self) -> dict[str, Any]:
        request: HttpRequest = self.request  # type: ignore[assignment]  # the admin always passes it
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if name and password:
            try:
                self.user_cache = person_of(request, name, password, ip=address_of(request))
            except Refused as refused:
                report_refusal(request, refused)
                raise self._error(refused) from None
            self.confirm_login_allowed(self.user_cache)
            if is_blocked(f"user:{self.user_cache.pk}", clock.moment(clock.now_ms())):
                report_refusal(request, Refused("PENALTY", reason="blocked"))
                raise ValidationError("You are blocked for a while.", code="blocked")
            audit_staff_action(request, "staff_logged_in", self.user_cache)
        return self.cleaned_data

    def _error(self, refused: Refused) -> ValidationError:
        if refused.code == "rate_limited":
            return ValidationError("Too many failed attempts; wait a minute.", code=refused.code)
        return self.get_invalid_login_error()
