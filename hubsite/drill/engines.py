"""Scenarios of engines (docs/security.md). The drill's engine takes no jobs."""

from collections.abc import Callable
from typing import Any, Final

from hubsite.drill.stage import Play, Scenario, Stage
from hubsite.drill.wire import CLIENT_NONCE, Member
from security.signatures import to_base64url

__all__ = ["ENGINES"]

Envelope = dict[str, Any]
LATE_MS: Final = 5_000
IDS: Final = {"job_id": "job_nowhere", "attempt_id": "att_nowhere"}
BEAT: Final[dict[str, list[str]]] = {"attempts": []}


def _report(
    control: str, name: str, expected: str, forge: Callable[[Member], Envelope], event: str
) -> Scenario:
    async def play(stage: Stage) -> str:
        async with await stage.engine() as engine:
            seen = await engine.report(event, forge(engine))
            after = await engine.report("engine_heartbeat", _beat(engine))
        return seen if after == "ok" else f"{seen}, then {after}"

    return Scenario(
        control=control, name=name, expected=expected, kind=expected.lower(), play=play, local=True
    )


def _beat(engine: Member, **fields: Any) -> Envelope:  # noqa: ANN401 - wire data
    return engine.sign("engine_heartbeat", BEAT, **fields)


def _late_beat(engine: Member) -> Envelope:
    drift_ms = int(engine.session["drift_ms"])
    return _beat(engine, ts=engine.now_ms() - drift_ms - LATE_MS)


async def _genuine(stage: Stage) -> str:
    async with await stage.engine() as engine:
        return await engine.report("engine_heartbeat", _beat(engine))


async def _twice(stage: Stage) -> str:
    async with await stage.engine() as engine:
        envelope = _beat(engine)
        first = await engine.report("engine_heartbeat", envelope)
        second = await engine.report("engine_heartbeat", envelope)
        return f"{first}, then {second}"


async def _persons_token(stage: Stage) -> str:
    actor = await stage.person()
    return await _connect(stage, actor.token)


async def _without_nonce(stage: Stage) -> str:
    actor = await stage.cast.engine()
    return await stage.connect({"token": actor.token if actor else ""}, "/engine")


async def _connect(stage: Stage, token: str) -> str:
    auth = {"token": token, "client_nonce": to_base64url(CLIENT_NONCE)}
    return await stage.connect(auth, "/engine")


def _plain(
    control: str, name: str, expected: str, play: Play, *, kind: str = "", local: bool = True
) -> Scenario:
    return Scenario(
        control=control, name=name, expected=expected, kind=kind, play=play, local=local
    )


ENGINES: Final = (
    _plain("engine door", "a person's token", "AUTH_INVALID", _persons_token,
           kind="auth_invalid", local=False),
    _plain("engine door", "no nonce of its own", "AUTH_INVALID", _without_nonce,
           kind="auth_invalid"),
    _plain("engine signature", "a genuine heartbeat", "ok", _genuine),
    _report("engine signature", "a heartbeat's proof below telemetry", "ENGINE_SIGNATURE_INVALID",
            _beat, "telemetry"),
    _report("engine signature", "all zeros", "ENGINE_SIGNATURE_INVALID",
            lambda engine: {**_beat(engine), "sig": "0" * 64}, "engine_heartbeat"),
    _report("engine envelope", "no proof at all", "ENGINE_PACKET_INCOMPLETE",
            lambda _engine: dict(BEAT), "engine_heartbeat"),
    _report("engine window", "signed 5 s before the window", "ENGINE_TIMESTAMP_EXPIRED",
            _late_beat, "engine_heartbeat"),
    _plain("engine replay", "a heartbeat sent twice", "ok, then ENGINE_NONCE_REPLAY", _twice,
           kind="engine_nonce_replay"),
    _report("job rights", "a result for a job that was never given", "JOB_UNKNOWN",
            lambda engine: engine.sign("job_completed", {**IDS, "result": {}}), "job_completed"),
    _report("job rights", "progress of more than all", "PAYLOAD_INVALID",
            lambda engine: engine.sign("job_progress", {**IDS, "progress": 101}), "job_progress"),
)  # fmt: skip
"""In the order in which they are played."""
