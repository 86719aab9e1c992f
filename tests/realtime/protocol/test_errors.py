"""Errors: whose fault, which reason, and a text that a peer cannot misuse."""

import inspect

import pytest

from realtime.protocol import CloseReason, LocalProtocolError, ProtocolError, errors

EVERY_ERROR = [
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, ProtocolError | LocalProtocolError)
]
HOSTILE = "\x1b[31m\r\n\u202e\ud800" + "x" * 10_000


def test_no_error_is_both_the_peers_fault_and_ours() -> None:
    for error in EVERY_ERROR:
        assert issubclass(error, ProtocolError) != issubclass(error, LocalProtocolError)


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        (errors.PacketError, CloseReason.PARSE_ERROR),
        (errors.TransportFault, CloseReason.TRANSPORT_ERROR),
        (errors.DecoderError, CloseReason.FORCED_CLOSE),
        (errors.InvalidState, CloseReason.FORCED_SERVER_CLOSE),
    ],
)
def test_each_family_of_faults_has_its_reason(
    family: type[ProtocolError], reason: CloseReason
) -> None:
    assert {error.reason for error in family.__subclasses__()} == {reason}


def test_every_error_is_listed_in_the_tree_and_exported() -> None:
    for error in EVERY_ERROR:
        assert error.__name__ in errors.__all__
        assert error.__name__ in str(errors.__doc__)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.NamespaceNotJoined("/a"), "namespace '/a' is not joined"),
        (errors.NoConnectPending("/a"), "no CONNECT is pending for namespace '/a'"),
        (errors.BadEventName(), "an event begins with its name: text or a number"),
        (errors.ReservedEventName("connect"), "event name 'connect' is reserved"),
        (errors.NotSerialisable("set"), "not serialisable: set"),
        (
            errors.TooManyAttachmentsToSend(11, 10),
            "11 attachments in one packet, clients take at most 10",
        ),
        (errors.EmptyPayload(), "a polling body needs at least one packet"),
        (errors.TooManyAttachments(11, 10), "11 attachments announced, at most 10 are allowed"),
        (errors.BadAckId("ACK", "missing"), "ACK: acknowledgement id missing"),
        (errors.BadPayload("ACK", "an array"), "ACK carries an array"),
    ],
)
def test_an_error_says_what_happened(error: Exception, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    "error",
    [
        errors.NotJoined("EVENT", HOSTILE),
        errors.ConnectedTwice(HOSTILE),
        errors.ReservedEvent(HOSTILE),
        errors.UnknownPacketType(HOSTILE),
        errors.UnknownMessageType(HOSTILE),
    ],
)
def test_text_of_the_peer_is_shown_short_and_escaped(error: ProtocolError) -> None:
    assert str(error).isascii()
    assert str(error).isprintable()
    assert len(str(error)) < 200
