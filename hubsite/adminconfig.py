"""Django's admin as an app of this site; apart from ``apps.py``, where Django looks for ours."""

from django.contrib.admin.apps import AdminConfig

__all__ = ["HubAdminConfig"]


class HubAdminConfig(AdminConfig):
    """The admin with the hub's first page."""

    default_site = "hubsite.adminsite.HubAdminSite"
