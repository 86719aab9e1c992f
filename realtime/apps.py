"""The realtime app: floor 2 of the house."""

from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    """Sessions, namespaces, presence, actions, fan-out, and the console."""

    name = "realtime"
    verbose_name = "Realtime"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Commands that end a login tell the hub's processes; the system checks are known."""
        from realtime import checks, kicks  # noqa: F401, PLC0415 - the models have to be there first

        kicks.listen_without_node()
