"""What the tests of agents share."""

from collections.abc import AsyncIterator

import pytest

from tests.realtime.agents.agent_bench import AgentBench


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentBench]:
    made = AgentBench(monkeypatch)
    yield made
    await made.node.stop()
