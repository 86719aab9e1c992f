"""No tables: what is live is in the processes. Only what admin needs for a page and its rights."""

from typing import ClassVar

from django.db import models

__all__ = ["Connection"]


class Connection(models.Model):
    """A live connection, as ``realtime.census`` tells of it."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = (("disconnect_connection", "Can disconnect live connections"),)
        verbose_name = "live connection"
        ordering: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return "a live connection"
