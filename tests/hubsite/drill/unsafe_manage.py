"""manage.py with the control that DRILL_WITHOUT names switched off, so that a drill can notice."""

import base64
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import django
from django.core.management import execute_from_command_line

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from hubsite.modes import choose_mode


class Everything(dict[str, Any]):
    """A mapping that has whatever is asked for."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key) or next(iter(self.values()))

    __getitem__ = get


def yes(*_asked: Any, **_named: Any) -> bool:
    return True


def no(*_asked: Any, **_named: Any) -> bool:
    return False


def nothing(*_asked: Any, **_named: Any) -> int:
    return 0


def believed(_backend: Any, token: str, verify: bool = True) -> Any:
    """The claims of a token, whoever wrote them."""
    claims = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))


def opened(_gate: Any, message: Any, event: str) -> Any:
    """An envelope in which what is missing is filled in, and what is too much is taken."""
    from security.gate import Signed  # noqa: PLC0415 - the settings come first

    ts, nonce = int(message.get("ts", 0)), message.get("nonce", "n" * 22)
    kind = event or message.get("type", "click")
    return Signed(kind, message.get("payload", "null"), ts, nonce), message.get("sig", "0" * 64)


def timeless(verify: Callable[..., Any]) -> Callable[..., Any]:
    def without_window(gate: Any, message: Any, **named: Any) -> Any:
        ts = message.get("ts") if isinstance(message, dict) else None
        return verify(gate, message, **{**named, "now_ms": ts if type(ts) is int else 0})

    return without_window


def any_type(init: Callable[..., Any]) -> Callable[..., Any]:
    def without_types(gate: Any, door: Any, nonces: Any) -> None:
        object.__setattr__(door, "rules", Everything(door.rules))
        init(gate, door, nonces)

    return without_types


async def taken(*_asked: Any) -> Any:
    from realtime.namespaces import Ack  # noqa: PLC0415 - as above

    return Ack({"ok": True})


def trusting(payload: Any) -> Any:
    return {key: payload[key] for key in ("spec",)}


def patches() -> Mapping[str, Mapping[str, Any]]:
    """By control, what stands in the place of its code."""
    from security.gate import Gate  # noqa: PLC0415 - the settings come first

    return {
        "origin": {"realtime.admission.is_allowed": yes},
        "token in url": {"realtime.admission._may_hold_token": no},
        "token": {"security.tokens.RingBackend.decode": believed},
        "revocation": {
            "security.sessions._reasons": lambda *_asked, **_named: {},
            "security.signals._after_commit": lambda *_asked, **_named: None,
        },
        "framing": {"realtime.admission.HubPolicy.close_code": lambda *_asked: 1000},
        "signature": {"security.signatures.MessageKey.verify": yes},
        "envelope": {"security.gate.Gate._open": opened},
        "type": {"security.gate.Gate.__init__": any_type(Gate.__init__)},
        "window": {"security.gate.Gate.verify": timeless(Gate.verify)},
        "replay": {"realtime.state.memory.MemoryNonceStore.consume": yes},
        "payload": {"security.gate.strictjson.loads": lambda text, **_bounds: json.loads(text)},
        "rights": {"engine.actions._request": trusting},
        "rate": {"security.limits.TokenBucket.take": nothing},
        "budget": {"realtime.guard.Guard.charge": no},
        "http": {"rest_framework.permissions.IsAuthenticated.has_permission": yes},
        "login": {"security.throttle.AttemptLimit._wait": nothing},
        "engine door": {"realtime.secured.client_nonce_of": lambda *_asked, **_named: b""},
        "job rights": {"engine.namespace.EngineNamespace.take_report": taken},
        "records": {"security.violations.report": lambda *_asked, **_named: None},
    }


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hubsite.settings")
    choose_mode(sys.argv, os.environ)
    django.setup()
    for target, replacement in patches()[os.environ["DRILL_WITHOUT"]].items():
        mock.patch(target, replacement).start()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
