"""The people's feeds in the admin."""

from django.contrib import admin

from engine.models import FeedEvent
from security.admin import ReadOnlyAdmin

__all__ = ["FeedEventAdmin"]


@admin.register(FeedEvent)
class FeedEventAdmin(ReadOnlyAdmin):
    """What people were told, as it was numbered."""

    list_display = ("user", "seq", "event", "created_at")
    list_filter = ("event",)
    list_select_related = ("user",)
    show_full_result_count = False
    search_fields = ("user__username",)
    date_hierarchy = "created_at"
