"""The policy that a server has when it is given none: everybody may, and closes say why."""

from types import SimpleNamespace
from typing import Any

import pytest

from realtime.handshake import Handshake
from realtime.policy import Policy
from realtime.protocol import Closed, CloseReason
from realtime.protocol.errors import BadJson, PayloadTooLarge, ProtocolError

SESSION: Any = SimpleNamespace()
ANYBODY = Handshake.from_scope({"type": "http", "path": "/", "headers": []})


async def test_everybody_may_come_and_go_on() -> None:
    assert await Policy().admit(ANYBODY, now=0.0) is None
    assert Policy().readmit(ANYBODY, SESSION) is None


def test_nobody_is_metered_and_nothing_is_kept_of_a_session() -> None:
    assert (Policy().meter(SESSION), Policy().open(SESSION)) == (None, None)


@pytest.mark.parametrize(
    ("fault", "code"), [(None, 1000), (BadJson, 1000), (PayloadTooLarge, 1009)]
)
def test_a_frame_that_is_too_large_has_a_code_of_its_own(
    fault: type[ProtocolError] | None, code: int
) -> None:
    assert Policy().close_code(Closed(CloseReason.PARSE_ERROR, "", fault=fault)) == code
