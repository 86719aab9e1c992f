"""Letting go of what is old: feed events and built files. `manage.py prune` calls these.

A build outlives its files: it stays in lists and in the admin, without a link. Builds and jobs are
kept for good; they are small, and nothing that runs every second looks at finished ones.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from django.core.files.storage import Storage
from django.db import transaction
from django.db.models import Q, QuerySet

from engine import feed
from engine.artifacts import KINDS, Kind
from engine.clock import moment
from engine.models import FINAL_STATES, Build
from security.conf import hub

__all__ = ["PRUNERS", "prune_artifacts", "prune_strays"]

BATCH: Final = 100
FOLDER: Final = "artifacts"
EMPTY: Final[Mapping[str, object]] = {"": "", "_sha256": "", "_size": 0, "_attempt": ""}
STRAY_AFTER: Final = timedelta(days=1)  # an upload is written down before its build says so


def prune_artifacts(*, now: datetime | None = None) -> int:
    """Remove artifacts and thumbnails of builds that ended `HUB_ARTIFACT_KEEP_DAYS` ago.

    Returns how many files. A file goes only after the build that named it does no longer.
    """
    before = moment(now) - timedelta(days=hub().artifact_keep_days)
    has_files = ~Q(artifact="") | ~Q(thumbnail="")
    aged = Build.objects.filter(has_files, state__in=FINAL_STATES, finished_at__lt=before)
    removed = 0
    while build_ids := list(aged.order_by("finished_at").values_list("pk", flat=True)[:BATCH]):
        removed += _remove_files(aged.filter(pk__in=build_ids))
    return removed


def _remove_files(aged: "QuerySet[Build]") -> int:
    """Clear the fields of builds, locked and looked at once more, then delete what they named."""
    removed: list[tuple[Storage, str]] = []
    with transaction.atomic():
        rows = aged.select_for_update(no_key=True).defer("world_text")
        for build in rows.order_by("pk"):
            removed += [file for kind in KINDS.values() for file in _cleared(build, kind)]
            build.save(update_fields=[f"{name}{each}" for name in KINDS for each in EMPTY])
    for storage, name in removed:
        storage.delete(name)
    return len(removed)


def _cleared(build: Build, kind: Kind) -> Iterator[tuple[Storage, str]]:
    file = kind.of(build).file
    name = file.name
    for ending, value in EMPTY.items():
        setattr(build, kind.name + ending, value)
    if name:
        yield file.storage, name


def prune_strays(*, now: datetime | None = None) -> int:
    """Remove files that no build names: a process ended between writing one and saying so.

    Returns how many. Younger ones than a day are left: their upload may be under way.
    """
    before = moment(now) - STRAY_AFTER
    storage = Build.artifact.field.storage
    removed = 0
    for folder in _folders(storage, FOLDER):
        build = Build.objects.filter(pk=folder).values_list(*KINDS).first() or ()
        for file in storage.listdir(f"{FOLDER}/{folder}")[1]:
            name = f"{FOLDER}/{folder}/{file}"
            if name not in build and storage.get_modified_time(name) < before:
                storage.delete(name)
                removed += 1
    return removed


def _folders(storage: Storage, path: str) -> list[str]:
    """Return the folders below a path; none if it was never made."""
    try:
        folders, _ = storage.listdir(path)
    except FileNotFoundError:
        return []
    return sorted(folders)


PRUNERS: Final[Mapping[str, Callable[[], int]]] = MappingProxyType(
    {"feed_events": feed.prune, "artifacts": prune_artifacts, "stray_files": prune_strays}
)
"""What this app prunes, by name: each returns how much it removed."""
