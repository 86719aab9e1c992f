"""Addresses of builds, jobs and the feed, below ``/api/``."""

from django.urls import path, register_converter

from engine.api import (
    ArtifactView,
    BuildsView,
    BuildView,
    FeedView,
    JobView,
    SpecView,
    ThumbnailView,
)

__all__ = ["urlpatterns"]


class Identifier:
    """The ids that this app makes, with room to grow; what else is asked for is nowhere.

    A NUL in an address, for one, would be a fault of ours where PostgreSQL is asked about it.
    """

    regex = "[A-Za-z0-9_-]{1,64}"

    def to_python(self, value: str) -> str:
        """As it stands."""
        return value

    def to_url(self, value: str) -> str:
        """As it stands."""
        return value


register_converter(Identifier, "id")

urlpatterns = [
    path("builds/", BuildsView.as_view(), name="builds"),
    path("builds/<id:build_id>/", BuildView.as_view(), name="build"),
    path("builds/<id:build_id>/artifact/", ArtifactView.as_view(), name="build-artifact"),
    path("builds/<id:build_id>/thumbnail/", ThumbnailView.as_view(), name="build-thumbnail"),
    path("builds/<id:build_id>/spec/", SpecView.as_view(), name="build-spec"),
    path("jobs/<id:job_id>/", JobView.as_view(), name="job"),
    path("feed/", FeedView.as_view(), name="feed"),
]
