"""The HTTP API of builds, jobs and the feed (docs/wire.md, "HTTP"): reads, and two uploads.

Thin: shapes are `engine.views`, files are `engine.artifacts`, pages of events are `engine.feed`.
"""

import re
from hashlib import sha256
from typing import Any, ClassVar, Final, cast

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engine import artifacts, feed, views
from engine.artifacts import Kind
from engine.models import LIVE_STATES, Build, Job
from security.authentication import (
    AnyBearerAuthentication,
    BearerAuthentication,
    ServiceAuthentication,
    StaffSessionAuthentication,
)
from security.conf import hub
from security.principals import Principal
from security.refusals import Refused

__all__ = [
    "ArtifactView",
    "BuildView",
    "BuildsView",
    "FeedView",
    "JobView",
    "SpecView",
    "ThumbnailView",
]

SEQ: Final = re.compile(r"0|[1-9][0-9]{0,15}")
OBJECT: Final = {"type": "object", "additionalProperties": True}
PRIVATE: Final = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}


def principal_of(request: Request) -> Principal:
    """Who the token or the session of a request proved."""
    return cast("Principal", request.auth)


def visible_builds(who: Principal) -> "QuerySet[Build]":
    """The builds that somebody may see: a person their own, staff all, an engine what it holds."""
    if who.is_staff:
        return Build.objects.all()
    if who.kind == "engine":
        held = Job.objects.filter(engine_session__name=who.subject, state__in=LIVE_STATES)
        return Build.objects.filter(pk__in=held.values("build"))
    return Build.objects.filter(user_id=int(who.subject))


def visible_build(request: Request, build_id: str) -> Build:
    """Return one build, or raise `Refused(not_found)`, also for what is another's."""
    build = visible_builds(principal_of(request)).filter(pk=build_id).first()
    if build is None:
        raise Refused("not_found", reason="no such build for this principal")
    return build


class BuildPages(PageNumberPagination):
    """Twenty builds a page; `page_size` asks for up to a hundred."""

    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 100


class BuildsView(APIView):
    """Builds, the newest first."""

    authentication_classes = (BearerAuthentication,)

    @extend_schema(
        operation_id="builds_list",
        parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
        responses={200: OBJECT},
    )
    def get(self, request: Request) -> Response:
        """Answers `{count, next, previous, results}`."""
        pages = BuildPages()
        rows = visible_builds(principal_of(request)).defer("world_text")
        page = pages.paginate_queryset(rows, request, view=self) or []
        online = views.engine_online()
        return pages.get_paginated_response(
            [views.build_summary(build, online=online) for build in page]
        )


class BuildView(APIView):
    """One build with its jobs."""

    authentication_classes = (BearerAuthentication,)

    @extend_schema(responses={200: OBJECT})
    def get(self, request: Request, build_id: str) -> Response:
        return Response(views.build_detail(visible_build(request, build_id)))


class JobView(APIView):
    """One job."""

    authentication_classes = (BearerAuthentication,)

    @extend_schema(responses={200: OBJECT})
    def get(self, request: Request, job_id: str) -> Response:
        """Answers as `job_status`, with the stage, the finish mark and the result."""
        builds = visible_builds(principal_of(request))
        job = Job.objects.filter(pk=job_id, build__in=builds).first()
        if job is None:
            raise Refused("not_found", reason="no such job for this principal")
        return Response(views.job_detail(job))


class FeedView(APIView):
    """A page of the person's own feed."""

    authentication_classes = (BearerAuthentication,)

    @extend_schema(
        parameters=[OpenApiParameter("after", int), OpenApiParameter("epoch", str)],
        responses={200: OBJECT},
    )
    def get(self, request: Request) -> Response:
        """Answers `{epoch, head, recovered, events: [{seq, event, data}]}`."""
        who = principal_of(request)
        after = request.query_params.get("after", "0")
        if who.user_id is None or not SEQ.fullmatch(after):
            raise Refused("malformed", reason="after is a number from 0 on")
        page = feed.read(who.user_id, request.query_params.get("epoch"), int(after))
        return Response(page.shown())


