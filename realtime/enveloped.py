"""A guarded namespace of services: what "/engine" and "/agent" have in common.

Every message of a service is an envelope ``{payload, ts, nonce, sig}`` whose payload is an object,
and whose event's name is signed as its type. No browser gets in, and who is silent for too long is
gone.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Generic, TypeVar

from django.conf import settings as django_settings

from realtime.guard import Seat
from realtime.handshake import Handshake
from realtime.namespaces import Ack, Socket, on
from realtime.origins import own_origin
from realtime.secured import Guarded
from security import clock
from security.refusals import Refused

__all__ = ["Enveloped", "exactly"]

KEYS_SHOWN: Final = 8  # of a payload with the wrong ones


E = TypeVar("E", bound=Seat)


class Enveloped(Guarded[E], Generic[E]):
    """Base of the namespaces for services."""

    client_nonce_required = True
    rejections: ClassVar[Mapping[str, str]] = {}
    """Names of rejections that are not the event's name and ``_rejected``."""

    def check_handshake(self, handshake: Handshake) -> None:
        """No browser is a service, but python-socketio's client sends the hub's own origin."""
        own = own_origin(
            handshake.host, secure=handshake.secure, allowed_hosts=django_settings.ALLOWED_HOSTS
        )
        if handshake.origin not in {None, own}:
            raise Refused(
                "FORBIDDEN",
                kind="origin_forbidden",
                reason="browser_origin",
                detail={"seen": handshake.origin},
            )

    async def joined(self, socket: Socket[E]) -> None:
        """Greet, then watch that the service goes on to speak."""
        await super().joined(socket)
        if socket.connected:
            self._watch_silence(socket)

    def _watch_silence(self, socket: Socket[E]) -> None:
        due = socket.state.heard_at + self.guard.settings.disconnect_after_s
        if due <= self.node.now():
            self.end_silent(socket)
        else:
            socket.state.timers["silence"] = self.node.timers.at(
                due, lambda: self._watch_silence(socket)
            )

    async def admitted(self, socket: Socket[E], event: str, message: object) -> dict[str, Any]:
        """Checks 4 to 9 of an envelope; returns its payload, an object. Raises Refused."""
        signed = self.verify(socket, message, event=event)
        waiting = self.burn(socket, signed)
        if waiting is not None:
            await waiting
            if not socket.connected:  # its right may have ended meanwhile
                raise Refused("TRY_AGAIN", reason="left")
        socket.state.heard_at = self.node.now()
        payload = self.gate.read(signed)
        if not isinstance(payload, dict):
            raise Refused("PAYLOAD_INVALID", reason="not_an_object")
        return payload

    @on("reauth")
    async def reauth(self, socket: Socket[E], message: object) -> Ack:
        """A newer token of the same service."""
        payload = await self.admitted(socket, "reauth", message)
        exactly(payload, ("token",))
        return Ack(await self.renew(socket, payload["token"]))

    def answer_refusal(
        self, socket: Socket[E], refusal: Refused, event: str, ack_id: int | None
    ) -> None:
        """The acknowledgement, and the event ``..._rejected`` for those who ask for none."""
        facts: dict[str, object] = {
            "message": refusal.message,
            "server_time": clock.now_ms(),
            **refusal.public,
        }
        if refusal.retry_after_ms is not None:
            facts["retry_after_ms"] = refusal.retry_after_ms
        if ack_id is not None:
            socket.acknowledge(ack_id, {"ok": False, "error": refusal.code, **facts})
        name = self.rejections.get(event, f"{event or 'message'}_rejected")
        socket.emit(name, {"reason": refusal.code, **facts})


def exactly(
    payload: Mapping[str, Any], keys: tuple[str, ...], *, optional: tuple[str, ...] = ()
) -> None:
    """These keys and no others. Raises Refused."""
    missing = [key for key in keys if key not in payload]
    extra = payload.keys() - {*keys, *optional}
    if missing or extra:
        detail = {"missing": missing, "extra": sorted(map(str, extra))[:KEYS_SHOWN]}
        raise Refused("PAYLOAD_INVALID", reason="keys", detail=detail)
