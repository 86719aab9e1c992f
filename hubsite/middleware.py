"""Response headers of the whole site that Django 5.2 does not set itself."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

__all__ = ["content_security_policy"]

# WebSockets to the own host are named by scheme because older browsers do not count them as 'self'.
POLICY = (
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' blob: data:; "
    "style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


@sync_and_async_middleware
def content_security_policy(get_response: Callable[[HttpRequest], Any]) -> Callable[..., Any]:
    """Middleware that lets a page load only what the hub itself serves."""
    if iscoroutinefunction(get_response):

        async def apart(request: HttpRequest) -> HttpResponseBase:
            return _with_policy(await get_response(request))

        return apart

    def inline(request: HttpRequest) -> HttpResponseBase:
        return _with_policy(get_response(request))

    return inline


def _with_policy(response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault("Content-Security-Policy", POLICY)
    return response
