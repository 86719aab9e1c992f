"""The reference agent: the coach's advice, said to the people it is for."""

import asyncio
import logging
from typing import Any, Final

from realtime.agents.client import Agent
from realtime.agents.coach import Advice, Coach
from realtime.agents.errors import NotSaid

__all__ = ["build_reference"]

log = logging.getLogger("realtime.agents")

LOOKS_S: Final = 1.0
NOT_HERE: Final = "PERSON_NOT_HERE"


def build_reference(url: str, name: str, secret: str, *, coach: Coach | None = None) -> Agent:
    """Make the agent that ``manage.py agent`` runs. Raises ValueError."""
    agent, adviser = Agent(url, name, secret), coach or Coach()

    async def say(advice: Advice) -> None:
        try:
            await agent.say(
                advice.user_id,
                advice.message,
                reason=advice.reason,
                in_reply_to=advice.in_reply_to or None,
            )
        except NotSaid as refusal:
            log.info("%s", refusal, extra={"action": "agent.not_said"})
            if refusal.code == NOT_HERE:
                adviser.forget(advice.user_id)

    @agent.on_action
    async def heard(action: dict[str, Any]) -> None:
        advice = adviser.saw(action, now=asyncio.get_running_loop().time())
        if advice is not None:
            await say(advice)

    @agent.every(LOOKS_S)
    async def look_around() -> None:
        for advice in adviser.look_around(now=asyncio.get_running_loop().time()):
            await say(advice)

    return agent
