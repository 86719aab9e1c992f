"""The security app: floor 1 of the house."""

from django.apps import AppConfig


class SecurityConfig(AppConfig):
    """Tokens, keys, the gate, limits, violations and audit."""

    name = "security"
    verbose_name = "Security"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from security import checks  # noqa: F401, PLC0415 - registers itself, once models are there
