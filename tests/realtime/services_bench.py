"""A service on the bench of ``tests.realtime.guarded``: it speaks in envelopes and reads them."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from security import sessions
from security.principals import Principal
from security.signatures import MessageKey, from_base64url, socket_key, to_base64url
from tests.realtime.guarded import Bench, Peer, settle

AUDIENCES = {"user": "hub:user", "engine": "hub:engine", "agent": "hub:agent"}
CLIENT_NONCE = b"c" * 32


def add_service(bench: Bench, kind: str, name: str, **facts: Any) -> Principal:
    """A service whom a token stands for, which is its name."""
    bench.add(name, 0)
    service = {
        "kind": kind,
        "subject": name,
        "role": kind,
        "session_id": "",
        "token_id": f"token-{name}",
    }
    return bench.renew(name, of=name, **{**service, **facts})


class ServicePeer(Peer):
    """A service on the bench; ``usual`` is the token it shows unless a test names another."""

    kind: ClassVar[Any]
    usual: ClassVar[str]
    heard_key: MessageKey

    @property
    def place(self) -> str:
        return f"/{self.kind}"

    async def connect(self, who: str = "", **auth: Any) -> dict[str, Any]:
        """CONNECT with that service's token; returns ``session``, or the refusal's body."""
        who = who or self.usual
        asked = {"token": who, "client_nonce": to_base64url(CLIENT_NONCE), **auth}
        self.send(f"40{self.place}," + json.dumps(asked))
        await settle()
        refusals = [frame for frame in self.texts() if frame.startswith(f"44{self.place},")]
        if refusals:
            body: dict[str, Any] = json.loads(refusals[-1].partition(",")[2])
            return body
        session: dict[str, Any] = self.heard("session")[-1]
        self.key = self.key_of(who, session, "c2s")
        self.heard_key = self.key_of(who, session, "s2c")
        return session

    def key_of(self, who: str, session: Mapping[str, Any], direction: Any) -> MessageKey:
        where = {"namespace": self.place, "principal": f"{self.kind}:{who}", "sid": session["sid"]}
        derived = socket_key(
            sessions.secret_of(self.bench.people[who]),
            server_nonce=from_base64url(session["server_nonce"]),
            client_nonce=CLIENT_NONCE,
            direction=direction,
            **where,
        )
        return MessageKey(derived, direction=direction, **where)

    def sign(self, kind: str, payload: object = None, **fields: Any) -> dict[str, Any]:
        """An envelope; ``fields`` replace its own before it is signed."""
        envelope = super().sign(kind, payload, **fields)
        del envelope["type"]
        return envelope

    async def say(self, event: str, payload: object, **fields: Any) -> dict[str, Any]:
        """A signed message's acknowledgement."""
        return await self.call(event, self.sign(event, payload, **fields))

    async def call(self, event: object, *args: object) -> dict[str, Any]:
        ack_id = next(self._acks)
        self.send(f"42{self.place},{ack_id}" + json.dumps([event, *args]))
        await settle()
        return self.answer(ack_id)

    def tell(self, event: str, payload: object) -> None:
        """A signed message, without waiting for anything."""
        self.send(f"42{self.place}," + json.dumps([event, self.sign(event, payload)]))

    def answer(self, ack_id: int) -> dict[str, Any]:
        head = f"43{self.place},{ack_id}["
        found = [frame for frame in self.texts() if frame.startswith(head)]
        return json.loads(found[0][len(head) - 1 :])[0] if found else {}

    def heard(self, event: str) -> list[Any]:
        events = [
            json.loads(frame.partition(",")[2])
            for frame in self.texts()
            if frame.startswith(f"42{self.place},")
        ]
        return [args[1] for args in events if args[0] == event]

    def opened(self, event: str) -> list[Any]:
        """What the hub said under a name: each envelope verified, then read."""
        bodies = []
        for envelope in self.heard(event):
            assert envelope.keys() == {"payload", "ts", "nonce", "sig"}
            assert self.heard_key.verify(type=event, **envelope)
            bodies.append(json.loads(envelope["payload"]))
        return bodies

    def left(self) -> bool:
        return self.wires.code is not None
