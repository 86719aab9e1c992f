"""The security app: floor 1 of the house."""

from django.apps import AppConfig


class SecurityConfig(AppConfig):
    """Tokens, keys, the gate, limits, violations and audit."""

    name = "security"
    verbose_name = "Security"
    default_auto_field = "django.db.models.BigAutoField"
