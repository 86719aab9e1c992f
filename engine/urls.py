"""Addresses of builds, jobs and the feed, below ``/api/``."""

from django.urls import path

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

urlpatterns = [
    path("builds/", BuildsView.as_view(), name="builds"),
    path("builds/<str:build_id>/", BuildView.as_view(), name="build"),
    path("builds/<str:build_id>/artifact/", ArtifactView.as_view(), name="build-artifact"),
    path("builds/<str:build_id>/thumbnail/", ThumbnailView.as_view(), name="build-thumbnail"),
    path("builds/<str:build_id>/spec/", SpecView.as_view(), name="build-spec"),
    path("jobs/<str:job_id>/", JobView.as_view(), name="job"),
    path("feed/", FeedView.as_view(), name="feed"),
]
