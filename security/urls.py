"""Addresses of the identity API, below ``/api/``."""

from django.urls import path

from security.api import RefreshView, RevokeView, ServiceTokenView, TimeView, TokenView

__all__ = ["urlpatterns"]

urlpatterns = [
    path("token/", TokenView.as_view(), name="token"),
    path("token/refresh/", RefreshView.as_view(), name="token-refresh"),
    path("token/revoke/", RevokeView.as_view(), name="token-revoke"),
    path("service-token/", ServiceTokenView.as_view(), name="service-token"),
    path("time/", TimeView.as_view(), name="time"),
]
