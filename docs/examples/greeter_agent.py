# noqa: INP001 - a script; nobody imports it
"""A complete agent: it greets whoever waves, and warns whoever shouts. HUB_URL, HUB_AGENT_SECRET.

HUB_URL=http://127.0.0.1:8000 HUB_AGENT_SECRET=... python docs/examples/greeter_agent.py greeter
"""

import os
import sys
from typing import Any

from realtime.agents.client import Agent

agent = Agent(os.environ["HUB_URL"], sys.argv[1], os.environ["HUB_AGENT_SECRET"])


@agent.on_action
async def answer(action: dict[str, Any]) -> None:
    """Called with each `action_update` of the agent's rooms, one after the other."""
    person, payload = action["user_id"], action["payload"] or {}
    if action["type"] == "emote":
        words, reason = f"Hello, {action['username']}!", "greeting"
    elif action["type"] == "speak" and str(payload.get("text", "")).isupper():
        words, reason = "No need to shout, everybody hears you.", "shouting"
    else:
        return
    await agent.say(person, words, reason=reason, in_reply_to=action["id"])


if __name__ == "__main__":
    agent.main()
