"""Response headers of the whole site that Django 5.2 does not set itself."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

__all__ = ["content_security_policy"]

# WebSockets to the own host are named by scheme because older browsers do not count them as 'self'.
POLICY = (
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' blob: data:; "
    "style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that lets a page load only what the hub itself serves."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    return middleware
