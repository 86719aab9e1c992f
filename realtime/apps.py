"""The realtime app: floor 2 of the house."""

from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    """Sessions, namespaces, presence, actions, fan-out, and the console."""

    name = "realtime"
    verbose_name = "Realtime"
    default_auto_field = "django.db.models.BigAutoField"
