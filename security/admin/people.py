"""People, login sessions, services, rooms and blocks: what staff end, switch, grant or lift."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from security import clock, grants, services
from security.admin.bases import AuditedAdmin, ReadOnlyAdmin, audit_staff
from security.admin.confirmation import confirmed
from security.models import Block, RoomGrant, ServiceAccount, Session, User
from security.sessions import end_session, end_sessions

__all__ = [
    "BlockAdmin",
    "PersonAdmin",
    "RoomGrantAdmin",
    "ServiceAccountAdmin",
    "SessionAdmin",
]

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

    list_display = ("name", "kind", "enabled", "hears", "key_version", "kid", "last_token_at")
    list_filter = ("kind", "enabled")
    search_fields = ("name",)
    actions = ("enable_chosen", "disable_chosen")
    readonly_fields = ("hears",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServiceAccount]:
        return super().get_queryset(request).prefetch_related("grants")

    def has_switch_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("security.switch_serviceaccount")

    @admin.display(description="hears the rooms")
    def hears(self, account: ServiceAccount) -> str:
        return ", ".join(sorted(grant.room for grant in account.grants.all())) or "-"

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


class RoomGrantForm(forms.ModelForm):  # type: ignore[type-arg]  # no parameter at run time
    """An agent and a room."""

    class Meta:
        model = RoomGrant
        fields = ("account", "room")

    def clean_room(self) -> str:
        """Only what people can join."""
        room: str = self.cleaned_data["room"]
        account = self.cleaned_data.get("account")
        if account is not None:
            try:
                grants.checked(account, room)
            except grants.BadRoom as error:
                raise forms.ValidationError(str(error)) from None
        return room


@admin.register(RoomGrant)
class RoomGrantAdmin(AuditedAdmin):
    """Who hears which room. A change ends the agent's connections; it comes back by itself."""

    form = RoomGrantForm
    list_display = ("account", "room", "created_at")
    list_select_related = ("account",)
    search_fields = ("account__name", "room")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("security.grant_rooms")

    def has_delete_permission(self, request: HttpRequest, obj: RoomGrant | None = None) -> bool:
        return self.has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: RoomGrant | None = None) -> bool:
        """A grant is given or taken, never turned into another one."""
        return False


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
