"""How the HTTP API reads, writes and says no: strict JSON, and errors as ``{code, message}``.

Every refusal becomes a violation before it is answered, whoever raised it: this app, another one,
or REST framework itself. (REST framework's settings name this module, so it must not import
``rest_framework.views``.)
"""

import logging
from collections.abc import Callable, Mapping
from math import ceil
from typing import IO, Any, Final

import orjson
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404, HttpRequest
from rest_framework import exceptions
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from security import database, strictjson, violations
from security.addresses import address_of
from security.conf import hub
from security.principals import Principal
from security.refusals import Refused

__all__ = [
    "OrjsonRenderer",
    "RefusedAbout",
    "StrictJsonParser",
    "answer_error",
    "exact_body",
    "report_refusal",
    "status_of",
]

_log = logging.getLogger(__name__)

STATUS: Final[Mapping[str, int]] = {
    "malformed": 400,
    "auth_invalid": 401,
    "auth_expired": 401,
    "invalid_credentials": 401,
    "invalid_signature": 401,
    "replay_detected": 401,
    "timestamp_expired": 401,
    "ENGINE_SIGNATURE_INVALID": 401,
    "ENGINE_NONCE_REPLAY": 401,
    "ENGINE_TIMESTAMP_EXPIRED": 401,
    "forbidden": 403,
    "JOB_NOT_YOURS": 403,
    "not_found": 404,
    "JOB_UNKNOWN": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "conflict": 409,
    "CONFLICTING_COMPLETION": 409,
    "INVALID_TRANSITION": 409,
    "LEASE_EXPIRED": 409,
    "STALE_ATTEMPT": 409,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "schema_validation_failed": 422,
    "quota_exceeded": 429,
    "rate_limited": 429,
    "PENALTY": 429,
    "RATE_LIMITED": 429,
    "internal_error": 500,
    "try_again": 503,
    "TRY_AGAIN": 503,
}
"""Every other code is a 400: the request itself is at fault."""


class RefusedAbout(Refused):
    """A refusal that concerns somebody else than the request proved itself to be.

    A spent refresh token or a wrong password names a person without being one.
    """

    def __init__(
        self,
        code: str,
        *,
        user_id: int | None,
        login_session: str = "",
        **facts: Any,  # noqa: ANN401 - Refused's own arguments
    ) -> None:
        super().__init__(code, **facts)
        self.user_id, self.login_session = user_id, login_session


# In.


class StrictJsonParser(BaseParser):
    """Reads one JSON text of at most ``HUB_HTTP_BODY`` bytes by the hub's strict rules."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - any JSON value; the base class expects forms
        """Raises Refused: ``payload_too_large`` or ``malformed``."""
        raw = stream.read(hub().http_body + 1)
        if len(raw) > hub().http_body:
            raise Refused("payload_too_large", reason="http_body")
        try:
            return strictjson.loads(raw)
        except strictjson.StrictJsonError as fault:
            raise Refused("malformed", reason=fault.reason) from None


def exact_body(data: object, shape: Mapping[str, type]) -> dict[str, Any]:
    """The body, if it has exactly these keys with exactly these types. Raises Refused."""
    if type(data) is not dict or data.keys() != shape.keys():
        raise Refused("malformed", reason="body_keys")
    for name, kind in shape.items():
        if type(data[name]) is not kind:  # exact: a bool is an int to isinstance
            raise Refused("malformed", reason=f"body_{name}")
    return data


# Out.


class OrjsonRenderer(BaseRenderer):
    """JSON by orjson: compact, UTF-8, never NaN."""

    media_type = "application/json"
    format = "json"
    charset = None  # JSON has one encoding (RFC 8259, section 8.1)

    def render(
        self,
        data: Any,  # noqa: ANN401 - REST framework's own signature
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else orjson.dumps(data, default=str)


def status_of(code: str) -> int:
    """The HTTP status of a public code."""
    return STATUS.get(code, 400)


def answer_error(error: Exception, context: Mapping[str, Any]) -> Response:
    """REST framework's exception handler: reports, then answers ``{code, message}``."""
    refused = _refusal(error)
    report_refusal(context["request"], refused)
    code = str(refused.public.get("code", refused.code))
    body = {"code": code, "message": refused.message, **refused.public}
    response = Response(body, status=status_of(code))
    if refused.retry_after_ms is not None:
        body["retry_after_ms"] = refused.retry_after_ms
        response["Retry-After"] = str(ceil(refused.retry_after_ms / 1000))
    if response.status_code == 401:  # noqa: PLR2004 - RFC 9110, section 11.6.1: it must say how
        response["WWW-Authenticate"] = 'Bearer realm="hub"'
    return response


