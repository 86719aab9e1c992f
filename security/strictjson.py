"""The only JSON reader for hostile text: one meaning per text, and a bound on what it may cost.

Pure: text in, plain Python values out; no Django, no clock, no I/O. The rules are those of
docs/security.md, on top of RFC 8259: UTF-8 without a byte order mark, finite floats,
integers within +-(2^53-1) (RFC 7493, section 2.2), no duplicate keys, no lone surrogates, no
U+0000, and bounded depth, number of values and length of strings.

Reading is one pass of orjson and one bounded, iterative walk. What orjson is silent about costs a
second look only where the text gives cause for it: a colon too many (duplicate keys or a colon in
a string), ``\\u0000``, a number of 2^53 or more (orjson turns long integers into floats).

Errors, all the peer's fault; `code` is what the peer is told, `reason` goes into the violation::

    StrictJsonError (ValueError)
    |-- PayloadInvalid            code payload_invalid
    |   |-- NotUtf8               reason not_utf8
    |   |-- ByteOrderMark         reason byte_order_mark
    |   |-- NotJson               reason not_json           syntax, trailing data
    |   |-- NotFinite             reason not_finite         NaN, Infinity, 1e999
    |   |-- IntegerOutOfRange     reason integer_out_of_range
    |   |-- DuplicateKey          reason duplicate_key
    |   |-- LoneSurrogate         reason lone_surrogate
    |   '-- NullCharacter         reason null_character
    '-- PayloadTooComplex         code payload_too_complex
        |-- TooDeep               reason too_deep
        |-- TooManyNodes          reason too_many_nodes
        '-- StringTooLong         reason string_too_long
"""

import gc
import json
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Final, NoReturn, TypeAlias

import orjson

__all__ = [
    "DEFAULT_BOUNDS",
    "MAX_INTEGER",
    "Bounds",
    "ByteOrderMark",
    "DuplicateKey",
    "IntegerOutOfRange",
    "JsonValue",
    "LoneSurrogate",
    "NotFinite",
    "NotJson",
    "NotUtf8",
    "NullCharacter",
    "PayloadInvalid",
    "PayloadTooComplex",
    "StrictJsonError",
    "StringTooLong",
    "TooDeep",
    "TooManyNodes",
    "loads",
]

JsonValue: TypeAlias = (
    "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"  # what JSON can say
)

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that a double, hence a browser, tells from its neighbours (RFC 7493, 2.2)."""

LARGE_TEXT: Final = 64 * 1024
"""Characters from which the collector is held off; below, that would cost more than it saves."""

_INTEGER_DIGITS: Final = len(str(MAX_INTEGER))
_UTF8_WIDEST: Final = 4  # bytes of one character (RFC 3629)
_BYTE_ORDER_MARK: Final = "\ufeff"

_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"')  # possessive: linear in any text
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")
_NUMBER: Final = re.compile(r"-?([0-9]+)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How complex a text may be; each bound is the largest value that is accepted.

    `depth` counts nested arrays and objects (a bare number has depth 0), `nodes` counts values of
    every kind (an object's keys are no values), `string` is bytes of UTF-8, for keys as well.
    """

    depth: int = 16
    nodes: int = 4_096
    string: int = 8_192


DEFAULT_BOUNDS: Final = Bounds()
"""For the payload of every event but a world spec."""


class StrictJsonError(ValueError):
    """A text that the hub does not take as JSON."""

    code: ClassVar[str]
    reason: ClassVar[str]


class PayloadInvalid(StrictJsonError):
    """The text has no one meaning as JSON."""

    code = "payload_invalid"
    sentence: ClassVar[str]

    def __str__(self) -> str:
        return self.sentence


class NotUtf8(PayloadInvalid):
    """The bytes are not UTF-8."""

    reason = "not_utf8"
    sentence = "the bytes are not UTF-8"


class ByteOrderMark(PayloadInvalid):
    """The text begins with U+FEFF, which RFC 8259 (section 8.1) forbids to send."""

    reason = "byte_order_mark"
    sentence = "the text begins with a byte order mark"


class NotJson(PayloadInvalid):
    """The text is not one JSON value; `position` is the first character that does not fit."""

    reason = "not_json"

    def __init__(self, position: int) -> None:
        self.position = position

    def __str__(self) -> str:
        return f"the text is not one JSON value, from character {self.position} on"


class NotFinite(PayloadInvalid):
    """NaN, Infinity, or a number too large for a double."""

    reason = "not_finite"
    sentence = "a number is not finite"


class IntegerOutOfRange(PayloadInvalid):
    """An integer that not every reader can represent."""

    reason = "integer_out_of_range"
    sentence = "an integer is not within +-(2^53-1)"


class DuplicateKey(PayloadInvalid):
    """An object names a key twice, and readers differ on which one counts."""

    reason = "duplicate_key"
    sentence = "an object names a key twice"


class LoneSurrogate(PayloadInvalid):
    """Half of a surrogate pair, plain or escaped: it has no UTF-8 form."""

    reason = "lone_surrogate"
    sentence = "a string holds half a surrogate pair"


class NullCharacter(PayloadInvalid):
    """U+0000 in a string: PostgreSQL cannot store it, and other readers end the text there."""

    reason = "null_character"
    sentence = "a string holds U+0000"


class PayloadTooComplex(StrictJsonError):
    """The text passes one of its `Bounds`."""

    code = "payload_too_complex"
    sentence: ClassVar[str]

    def __init__(self, bound: int) -> None:
        self.bound = bound

    def __str__(self) -> str:
        return self.sentence.format(self.bound)


class TooDeep(PayloadTooComplex):
    """Arrays and objects are nested too deep."""

    reason = "too_deep"
    sentence = "arrays and objects are nested deeper than {} levels"


