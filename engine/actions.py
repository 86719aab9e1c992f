"""The signed actions of this floor: asking for worlds, cancelling, and trying again."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from engine import adapter, dispatcher
from engine.adapter import WORLD_BOUNDS, AdmittedWorld, WorldRefused, unknown_keys
from engine.coordinator import Coordinator
from engine.models import Priority
from engine.pace import REFUSED_WORLD, Pace
from engine.worldspec import Finding
from realtime.actions import Action, ActionType
from realtime.guard import Seat
from realtime.namespaces import Socket
from security import database
from security.conf import HubSettings
from security.gate import PayloadRule
from security.refusals import Refused

__all__ = ["world_actions"]

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
PRIORITIES: Final = frozenset(each.name.lower() for each in Priority)
Reply = Mapping[str, object]
Handler = Callable[[Socket[Seat], Action], Awaitable[Reply]]


def world_actions(coordinator: Coordinator, settings: HubSettings) -> dict[str, ActionType]:
    """The action types of worlds and jobs, by name. Raises `adapter.SchemaChanged`."""
    adapter.prepare()
    small = PayloadRule(max_bytes=settings.action_payload)
    world = PayloadRule(max_bytes=settings.world_payload, bounds=WORLD_BOUNDS)
    pace = Pace(settings)
    types = (
        ("generate_world", world, _generate(coordinator, pace)),
        ("build_cancel", small, _on_object(coordinator, dispatcher.cancel_build, "build_id")),
        ("job_cancel", small, _on_object(coordinator, dispatcher.cancel_job, "job_id")),
        ("job_retry", small, _paced(pace, _on_object(coordinator, dispatcher.retry_job, "job_id"))),
    )
    return {
        name: ActionType(name=name, rule=rule, handler=handler) for name, rule, handler in types
    }


def _paced(pace: Pace, handler: Handler) -> Handler:
    """A handler that makes jobs for a person, as fast as those may be made."""

    async def act(socket: Socket[Seat], action: Action) -> Reply:
        user_id, now = int(socket.state.principal.subject), socket.namespace.node.now
        pace.admit(user_id, now())
        reply = await handler(socket, action)
        pace.made(user_id, reply, now())
        return reply

    return act


def _generate(coordinator: Coordinator, pace: Pace) -> Handler:
    async def generate_world(socket: Socket[Seat], action: Action) -> Reply:
        principal = socket.state.principal
        user_id = int(principal.subject)
        try:
            request = _request(action.payload)
            world = await database.read(adapter.admit, request["spec"])
        except WorldRefused as refused:
            pace.owe(user_id, REFUSED_WORLD, socket.namespace.node.now())
            body = _refusal_body(refused, action.payload)
            await coordinator.decide(dispatcher.refuse, user_id, body)
            raise Refused(
                refused.code,
                reason="world",
                message=str(body["message"]),
                public={key: body[key] for key in ("path", "findings") if key in body},
                detail={"path": body["path"], "finding": body["message"]},
            ) from None
        return await _submit(coordinator, user_id, world, request, staff=principal.is_staff)

    return _paced(pace, generate_world)


async def _submit(
    coordinator: Coordinator,
    user_id: int,
    world: AdmittedWorld,
    request: dict[str, Any],
    *,
    staff: bool,
) -> Reply:
    outcome = await coordinator.decide(
        dispatcher.submit,
        user_id,
        world,
        request_id=request.get("request_id"),
        priority=request.get("priority", "normal"),
        staff=staff,
    )
    return outcome.reply


def _request(payload: object) -> dict[str, Any]:
    """The payload of ``generate_world``; the hub makes jobs, ids and states itself.

    Raises `WorldRefused` where it has no world, or keys beside it, else `Refused`.
    """
    if not isinstance(payload, dict) or "spec" not in payload:
        raise WorldRefused([Finding("$", "the payload has no 'spec'")])
    if extra := payload.keys() - {"spec", "request_id", "priority"}:
        raise WorldRefused([Finding("$", unknown_keys(sorted(extra)))])
    request_id, priority = payload.get("request_id"), payload.get("priority", "normal")
    if request_id is not None and not (
        isinstance(request_id, str) and REQUEST_ID.fullmatch(request_id)
    ):
        raise Refused("payload_invalid", reason="request_id")
    if not isinstance(priority, str) or priority not in PRIORITIES:
        raise Refused("payload_invalid", reason="priority")
    return payload


def _refusal_body(refused: WorldRefused, payload: object) -> dict[str, object]:
    findings = [{"path": each.path, "message": each.message} for each in refused.findings]
    first = findings[0]
    body: dict[str, object] = {
        "error": refused.code,
        "message": first["message"],
        "path": first["path"],
        "findings": findings,
    }
    request_id = payload.get("request_id") if isinstance(payload, dict) else None
    if isinstance(request_id, str) and REQUEST_ID.fullmatch(request_id):
        body["request_id"] = request_id
    return body


def _on_object(coordinator: Coordinator, decision: Callable[..., Any], key: str) -> Handler:
    async def act(socket: Socket[Seat], action: Action) -> Reply:
        payload = action.payload
        if not isinstance(payload, dict) or payload.keys() != {key}:
            raise Refused("payload_invalid", reason="keys")
        if not isinstance(payload[key], str):
            raise Refused("payload_invalid", reason=key)
        principal = socket.state.principal
        outcome = await coordinator.decide(
            decision, int(principal.subject), payload[key], staff=principal.is_staff
        )
        reply: Reply = outcome.reply
        return reply

    return act
