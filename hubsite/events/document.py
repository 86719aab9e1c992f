"""Puts the AsyncAPI 3 document together: names, bounds and codes out of the code that runs.

Which events and types of actions are taken is asked of the namespaces, what refusals and closes
mean of their tables; the tables of this package add the shapes. An event without an entry there is
in the document all the same, as anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from hubsite import composition
from hubsite.events import people, services
from hubsite.events.schemas import ANY, Schema
from realtime.enveloped import Enveloped
from realtime.goodbye import CLOSE_CODES
from realtime.hub import HubNamespace
from security.refusals import RULES

__all__ = ["document", "events"]

ASYNCAPI: Final = "3.0.0"
Ref = dict[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """The shapes of one namespace, by event: heard from clients, answered, said by the hub."""

    channel: str
    heard: Mapping[str, Schema]
    answers: Mapping[str, Schema]
    said: Mapping[str, Schema]


TABLES: Final[Mapping[str, Table]] = {
    "/": Table("people", people.HEARD, people.ANSWERS, people.SAID),
    "/engine": Table(
        "engines", services.ENGINE_HEARD, services.SERVICE_ANSWERS, services.ENGINE_SAID
    ),
    "/agent": Table("agents", services.AGENT_HEARD, services.SERVICE_ANSWERS, services.AGENT_SAID),
}


@require_safe
def events(_request: HttpRequest) -> JsonResponse:
    """``/api/events/``."""
    return JsonResponse(document())


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    namespaces = composition.server().namespaces
    parts = [_Part(namespace, TABLES[name]) for name, namespace in namespaces.items()]
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Interaction Hub",
            "version": "1.0",
            "description": "Events over Socket.IO v5. Each channel is a namespace; the names of "
            "messages are the names of events. Payloads of signed messages are JSON text.",
        },
        "servers": {
            "hub": {"host": "localhost:8000", "pathname": "/socket.io/", "protocol": "wss"}
        },
        "defaultContentType": "application/json",
        "channels": {part.channel: part.described() for part in parts},
        "operations": {key: each for part in parts for key, each in part.operations()},
        "components": {"messages": {key: each for part in parts for key, each in part.messages()}},
        "x-refusals": {
            code: {"meaning": rule.message, "points": rule.points, "retry": rule.retry}
            for code, rule in RULES.items()
        },
        "x-close-codes": {
            str(code): {"meaning": each.meaning, "retry_after_ms": each.retry_after_ms}
            for code, each in CLOSE_CODES.items()
        },
    }


class _Part:
    """One namespace in the document."""

    def __init__(self, namespace: Any, table: Table) -> None:  # noqa: ANN401 - of any state
        self.namespace = namespace
        self.channel = table.channel
        self._table = table
        self._enveloped = isinstance(namespace, Enveloped)

    def described(self) -> dict[str, Any]:
        """The channel: its address, its messages, and what holds for all of them."""
        gate = self.namespace.gate
        return {
            "address": self.namespace.name,
            "messages": {name: _ref("components", "messages", key) for name, key, _ in self._all()},
            "x-drift-ms": gate.door.drift_ms,
            **({"x-actions": self._actions()} if isinstance(self.namespace, HubNamespace) else {}),
        }

    def operations(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the hub receives, with its answer, and what it sends."""
        channel = _ref("channels", self.channel)
        for event in sorted(self.namespace.handlers):
            yield (
                f"{self.channel}.receive.{event}",
                {
                    "action": "receive",
                    "channel": channel,
                    "messages": [self._message_ref(event)],
                    "reply": {"channel": channel, "messages": [self._message_ref(f"{event}.ack")]},
                },
            )
        for event in sorted(self._said()):
            name = f"{event}.said" if event in self.namespace.handlers else event
            yield (
                f"{self.channel}.send.{event}",
                {
                    "action": "send",
                    "channel": channel,
                    "messages": [self._message_ref(name)],
                },
            )

    def messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every message, by its key among the components."""
        for name, key, body in self._all():
            yield key, {"name": name.removesuffix(".said"), **body}

    def _all(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        rules = self.namespace.gate.door.rules
        for event in self.namespace.handlers:
            bound = {"x-max-bytes": rules[event].max_bytes} if event in rules else {}
            shape = self._table.heard.get(event, ANY)
            yield event, f"{self.channel}.{event}", {**self._body(event, shape), **bound}
            answer = {"payload": self._table.answers.get(event, ANY)}
            yield f"{event}.ack", f"{self.channel}.{event}.ack", answer
        for event, shape in self._said().items():
            name = f"{event}.said" if event in self.namespace.handlers else event
            yield name, f"{self.channel}.{name}", self._body(event, shape)

    def _said(self) -> dict[str, Schema]:
        return {**self._table.said, **self._rejections()}

    def _rejections(self) -> dict[str, Schema]:
        if not self._enveloped:
            return {}
        names = self.namespace.rejections
        return {
            names.get(event, f"{event}_rejected"): services.REJECTED
            for event in (*self.namespace.handlers, "message")
        }

    def _body(self, event: str, shape: Schema) -> dict[str, Any]:
        """A message as it is; or in its envelope, whose payload is the text of what it says."""
        if not self._enveloped or event in services.PLAIN or event in self._rejections():
            return {"payload": shape}
        return {"payload": services.ENVELOPE, "x-payload": shape}

    def _actions(self) -> dict[str, Any]:
        return {
            name: {
                "x-max-bytes": each.rule.max_bytes,
                "x-payload": people.ACTIONS.get(name, ANY),
            }
            for name, each in sorted(self.namespace.actions.items())
        }

    def _message_ref(self, name: str) -> Ref:
        return _ref("channels", self.channel, "messages", name)


def _ref(*path: str) -> Ref:
    return {"$ref": "#/" + "/".join(path)}
