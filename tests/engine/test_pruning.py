"""Old files are let go of, strays are found, and whose place is full may not ask for more."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

from engine import pruning
from engine.clock import database_now
from engine.models import Build
from security.conf import HubSettings
from security.refusals import Refused

pytestmark = pytest.mark.django_db

DAYS = HubSettings().artifact_keep_days


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def built(bench: Any, name: str = "Harbour") -> Build:
    """A completed build with both files."""
    bench.engine(name.lower())
    build = bench.submit(entities=1, name=name)
    bench.run_all()
    build.refresh_from_db()
    build.artifact_attempt = build.thumbnail_attempt = "a_1"
    build.artifact.save("x", ContentFile(b"glTF"), save=False)
    build.thumbnail.save("x", ContentFile(b"png"), save=False)
    build.artifact_size, build.thumbnail_size = 4, 3
    build.save()
    return build


def files(media: Path) -> int:
    return sum(each.is_file() for each in media.rglob("*"))


def test_files_go_with_age_and_their_build_stays(bench: Any, media: Path) -> None:
    build = built(bench)
    assert pruning.prune_artifacts(now=bench.now + timedelta(days=DAYS)) == 0
    assert files(media) == 2
    assert pruning.prune_artifacts(now=bench.now + timedelta(days=DAYS, seconds=1)) == 2
    assert files(media) == 0
    build.refresh_from_db()
    assert (build.state, build.artifact.name, build.artifact_size) == ("completed", "", 0)
    assert (build.thumbnail.name, build.thumbnail_attempt) == ("", "")
    assert pruning.prune_artifacts(now=bench.now + timedelta(days=2 * DAYS)) == 0


def test_more_than_one_batch_is_pruned(
    bench: Any, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    for name in ("One", "Two", "Three"):
        built(bench, name)
    assert pruning.prune_artifacts(now=bench.now + timedelta(days=2 * DAYS)) == 6
    assert files(media) == 0


def test_strays_are_found_after_a_day_and_what_a_build_names_is_left(
    bench: Any, media: Path
) -> None:
    build = built(bench)
    folder = media / "artifacts" / build.pk
    now = database_now()
    for name, age in (("a_old.glb", timedelta(days=2)), ("a_new.glb", timedelta())):
        (folder / name).write_bytes(b"glTF")
        os.utime(folder / name, ((now - age).timestamp(),) * 2)
    for each in (build.artifact, build.thumbnail):
        os.utime(media / str(each.name), ((now - timedelta(days=3)).timestamp(),) * 2)
    assert pruning.prune_strays(now=now) == 1
    assert not (folder / "a_old.glb").exists()
    assert files(media) == 3


def test_a_hub_without_files_has_no_strays() -> None:
    assert pruning.prune_strays() == 0


def test_a_person_whose_place_is_full_may_not_ask_for_more(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(bench)
    monkeypatch.setattr("engine.dispatch.submit.hub", lambda: HubSettings(artifact_bytes=7))
    with pytest.raises(Refused) as refused:
        bench.submit()
    assert (refused.value.code, refused.value.reason) == ("quota_exceeded", "artifact_bytes")
    bench.submit(bench.person("grace"))
    pruning.prune_artifacts(now=bench.now + timedelta(days=2 * DAYS))
    bench.submit()


def test_every_pruner_is_registered_and_says_how_much(media: Path) -> None:
    assert {name: prune() for name, prune in pruning.PRUNERS.items()} == {
        "feed_events": 0,
        "artifacts": 0,
        "stray_files": 0,
    }
