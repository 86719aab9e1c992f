"""The site itself: the composition root of the house."""

from django.apps import AppConfig


class HubsiteConfig(AppConfig):
    """Settings, routing, the demo and system-wide pages."""

    name = "hubsite"
    verbose_name = "Interaction Hub"
