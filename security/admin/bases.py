"""What all pages of the admin share: staff actions are audited, records can only be read."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from security import audit
from security.addresses import address_of
from security.models import Record

__all__ = ["AuditedAdmin", "ReadOnlyAdmin", "RecordAdmin", "audit_staff", "audit_staff_action"]


class AuditedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no parameter at run time
    """Writes an audit entry for whatever staff add, change or delete."""

    class Media:
        css = {"all": ("security/admin.css",)}  # noqa: RUF012 - Django's own form

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

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Any column may be filtered by: links between records do, and staff may see them all."""
        columns = {each.name for each in self.model._meta.fields}  # noqa: SLF001 - Django's public _meta
        return lookup in columns or super().lookup_allowed(lookup, value, request)

    def get_fields(self, *_asked: object, **_named: object) -> list[Any]:
        hidden = {"id", "user_id", "detail"}
        shown = [each.name for each in self.model._meta.fields if each.name not in hidden]  # noqa: SLF001 - Django's public _meta
        return [*shown, "person", "detail_shown"]

    get_readonly_fields = get_fields

    @admin.display(description="person", ordering="user_id")
    def person(self, record: Record) -> SafeString | str:
        if record.user_id is None:
            return "-"
        return self._person_link(record, record.user_id)

    @admin.display(description="at (UTC)", ordering="at")
    def when(self, record: Record) -> str:
        return f"{record.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="who", ordering="principal")
    def who(self, record: Record) -> SafeString | str:
        """The principal; where only an address was proved, the person it was about as well."""
        if record.user_id is None:
            return record.principal or "-"
        if record.principal == f"user:{record.user_id}":
            return self._person_link(record, record.principal)
        about = self._person_link(record, f"user:{record.user_id}")
        return format_html("{} for {}", record.principal, about)

    def _person_link(self, record: Record, text: object) -> SafeString:
        address = reverse("admin:security_user_change", args=[record.user_id])
        return format_html('<a href="{}">{}</a>', address, text)

    @admin.display(description="detail")
    def detail_shown(self, record: Record) -> SafeString:
        # ASCII only, so that no character of a peer's can turn the line around
        return format_html("<pre>{}</pre>", json.dumps(record.detail, indent=2, sort_keys=True))


def audit_staff(request: HttpRequest, action: str, target: Model) -> None:
    """Record what a member of staff did, and to what."""
    name = target._meta.model_name  # noqa: SLF001 - Django's public _meta
    audit_staff_action(request, action, request.user, target=f"{name}:{target.pk}")


def audit_staff_action(
    request: HttpRequest,
    action: str,
    user: Any,  # noqa: ANN401 - whatever Django takes for a user
    *,
    target: str = "",
    **detail: object,
) -> None:
    """As ``audit_staff``, for what is no row."""
    audit.append(
        action,
        principal=f"user:{user.pk}",
        user_id=user.pk,
        ip=address_of(request) or None,
        target=target,
        detail=detail,
    )