def report_refusal(request: Request | HttpRequest, refused: Refused) -> None:
    """Make the violation of a refusal and wait until staff can read it (at most a second)."""
    auth = getattr(request, "auth", None)  # only REST framework's request has it
    who = auth if isinstance(auth, Principal) else None
    about = refused if isinstance(refused, RefusedAbout) else None
    violations.confirm_blocking(
        violations.report(
            violations.Incident(
                kind=refused.kind,
                code=refused.code,
                principal=who.label if who else "",
                user_id=who.user_id if who else about.user_id if about else None,
                namespace=request.path,
                login_session=who.session_id if who else about.login_session if about else "",
                ip=address_of(request) or None,
                event_type=request.method or "",
                detail=refused.detail,
            )
        )
    )


def _refusal(error: Exception) -> Refused:
    """What an exception of a view says to the client."""
    if isinstance(error, Refused):
        return error
    if isinstance(
        error.__cause__, Refused
    ):  # an authenticator's reason, see security.authentication
        return error.__cause__
    for kinds, refusal in REFUSALS:
        if isinstance(error, kinds):
            return refusal(error)
    _log.error("a view failed", exc_info=error, extra={"action": "http_internal_error"})
    return Refused("internal_error", reason=type(error).__name__)


def _http_only(code: str, message: str) -> Callable[[Any], Refused]:
    """A refusal with a code of HTTP's own; in the records it is a malformed request."""
    return lambda _error: Refused("malformed", reason=code, message=message, public={"code": code})


def _throttled(error: exceptions.Throttled) -> Refused:
    seconds: float | None = error.wait  # type: ignore[attr-defined]  # missing in the stubs
    wait = None if seconds is None else ceil(seconds * 1000)
    return Refused("rate_limited", reason="throttled", retry_after_ms=wait)


Kinds = type[Exception] | tuple[type[Exception], ...]
REFUSALS: Final[tuple[tuple[Kinds, Callable[[Any], Refused]], ...]] = (
    (
        exceptions.NotAuthenticated,
        lambda _error: Refused("auth_invalid", reason="missing", message="A token is needed."),
    ),
    (exceptions.AuthenticationFailed, lambda _error: Refused("auth_invalid", reason="scheme")),
    (
        (exceptions.PermissionDenied, DjangoPermissionDenied),
        lambda _error: Refused("forbidden", reason="permission"),
    ),
    ((exceptions.NotFound, Http404), lambda _error: Refused("not_found", reason="path")),
    (exceptions.Throttled, _throttled),
    (
        exceptions.MethodNotAllowed,
        _http_only("method_not_allowed", "This address does not take that method."),
    ),
    (
        exceptions.UnsupportedMediaType,
        _http_only("unsupported_media_type", "The body must be application/json."),
    ),
    (
        exceptions.NotAcceptable,
        _http_only("not_acceptable", "Only application/json is spoken here."),
    ),
    (database.TROUBLE, lambda error: Refused("try_again", reason=type(error).__name__)),
    (exceptions.APIException, lambda error: Refused("malformed", reason=error.default_code)),
)
"""REST framework's exceptions, the finer before the coarser."""
