"""The engine app: floor 3 of the house."""

from django.apps import AppConfig


class EngineConfig(AppConfig):
    """Builds, jobs, the dispatcher, the feed and the engines."""

    name = "engine"
    verbose_name = "Worlds and engines"
    default_auto_field = "django.db.models.BigAutoField"