class TooManyNodes(PayloadTooComplex):
    """There are too many values."""

    reason = "too_many_nodes"
    sentence = "there are more than {} values"


class StringTooLong(PayloadTooComplex):
    """A string or a key is too long."""

    reason = "string_too_long"
    sentence = "a string or key is longer than {} bytes"


def loads(text: str | bytes, *, bounds: Bounds = DEFAULT_BOUNDS) -> JsonValue:
    """Return the value that `text` spells; raises one `StrictJsonError` for any other text.

    The caller bounds the length of `text` first. Objects keep the order of their keys.
    """
    if isinstance(text, bytes):
        text = _decoded(text)
    try:
        value = orjson.loads(text) if len(text) < LARGE_TEXT else _parsed_apart(text)
    except orjson.JSONDecodeError:
        raise _fault(text, bounds) from None
    members, wide_number = _walk(value, bounds)
    if text.count(":") != members:  # a key came twice, or a string holds a colon
        _check_no_duplicate_keys(text, members)
    if wide_number:  # a float, or an integer that the contract does not allow
        _check_integers(text)
    if "\\u0000" in text or _may_hold_long_string(text, bounds):
        _check_strings(value, bounds)
    return value


def _parsed_apart(text: str) -> JsonValue:
    """Parse with the garbage collector held off.

    It wakes with every 700th container and, while they all live, walks the whole heap again and
    again: 300,000 empty lists took 4.7 s in a large process. orjson never releases the interpreter
    meanwhile, so no other thread goes without its collector.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        value: JsonValue = orjson.loads(text)
    finally:
        if enabled:
            gc.enable()
    return value


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise NotUtf8 from None


# What orjson accepts.


def _walk(root: JsonValue, bounds: Bounds) -> tuple[int, bool]:
    """Check depth and number of values; return (object members, is a number beyond 2^53-1?).

    Level by level and without recursion: a hostile text cannot exhaust the stack, and the walk
    ends at the first bound that is passed. The comparisons of types are for speed: the parser
    makes no subclasses, and its values are looked at for every message of every person.
    """
    lowest, highest = -MAX_INTEGER, MAX_INTEGER
    level: list[Collection[Any]] = [(root,)]
    elements = members = 0
    depth = -1  # the tuple around the root is not in the text
    wide_number = False
    while level:
        depth += 1
        if depth > bounds.depth:
            raise TooDeep(bounds.depth)
        if elements + members >= bounds.nodes:  # the root is neither
            raise TooManyNodes(bounds.nodes)
        below: list[Collection[Any]] = []
        for value in chain.from_iterable(level):
            kind = type(value)
            if kind is int or kind is float:
                if not lowest <= value <= highest:
                    wide_number = True
            elif kind is dict:
                members += len(value)
                below.append(value.values())
            elif kind is list:
                elements += len(value)
                below.append(value)
        level = below
    return members, wide_number


def _check_no_duplicate_keys(text: str, members: int) -> None:
    """Compare the members written with the members read, of which duplicates left one each."""
    if _STRING.sub("", text).count(":") != members:
        raise DuplicateKey


def _check_integers(text: str) -> None:
    """Look at the integers as written: orjson makes floats of those beyond 64 bits."""
    for digits, fraction, exponent in _NUMBER.findall(_STRING.sub("", text)):
        if not fraction and not exponent:
            _check_digits(digits)


def _check_digits(number: str) -> None:
    digits = number.removeprefix("-")  # never with leading zeros: JSON has none
    if len(digits) > _INTEGER_DIGITS or int(digits) > MAX_INTEGER:
        raise IntegerOutOfRange


def _may_hold_long_string(text: str, bounds: Bounds) -> bool:
    """Tell whether a string in `text` can be too long at all, without looking at each of them.

    Escapes only ever shorten a string. Between two quotation marks that follow one another lies
    all of a string, unless it holds an escaped one.
    """
    width = 1 if text.isascii() else _UTF8_WIDEST
    if len(text) * width <= bounds.string:
        return False
    return '\\"' in text or max(map(len, text.split('"'))) * width > bounds.string


def _check_strings(root: JsonValue, bounds: Bounds) -> None:
    pending: list[JsonValue] = [root]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            _check_string(value, bounds)
        elif isinstance(value, dict):
            pending += value
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _check_string(value: str, bounds: Bounds) -> None:
    if "\0" in value:
        raise NullCharacter
    if len(value) * _UTF8_WIDEST > bounds.string and len(value.encode()) > bounds.string:
        raise StringTooLong(bounds.string)


# What orjson refuses.


def _fault(text: str, bounds: Bounds) -> StrictJsonError:
    """Return the error that names why orjson refused `text`, by asking a second reader.

    The standard library's reader accepts more, says why it stops, and recurses within the
    interpreter's limit. What it takes against orjson's verdict is a lone surrogate, or deeper than
    the 1,024 levels that orjson reads where somebody has raised that limit.
    """
    if text.startswith(_BYTE_ORDER_MARK):
        return ByteOrderMark()
    try:
        json.loads(
            text, parse_int=_check_digits, parse_float=_check_finite, parse_constant=_not_finite
        )
    except json.JSONDecodeError as error:
        return NotJson(error.pos)
    except StrictJsonError as error:
        return error
    except RecursionError:
        return TooDeep(bounds.depth)
    return LoneSurrogate() if _SURROGATE.search(text) else TooDeep(bounds.depth)


def _check_finite(number: str) -> None:
    if math.isinf(float(number)):
        raise NotFinite


def _not_finite(_constant: str) -> NoReturn:
    raise NotFinite
