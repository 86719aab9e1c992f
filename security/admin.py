"""Security in the admin: it shows much, permits little and decides nothing.

People can be edited, login sessions ended, services switched; records can only be read. Every
staff action is audited, and the log-in page is limited like the API's.
"""

import json
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.admin import UserAdmin
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from security import audit, clock, services
from security.addresses import address_of
from security.logins import person_of
from security.models import AuditEntry, Record, ServiceAccount, Session, User, Violation
from security.refusals import Refused
from security.rest import report_refusal
from security.sessions import end_session, end_sessions

__all__ = ["AuditedAdmin", "ReadOnlyAdmin", "RecordAdmin", "StaffLoginForm"]


class StaffLoginForm(AdminAuthenticationForm):
    """The admin's log-in: same limit, same work, same records as ``/api/token/``."""

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
            _audit(request, "staff_logged_in", self.user_cache)
        return self.cleaned_data

    def _error(self, refused: Refused) -> ValidationError:
        if refused.code == "rate_limited":
            return ValidationError("Too many failed attempts; wait a minute.", code=refused.code)
        return self.get_invalid_login_error()


# Bases.


class AuditedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no parameter at run time
    """Writes an audit entry for whatever staff add, change or delete."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:  # noqa: ANN401 - Django's signature
        audit_staff(request, "staff_added", obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:  # noqa: ANN401 - Django's signature
        audit_staff(request, "staff_changed", obj)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Model]) -> Any:  # noqa: ANN401 - Django's signature
        for obj in queryset:
            audit_staff(request, "staff_deleted", obj)
        return super().log_deletions(request, queryset)


def _never(*_asked: object, **_named: object) -> bool:
    """The answer to every question for permission to write."""
    return False


class ReadOnlyAdmin(AuditedAdmin):
    """Rows that staff may look at only."""

    has_add_permission = has_change_permission = has_delete_permission = _never


class RecordAdmin(ReadOnlyAdmin):
    """A record: newest first, by day, with its detail laid out for reading."""

    date_hierarchy = "at"
    show_full_result_count = False  # counting a long table takes longer than showing its page
    list_per_page = 50

    def get_fields(self, *_asked: object, **_named: object) -> list[Any]:
        hidden = {"id", "user_id", "detail"}
        shown = [each.name for each in self.model._meta.fields if each.name not in hidden]  # noqa: SLF001 - Django's public _meta
        return [*shown, "person", "detail_shown"]

    get_readonly_fields = get_fields

    @admin.display(description="person", ordering="user_id")
    def person(self, record: Record) -> SafeString | str:
        if record.user_id is None:
            return "-"
        address = reverse("admin:security_user_change", args=[record.user_id])
        return format_html('<a href="{}">{}</a>', address, record.user_id)

    @admin.display(description="detail")
    def detail_shown(self, record: Record) -> SafeString:
        # ASCII only, so that no character of a peer's can turn the line around
        return format_html("<pre>{}</pre>", json.dumps(record.detail, indent=2, sort_keys=True))


def audit_staff(request: HttpRequest, action: str, target: Model) -> None:
    """Record what a member of staff did, and to what."""
    name = target._meta.model_name  # noqa: SLF001 - Django's public _meta
    _audit(request, action, request.user, target=f"{name}:{target.pk}")


def _audit(request: HttpRequest, action: str, user: Any, *, target: str = "") -> None:  # noqa: ANN401 - whatever Django takes for a user
    audit.append(
        action,
        principal=f"user:{user.pk}",
        user_id=user.pk,
        ip=address_of(request) or None,
        target=target,
    )


def _now() -> float:
    return clock.now_ms() / 1000


# What staff can end or switch.


@admin.register(User)
class PersonAdmin(AuditedAdmin, UserAdmin):  # type: ignore[type-arg]  # as above
    """People, as Django edits them."""

    readonly_fields = ("token_version", "last_login", "date_joined")
    list_display = ("username", "email", "is_active", "is_staff", "last_login")
    actions = ("end_all_logins",)
    fieldsets = (*(UserAdmin.fieldsets or ()), ("Tokens", {"fields": ("token_version",)}))

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("security.end_session")

    @admin.action(description="End all logins of the people chosen", permissions=["end"])
    def end_all_logins(self, request: HttpRequest, people: QuerySet[User]) -> None:
        for user in people:
            end_sessions(user, _now())
            audit_staff(request, "staff_logins_ended", user)
        messages.success(request, f"All logins of {len(people)} people are ended.")


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    """Login sessions."""

    list_display = ("user", "ip", "created_at", "rotated_at", "expires_at", "revoked_because")
    list_filter = ("revoked_because", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__username", "ip", "id")
    exclude = ("refresh_digest", "previous_digest")
    actions = ("end_chosen",)

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("security.end_session")

    @admin.action(description="End sessions", permissions=["end"])
    def end_chosen(self, request: HttpRequest, sessions: QuerySet[Session]) -> None:
        ended = [each for each in sessions if end_session(each, "ended_by_staff", _now())]
        for session in ended:
            audit_staff(request, "staff_session_ended", session)
        messages.success(request, f"{len(ended)} sessions ended.")


@admin.register(ServiceAccount)
class ServiceAccountAdmin(ReadOnlyAdmin):
    """Engines and agents. Secrets are shown by ``manage.py service`` only."""

    list_display = ("name", "kind", "enabled", "key_version", "kid", "last_token_at")
    list_filter = ("kind", "enabled")
    search_fields = ("name",)
    actions = ("enable_chosen", "disable_chosen")

    def has_switch_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("security.switch_serviceaccount")

    @admin.action(description="Enable", permissions=["switch"])
    def enable_chosen(self, request: HttpRequest, chosen: QuerySet[ServiceAccount]) -> None:
        for account in chosen:
            services.enable(account.kind, account.name)
            audit_staff(request, "staff_service_enabled", account)

    @admin.action(description="Disable, and close its connections", permissions=["switch"])
    def disable_chosen(self, request: HttpRequest, chosen: QuerySet[ServiceAccount]) -> None:
        for account in chosen:
            services.disable(account.kind, account.name)
            audit_staff(request, "staff_service_disabled", account)


# Records.


@admin.register(Violation)
class ViolationAdmin(RecordAdmin):
    """What was refused."""

    list_display = ("at", "kind", "severity", "principal", "person", "ip", "event_type", "count")
    list_filter = ("kind", "severity", "namespace")
    search_fields = ("principal", "ip", "kind", "event_type")


@admin.register(AuditEntry)
class AuditEntryAdmin(RecordAdmin):
    """What was done."""

    list_display = ("at", "action", "principal", "person", "target", "ip")
    list_filter: ClassVar[tuple[str, ...]] = ("action", "namespace")
    search_fields = ("principal", "ip", "action", "target")


admin.site.site_header = "Interaction Hub"
admin.site.site_title = "Interaction Hub"
admin.site.index_title = "Administration"
admin.site.login_form = StaffLoginForm
