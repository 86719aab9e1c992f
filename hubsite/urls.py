"""Every HTTP address of the site."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from hubsite import health, pages, vitals
from hubsite.events import document

__all__ = ["urlpatterns"]

urlpatterns = [
    path("", pages.console, name="console"),
    path("admin/", admin.site.urls),
    path("api/", include("security.urls")),
    path("api/", include("engine.urls")),
    path("api/events/", document.events, name="events"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("metrics/summary", vitals.summary, name="summary"),
]
handler400 = "hubsite.pages.bad_request"
handler404 = "hubsite.pages.not_found"
handler500 = "hubsite.pages.server_error"