class BytesView(APIView):
    """Answers with bytes as they are stored, whatever the client says that it accepts."""

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:  # noqa: ANN401 - REST framework's signature
        return super().perform_content_negotiation(request, force=True)


class SpecView(BytesView):
    """The specification of a build, exactly the bytes that its SHA-256 names."""

    authentication_classes = (AnyBearerAuthentication, StaffSessionAuthentication)

    @extend_schema(responses={200: OBJECT})
    def get(self, request: Request, build_id: str) -> HttpResponse:
        build = visible_build(request, build_id)
        headers = {**PRIVATE, "ETag": f'"{build.world_sha256}"'}
        return HttpResponse(build.world_text, content_type="application/json", headers=headers)


class FileView(BytesView):
    """A file that an engine brought: people and staff read it, only engines write it."""

    kind: ClassVar[Kind]

    def get_authenticators(self) -> list[Any]:
        """Who may ask depends on what is asked."""
        if self.request is not None and self.request.method == "PUT":
            return [ServiceAuthentication()]
        return [BearerAuthentication(), StaffSessionAuthentication()]

    def send(self, request: Request, build_id: str, disposition: str) -> HttpResponse:
        """Answer with the file. `disposition` says whether a browser shows it."""
        build = visible_build(request, build_id)
        kept = self.kind.of(build)
        if not kept.file:
            raise Refused("not_found", reason=f"no {self.kind.name} yet")
        with kept.file.open("rb") as file:
            body = file.read()  # bounded when it was stored; ASGI would buffer a stream anyway
        name = f"{build.world_id}.{self.kind.ending}"
        headers = {
            **PRIVATE,
            "ETag": f'"{kept.sha256}"',
            "Content-Disposition": f'{disposition}; filename="{name}"',
        }
        return HttpResponse(body, content_type=self.kind.content_type, headers=headers)

    def keep(self, request: Request, build_id: str) -> Response:
        """Answer 201 `{build_id, sha256, size}`, also for the same upload again."""
        engine = principal_of(request)
        upload = artifacts.Upload.from_headers(build_id, request.headers)
        artifacts.admit_upload(engine, upload, self.kind)
        body = _read_body(request)
        digest = sha256(body).hexdigest()
        artifacts.check_signature(engine, upload, request.path, digest)
        self.kind.check(body)
        artifacts.store(engine, upload, self.kind, body)
        answer = {"build_id": build_id, "sha256": digest, "size": len(body)}
        return Response(answer, status=201)


UPLOAD_HEADERS: Final = [
    OpenApiParameter(name, str, OpenApiParameter.HEADER, required=True)
    for name in artifacts.HEADERS
]


class ArtifactView(FileView):
    """The built file."""

    kind = artifacts.ARTIFACT

    @extend_schema(responses={(200, "model/gltf-binary"): OpenApiTypes.BINARY})
    def get(self, request: Request, build_id: str) -> HttpResponse:
        return self.send(request, build_id, "attachment")

    @extend_schema(
        request={"model/gltf-binary": OpenApiTypes.BINARY},
        parameters=UPLOAD_HEADERS,
        responses={201: OBJECT},
    )
    def put(self, request: Request, build_id: str) -> Response:
        return self.keep(request, build_id)


class ThumbnailView(FileView):
    """A picture of the built world."""

    kind = artifacts.THUMBNAIL

    @extend_schema(responses={(200, "image/png"): OpenApiTypes.BINARY})
    def get(self, request: Request, build_id: str) -> HttpResponse:
        return self.send(request, build_id, "inline")

    @extend_schema(
        request={"image/png": OpenApiTypes.BINARY},
        parameters=UPLOAD_HEADERS,
        responses={201: OBJECT},
    )
    def put(self, request: Request, build_id: str) -> Response:
        return self.keep(request, build_id)


def _read_body(request: Request) -> bytes:
    """Return the raw body. Raises `Refused(payload_too_large)`."""
    limit = hub().artifact_body
    body: bytes = request._request.read(limit + 1)  # noqa: SLF001 - the stream itself: `body` and `data` have the bounds of JSON
    if len(body) > limit:
        raise Refused("payload_too_large", reason="artifact_body", detail={"limit": limit})
    return body
