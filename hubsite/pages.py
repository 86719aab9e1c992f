"""The console, and the site's errors: JSON below ``/api/``, Django's pages elsewhere."""

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.views import defaults
from django.views.decorators.http import require_safe

__all__ = ["bad_request", "console", "not_found", "server_error"]


@require_safe
def console(request: HttpRequest) -> HttpResponse:
    """The web console; everything on it happens in the browser."""
    return render(request, "realtime/console.html")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """400."""
    if _is_api(request):
        return _error(400, "malformed", "The request does not have the agreed form.")
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """404."""
    if _is_api(request):
        return _error(404, "not_found", "There is nothing at this address.")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """500."""
    if _is_api(request):
        return _error(500, "internal_error", "The hub failed; this is our fault.")
    return defaults.server_error(request)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _error(status: int, code: str, message: str) -> JsonResponse:
    return JsonResponse({"code": code, "message": message}, status=status)
