"""People, login sessions, services and blocks: what staff can end, switch or lift."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from security import clock, services
from security.admin.bases import AuditedAdmin, ReadOnlyAdmin, audit_staff
from security.admin.confirmation import confirmed
from security.models import Block, ServiceAccount, Session, User
from security.sessions import end_session, end_sessions

__all__ = ["BlockAdmin", "PersonAdmin", "ServiceAccountAdmin", "SessionAdmin"]

Answer = HttpResponseBase | None
"""What an action returns: a page that asks first, or nothing when it is done."""


def _now() -> float:
    return clock.now_ms() / 1000


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
    def end_all_logins(self, request: HttpRequest, people: QuerySet[User]) -> Answer:
        answer = confirmed(
            self,
            request,
            title="End all logins",
            says="Tokens become worthless, and open sockets close. They may log in again.",
            effects=[user.username for user in people],
        )
        if not isinstance(answer, str):
            return answer
        for user in people:
            end_sessions(user, _now())
            audit_staff(request, "staff_logins_ended", user)
        messages.success(request, f"All logins of {len(people)} people are ended.")
        return None


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
    def end_chosen(self, request: HttpRequest, sessions: QuerySet[Session]) -> Answer:
        answer = confirmed(
            self,
            request,
            title="End sessions",
            says="Their tokens become worthless, and their open sockets close.",
            effects=[str(session) for session in sessions],
        )
        if not isinstance(answer, str):
            return answer
        ended = [each for each in sessions if end_session(each, "ended_by_staff", _now())]
        for session in ended:
            audit_staff(request, "staff_session_ended", session)
        messages.success(request, f"{len(ended)} sessions ended.")
        return None


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
    def enable_chosen(self, request: HttpRequest, chosen: QuerySet[ServiceAccount]) -> Answer:
        answer = confirmed(
            self,
            request,
            title="Enable services",
            says="They may connect again with the secret they have.",
            effects=[str(account) for account in chosen],
        )
        if not isinstance(answer, str):
            return answer
        for account in chosen:
            services.enable(account.kind, account.name)
            audit_staff(request, "staff_service_enabled", account)
        return None

    @admin.action(description="Disable, and close its connections", permissions=["switch"])
    def disable_chosen(self, request: HttpRequest, chosen: QuerySet[ServiceAccount]) -> Answer:
        answer = confirmed(
            self,
            request,
            title="Disable services",
            says="They are shut out, their connections close, and their jobs go to others.",
            effects=[str(account) for account in chosen],
        )
        if not isinstance(answer, str):
            return answer
        for account in chosen:
            services.disable(account.kind, account.name)
            audit_staff(request, "staff_service_disabled", account)
        return None


@admin.register(Block)
class BlockAdmin(ReadOnlyAdmin):
    """Who is kept out, by whom, until when. Blocks are made from a violation."""

    list_display = ("principal", "until", "holds", "by", "reason", "created_at")
    search_fields = ("principal", "by", "reason")
    actions = ("lift_chosen",)

    def has_block_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("security.block_principal")

    @admin.display(boolean=True)
    def holds(self, block: Block) -> bool:
        return block.until > clock.moment(clock.now_ms())

    @admin.action(description="Lift blocks", permissions=["block"])
    def lift_chosen(self, request: HttpRequest, chosen: QuerySet[Any]) -> Answer:
        at = clock.moment(clock.now_ms())
        holding = list(chosen.filter(until__gt=at))
        answer = confirmed(
            self,
            request,
            title="Lift blocks",
            says="They may connect again at once.",
            effects=[str(block) for block in holding],
        )
        if not isinstance(answer, str):
            return answer
        for block in holding:
            audit_staff(request, "staff_block_lifted", block)
        Block.objects.filter(pk__in=[block.pk for block in holding]).lift(at)
        messages.success(request, f"{len(holding)} blocks lifted.")
        return None
