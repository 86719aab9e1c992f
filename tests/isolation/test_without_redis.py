"""Two processes on one SQLite and no Redis: a right that ends at one ends at the other by itself.

The regular look at who is connected comes every half minute (``realtime.kicks.RECHECK_S``); here it
comes every second, so that a test need not wait, and as it comes in earnest in the soak.
"""

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from realtime.kicks import RECHECK_S
from tests.flood.run import SETTINGS
from tests.hostile.raw import Member
from tests.hostile.stage import Stage
from tests.isolation.staging import FailingHub

PROMISED_S = 31.0  # docs/security.md: the look, and a second to do it
BUSY_S = 30.0  # a machine that is busy looks late


@dataclass
class Site:
    """The stage at one process, the other one, and within how many seconds a right ends there."""

    stage: Stage
    elsewhere: FailingHub
    within_s: float


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(1.0, id="every second"),
        pytest.param(None, id="in earnest", marks=pytest.mark.soak),
    ],
)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    data_dir: Path = tmp_path_factory.mktemp("alone")
    every_s: float | None = request.param
    environ = {**SETTINGS, "HUB_TRUSTED_PROXIES": "127.0.0.1"}
    if every_s is not None:
        environ["RECHECK_S"] = str(every_s)
    with FailingHub(data_dir=data_dir, **environ) as first:
        stage = Stage(first)
        with FailingHub(data_dir=data_dir, **environ) as second:
            yield Site(stage, second, PROMISED_S if every_s is None else every_s + BUSY_S)


def log_out(hub: FailingHub, refresh: str) -> None:
    request = urllib.request.Request(  # noqa: S310 - the hub's own http address
        f"{hub.url}/api/token/revoke/",
        data=json.dumps({"refresh": refresh}).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()  # noqa: S310 - as above


def test_the_look_is_within_what_the_documents_promise() -> None:
    assert RECHECK_S + 1.0 == PROMISED_S


async def test_logging_out_at_one_process_ends_the_sockets_at_the_other_too(
    site: Site,
) -> None:
    stage, elsewhere = site.stage, site.elsewhere
    who, other = stage.person(), stage.person()
    async with (
        stage.member(who, stage.address({})) as near,
        Member(elsewhere.url, who, ip=stage.address({})) as far,
        Member(elsewhere.url, other, ip=stage.address({})) as bystander,
    ):
        await asyncio.to_thread(log_out, stage.hub, who["refresh"])
        began = time.monotonic()
        assert await near.closed() == 4401
        assert await far.closed() == 4401
        took = time.monotonic() - began
        assert (await bystander.call("heartbeat"))["ok"] is True
    assert took < site.within_s
