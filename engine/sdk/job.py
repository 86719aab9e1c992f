"""What a handler gets: the job, and a context to report, upload and ask with."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from engine.sdk.errors import BadMessage
from engine.sdk.hubapi import HubApi, Place

__all__ = ["Context", "Job"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt at a job, as the hub sent it (docs/wire.md, `engine_job`); times in seconds.

    An attempt may reach an engine more than once, and another engine may hold an earlier one: what
    a handler does must be idempotent per `attempt_id`. `timeout_s` is None where the hub sets no
    limit. `world_spec` is None where only `world_sha256` names it; then `Context.fetch_spec()` gets
    it. `finish` marks the job that exports and uploads the artifact of its build.
    """

    job_id: str
    attempt_id: str
    job_type: str
    build_id: str
    payload: Mapping[str, Any]
    world_spec: Mapping[str, Any] | None
    world_sha256: str
    finish: bool
    timeout_s: float | None
    priority: str
    user_id: str
    submitted_at: int | None

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> "Job":
        """Read an authentic `engine_job`. Raises `BadMessage` if a field that matters is wrong."""
        execution = _mapping(body.get("execution_params") or {})
        timeout_ms = execution.get("timeout_ms")
        specification = body.get("world_spec")
        return cls(
            job_id=_text(body.get("job_id")),
            attempt_id=_text(body.get("attempt_id")),
            job_type=_text(body.get("job_type")),
            build_id=_text(body.get("build_id")),
            payload=_mapping(body.get("payload")),
            world_spec=None if specification is None else _mapping(specification),
            world_sha256=str(body.get("world_sha256") or ""),
            finish=execution.get("finish") is True,
            timeout_s=timeout_ms / 1000 if type(timeout_ms) is int and timeout_ms > 0 else None,
            priority=str(execution.get("priority", "normal")),
            user_id=str(body.get("user_id", "")),
            submitted_at=body.get("submitted_at"),
        )

    @property
    def name(self) -> dict[str, str]:
        """The two ids that every event about the attempt carries."""
        return {"job_id": self.job_id, "attempt_id": self.attempt_id}


class Context:
    """What a handler may do for its job besides computing.

    When the hub aborts the job, its time is up or the engine is told to stop at once, an
    asynchronous handler is cancelled like any asyncio task; a synchronous one runs in a thread,
    which nobody can interrupt, and should look at `cancelled` now and then.
    """

    def __init__(self, job: Job, *, api: HubApi, report: Callable[[int], None]) -> None:
        self._job = job
        self._api = api
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._place = Place(job.build_id, job.job_id, job.attempt_id)
        self.cancel_reason: str | None = None

    @property
    def cancelled(self) -> bool:
        """Tell whether nobody wants the result any more; `cancel_reason` says why."""
        return self.cancel_reason is not None

    def progress(self, percent: int) -> None:
        """Tell the hub how much of the job is done; callable from any thread, any number of times.

        Only the newest value travels, at most five times a second, and never a smaller one than
        before. Raises `ValueError` for anything but a whole number from 0 to 100.
        """
        if type(percent) is not int or not 0 <= percent <= 100:  # noqa: PLR2004 - percent
            raise ValueError(f"progress is a whole number from 0 to 100, not {percent!r}")
        self._loop.call_soon_threadsafe(self._report, percent)

    async def upload_artifact(self, data: bytes) -> None:
        """Store the finished world, a `.glb` of at most 32 MiB, once in an attempt.

        The same bytes again change nothing; other bytes are refused with `conflict`, for only a
        newer attempt replaces a file. Raises `HubRefused` for a final no, `TryLater` when the hub
        could not for a long time.
        """
        await self._api.put("artifact", self._place, data)

    async def upload_thumbnail(self, data: bytes) -> None:
        """Store a PNG picture of the finished world; otherwise as `upload_artifact`."""
        await self._api.put("thumbnail", self._place, data)

    async def fetch_spec(self) -> dict[str, Any]:
        """Return the world specification of the build from the hub, checked by its digest.

        Raises `SpecMismatch`, `HubRefused` and `TryLater`.
        """
        return await self._api.specification(self._job.build_id, digest=self._job.world_sha256)

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait, in a synchronous handler, for one of the asynchronous methods of this context."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise BadMessage("payload_invalid")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadMessage("payload_invalid")
    return value
