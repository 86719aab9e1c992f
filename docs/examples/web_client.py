# noqa: INP001 - a script; nobody imports it
"""A person in Python: sign in, act, be refused a replay, and have a world built if one is given.

pip install -e '.[engine]'
HUB_URL=http://127.0.0.1:8000 HUB_USER=ada HUB_PASSWORD=... python docs/examples/web_client.py
... python docs/examples/web_client.py realtime/static/realtime/worlds/forest.json
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from realtime.client import HubClient, HubRefused

BUILT_WITHIN_S = 120.0


async def main(spec: Any) -> None:  # noqa: ANN401 - JSON
    """Take the tour, and print what came of it as one JSON object."""
    said: dict[str, Any] = {}
    async with HubClient(os.environ["HUB_URL"]) as client:
        await client.sign_in(os.environ["HUB_USER"], os.environ["HUB_PASSWORD"])
        said["session"] = await client.connect()

        said["accepted"] = await client.act("click", {"x": 3, "y": 4})
        envelope = client.sign("emote", {"name": "wave"})
        await client.send(envelope)
        said["replayed"] = await client.send(envelope)
        try:
            await client.act("fly")
        except HubRefused as refusal:
            said["refused"] = refusal.code

        if spec is not None:
            said["build"] = await client.act("generate_world", {"spec": spec})
            said["world"] = await client.next("world_update", within_s=BUILT_WITHIN_S)
            glb = await client.request("GET", said["world"]["artifact_url"])
            said["bytes"] = len(glb)
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    worlds = [json.loads(Path(name).read_text("utf-8")) for name in sys.argv[1:]]
    asyncio.run(main(worlds[0] if worlds else None))
