"""The engine app: floor 3 of the house."""

from django.apps import AppConfig


class EngineConfig(AppConfig):
    """Builds, jobs, the dispatcher, the feed and the engines."""

    name = "engine"
    verbose_name = "Worlds and engines"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from engine import checks  # noqa: F401, PLC0415 - registers itself, once models are there
