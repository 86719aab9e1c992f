"""What a CONNECT is made into: the two keys of a new socket, or the refusal as Socket.IO's own."""

import secrets
from typing import Any, Final

from realtime.namespaces import ConnectionRefused
from security import clock, sessions
from security.principals import Principal
from security.refusals import Refused, rule
from security.signatures import BadBase64Url, Direction, MessageKey, from_base64url, socket_key

__all__ = ["Keys", "client_nonce_of", "connection_refused"]

NONCE_BYTES: Final = 32


class Keys:
    """The keys of one socket, one for each direction, and the server's share in them."""

    def __init__(
        self, principal: Principal, *, namespace: str, sid: str, client_nonce: bytes
    ) -> None:
        self.server_nonce = secrets.token_bytes(NONCE_BYTES)
        self._client_nonce = client_nonce
        self._secret = sessions.secret_of(principal)
        self._where = {"namespace": namespace, "principal": principal.label, "sid": sid}

    def key(self, direction: Direction) -> MessageKey:
        """The key of one direction."""
        derived = socket_key(
            self._secret,
            server_nonce=self.server_nonce,
            client_nonce=self._client_nonce,
            direction=direction,
            **self._where,
        )
        return MessageKey(derived, direction=direction, **self._where)


def client_nonce_of(text: object, *, required: bool) -> bytes:
    """The client's share in its keys: 32 bytes, or none where that is allowed. Raises Refused."""
    if text is None and not required:
        return b""
    try:
        nonce = from_base64url(text) if isinstance(text, str) else None
    except BadBase64Url:
        nonce = None
    if nonce is None or len(nonce) != NONCE_BYTES:
        raise Refused("AUTH_INVALID", reason="client_nonce")
    return nonce


def connection_refused(refusal: Refused) -> ConnectionRefused:
    """A refusal as Socket.IO's CONNECT_ERROR."""
    data: dict[str, Any] = {
        "code": refusal.code,
        "retry": rule(refusal.code).retry,
        "server_time": clock.now_ms(),
    }
    if refusal.retry_after_ms is not None:
        data["detail"] = {"retry_after_ms": refusal.retry_after_ms}
    return ConnectionRefused(refusal.code, data)
