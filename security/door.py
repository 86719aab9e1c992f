"""What the composition root hands to this floor: a place for used nonces.

The nonce stores live a floor above. Whoever composes a process calls ``use_nonces`` once; asking
before that is a fault of ours, not of a client.
"""

from security.gate import NonceStore

__all__ = ["NoNonceStore", "nonces", "use_nonces"]


class NoNonceStore(RuntimeError):
    """This process was composed without a nonce store, so it cannot refuse replays."""

    def __str__(self) -> str:
        return "no nonce store is installed: call security.door.use_nonces(store) at start-up"


class _Door:
    """The slot; one per process."""

    nonces: NonceStore | None = None


_door = _Door()


def use_nonces(store: NonceStore | None) -> None:
    """Install the store of this process; None takes it away."""
    _door.nonces = store


def nonces() -> NonceStore:
    """The installed store. Raises NoNonceStore."""
    if _door.nonces is None:
        raise NoNonceStore
    return _door.nonces
