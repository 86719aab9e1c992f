"""Hostile text gets one named error, quickly; honest text gets the value that json gives."""

import json
import math
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from security.strictjson import (
    MAX_INTEGER,
    Bounds,
    NotJson,
    PayloadInvalid,
    PayloadTooComplex,
    StrictJsonError,
    TooManyNodes,
    loads,
)

SMALL = Bounds(depth=3, nodes=8, string=6)
FAMILY = {"payload_invalid": PayloadInvalid, "payload_too_complex": PayloadTooComplex}

TICK_S = 0.001  # what the clock of a thread may be wrong by


def thread_time_of(work: Callable[[], object]) -> float:
    """The CPU seconds that this thread spends on it."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def reason_of(text: str | bytes, bounds: Bounds = Bounds()) -> str:  # noqa: B008 - frozen value
    """Return the reason for which `text` is refused, after checking what each error promises."""
    with pytest.raises(StrictJsonError) as seen:
        loads(text, bounds=bounds)
    error = seen.value
    assert isinstance(error, FAMILY[error.code])
    assert str(error)[-1] not in ".:"
    assert len(str(error)) < 100
    return error.reason


# What is read.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("true", True),
        (' {"spaces" : [ ] } ', {"spaces": []}),
        ("9007199254740991", MAX_INTEGER),
        ("-9007199254740991", -MAX_INTEGER),
        ("1.0", 1.0),
        ("-0.0", -0.0),
        ("1e20", 1e20),
        ("12345678901234567890.5", 12345678901234567890.5),
        ("1E308", 1e308),
        ("1e-999", 0.0),
        ("1e0000000000000000000000001", 10.0),
        ("[1e300,0.12345678901234567890123456789]", [1e300, 0.12345678901234567890123456789]),
        ('["99999999999999999999",1e17]', ["99999999999999999999", 1e17]),
        ('"caf\\u00e9 \\ud83d\\ude00"', "café 😀"),
        ('"\\\\u0000 \\\\ud800"', "\\u0000 \\ud800"),
        ('{"a:b":"c:d","e":"\\":\\""}', {"a:b": "c:d", "e": '":"'}),
        ('{"a":{"a":1},"b":[{"a":1}]}', {"a": {"a": 1}, "b": [{"a": 1}]}),
        ('{"__proto__":1,"":2}', {"__proto__": 1, "": 2}),
        (b'{"x":"\xc3\xa9"}', {"x": "é"}),
    ],
)
def test_a_plain_text_is_read(text: str | bytes, value: Any) -> None:
    read = loads(text)
    assert read == value
    assert repr(read) == repr(value)  # tells 1 from 1.0 and True, and keeps the order of keys


def test_integers_and_floats_stay_what_they_were_written_as() -> None:
    assert [type(number) for number in (loads("1"), loads("1.0"), loads("1e0"))] == [
        int,
        float,
        float,
    ]


# What is refused, one by one.


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xff", "not_utf8"),
        (b'"\xed\xa0\x80"', "not_utf8"),
        (b'"\xc0\x80"', "not_utf8"),
        (b'"\xf4\x90\x80\x80"', "not_utf8"),
        (b"\xef\xbb\xbf{}", "byte_order_mark"),
        ("\ufeff{}", "byte_order_mark"),
        ('{"a":1}'.encode("utf-16"), "not_utf8"),
        ("", "not_json"),
        (b"", "not_json"),
        (" ", "not_json"),
        ("{}{}", "not_json"),
        ("[1]x", "not_json"),
        ("1 2", "not_json"),
        ("[1,]", "not_json"),
        ("{'a':1}", "not_json"),
        ("{a:1}", "not_json"),
        ("01", "not_json"),
        ("+1", "not_json"),
        (".5", "not_json"),
        ("1.", "not_json"),
        ("0x10", "not_json"),
        ("True", "not_json"),
        ('"a\nb"', "not_json"),
        ('"a\0b"', "not_json"),
        ('"\\x41"', "not_json"),
        ('"\\u12"', "not_json"),
        ('"open', "not_json"),
        ('{"a"}', "not_json"),
        ("[1]//", "not_json"),
        ("\u00a0[]", "not_json"),
        ("\uff11", "not_json"),
        ("NaN", "not_finite"),
        ('{"x":-Infinity}', "not_finite"),
        ("[Infinity]", "not_finite"),
        ("1e999", "not_finite"),
        ("-1e999", "not_finite"),
        ("9007199254740992", "integer_out_of_range"),
        ("-9007199254740992", "integer_out_of_range"),
        ("[9223372036854775808]", "integer_out_of_range"),
        ("[-9223372036854775809]", "integer_out_of_range"),
        ("18446744073709551616", "integer_out_of_range"),
        ("9" * 400, "integer_out_of_range"),
        ("9" * 100_000, "integer_out_of_range"),
        ('{"a":1e300,"b":100000000000000000000}', "integer_out_of_range"),
        ('{"a":1,"a":1}', "duplicate_key"),
        ('{"a":1,"\\u0061":2}', "duplicate_key"),
        ('{"a":":","a":1}', "duplicate_key"),
        ('{"":1,"":1}', "duplicate_key"),
        ('[{"x":[{"k\\"":1,"k\\"":1}]}]', "duplicate_key"),
        ('"\\ud800"', "lone_surrogate"),
        ('"\\udc00x"', "lone_surrogate"),
        ('"\\ud800\\ud800"', "lone_surrogate"),
        ('{"\\uDBFF":1}', "lone_surrogate"),
        ('"\ud800"', "lone_surrogate"),
        ('"\\u0000"', "null_character"),
        ('{"\\u0000":1}', "null_character"),
        ('["a","b\\u0000c"]', "null_character"),
    ],
)
def test_a_text_without_one_meaning_is_refused_by_name(text: str | bytes, reason: str) -> None:
    assert reason_of(text) == reason
    if isinstance(text, str) and "\ud800" not in text:
        assert reason_of(text.encode()) == reason


def test_a_syntax_error_names_the_character_where_reading_stopped() -> None:
    with pytest.raises(NotJson) as seen:
        loads('{"a":1} trailing')
    assert seen.value.position == 8
    assert str(seen.value) == "the text is not one JSON value, from character 8 on"


# Bounds: the largest value is accepted, the next is refused.


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_is_accepted_up_to_its_bound(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    nested = opening * 15 + "[1]" + closing * 15
    assert loads(nested) is not None
    assert reason_of(opening + nested + closing) == "too_deep"


def test_a_bare_value_has_no_depth() -> None:
    assert loads("1", bounds=Bounds(depth=0)) == 1
    assert reason_of("[]", Bounds(depth=0)) == "too_deep"


def test_values_of_every_kind_count_as_nodes_and_keys_do_not() -> None:
    assert loads('[1,"a",null,{"k":[],"l":2.5,"m":{}}]', bounds=SMALL)
    assert reason_of('[1,"a",null,{"k":[],"l":2.5,"m":{}},0]', SMALL) == "too_many_nodes"


def test_the_default_bound_of_nodes_is_exact() -> None:
    assert len(json.loads(json.dumps(loads(json.dumps([0] * 4095))))) == 4095
    assert reason_of(json.dumps([0] * 4096)) == "too_many_nodes"


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("abcdef", "abcdefg"),
        ("ééé", "éééé"),
        ("😀ab", "😀abc"),
        ('"""""\\', '""""""\\'),
        ("", "\n" * 7),
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize(
    "wrap", [str, lambda s: [0, [s]], lambda s: {s: 0}], ids=["plain", "in_lists", "as_key"]
)
def test_strings_and_keys_are_measured_in_bytes_of_utf8(
    inside: str, outside: str, ascii_only: bool, wrap: Any
) -> None:
    assert loads(json.dumps(wrap(inside), ensure_ascii=ascii_only), bounds=SMALL) == wrap(inside)
    assert reason_of(json.dumps(wrap(outside), ensure_ascii=ascii_only), SMALL) == "string_too_long"


def test_the_default_bound_of_a_string_is_8_kib() -> None:
    assert loads(json.dumps("a" * 8192)) == "a" * 8192
    assert reason_of(json.dumps("a" * 8193)) == "string_too_long"
    assert reason_of(json.dumps({"a" * 8193: 1})) == "string_too_long"
    assert loads(json.dumps(["a" * 8192] * 5))


def test_a_complexity_error_names_its_bound() -> None:
    with pytest.raises(TooManyNodes) as seen:
        loads("[1,2,3,4,5,6,7,8]", bounds=SMALL)
    assert (seen.value.bound, str(seen.value)) == (8, "there are more than 8 values")


# Hostile sizes end with a name, and soon: a second is a thousand times what they take.


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "too_deep"),
        ("[" * 100_000 + "]" * 100_000, "too_deep"),
        ('{"a":' * 100_000, "too_deep"),
        ("[" * 1_000 + "]" * 1_000, "too_deep"),
        (json.dumps({f"key{i}": i for i in range(5_000)}), "too_many_nodes"),
        ("[" + "[]," * 300_000 + "[]]", "too_many_nodes"),
        ('"\\' * 300_000, "not_json"),
        ('"' + "\\" * 999_999, "not_json"),
        ("[]," * 300_000, "not_json"),
        ("9" * 1_000_000, "integer_out_of_range"),
        ("[" + "1e17," * 4_000 + "99999999999999999999]", "integer_out_of_range"),
        ("-" * 1_000_000, "not_json"),
        ('"' + '\\"' * 400_000 + '"', "string_too_long"),
        (json.dumps({f"{i}:{i}": ":" for i in range(4_000)})[:-1] + ',"0:0":1}', "duplicate_key"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_a_hostile_text_costs_less_than_a_few_plain_loops_over_it(text: str, reason: str) -> None:
    assert reason_of(text) == reason
    # The best of three: a collection of the whole test process's garbage may fall into one.
    spent = min(thread_time_of(lambda: reason_of(text)) for _ in range(3))
    one_loop = thread_time_of(lambda: [None for _character in text])
    # Linear, that is: a reader that backtracks or recurses takes thousands of these. No absolute
    # time, because machines differ and are shared.
    assert spent < 20 * one_loop + 20 * TICK_S


def test_depth_is_named_also_where_somebody_raised_the_limit_of_recursion() -> None:
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(5_000)
    try:
        assert reason_of("[" * 1_100 + "]" * 1_100) == "too_deep"
    finally:
        sys.setrecursionlimit(usual)


# Python's own reader, with hooks and a plain recursive check, is the oracle.


def verdict(text: str | bytes, bounds: Bounds = Bounds()) -> tuple[str, str]:  # noqa: B008 - frozen value
    """Return what `loads` says: ("read", the value's repr) or (code, reason)."""
    try:
        return "read", repr(loads(text, bounds=bounds))
    except StrictJsonError as error:
        return error.code, error.reason


def oracle(text: str, bounds: Bounds) -> tuple[str, str]:
    """Return ("read", the value's repr), or the code and nothing."""
    try:
        value = json.loads(
            text, object_pairs_hook=members_once, parse_int=integer, parse_constant=no_constant
        )
    except ValueError:  # a syntax error, or a hook's refusal
        return "payload_invalid", ""
    found = list(nodes(value, 0))
    strings = [s for node, _ in found for s in strings_of(node)]
    if any(map(UNSTORABLE.search, strings)) or math.inf in [abs_of(node) for node, _ in found]:
        return "payload_invalid", ""
    longest = max((len(s.encode()) for s in strings), default=0)
    deepest = max(depth for _, depth in found)
    if deepest > bounds.depth or len(found) > bounds.nodes or longest > bounds.string:
        return "payload_too_complex", ""
    return "read", repr(value)


UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def members_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(members)) != len(members):
        raise ValueError("a key came twice")
    return dict(members)


def integer(digits: str) -> int:
    if abs(int(digits)) > MAX_INTEGER:
        raise ValueError("beyond 2^53-1")
    return int(digits)


def no_constant(name: str) -> None:
    raise ValueError(name)


def strings_of(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [*node]
    return [node] if isinstance(node, str) else []


def abs_of(node: Any) -> float:
    return abs(node) if isinstance(node, float) else 0


def nodes(value: Any, above: int) -> Any:
    inner = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    depth = above if inner is None else above + 1
    yield value, depth
    for child in inner or ():
        yield from nodes(child, depth)


FRAGMENTS = [
    *'{}[],:" \\-.0e', "\\u0000", "\\ud800", "\\udc00", "\\u0061", "\ud800", "\0", "\ufeff", "é",
    "😀", '"a"', '"a":', '"b":', '""', "1", "-1", "1.5", "1e400", "9007199254740992", "1" * 25,
    "0.1" + "1" * 25, "NaN", "Infinity", "null", "true", '"\\":"', '"abcdefg"', "[]", "{}",
    '{"a":1,"a":2}',
]  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=10,
)
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join) | st.builds(
    json.dumps, json_values, ensure_ascii=st.booleans()
)


@st.composite
def edited(draw: st.DrawFn) -> str:
    """Draw a text that is nearly JSON: a fragment laid over a place in a good one."""
    text = draw(texts)
    place = draw(st.integers(0, len(text)))
    fragment: str = draw(st.sampled_from(FRAGMENTS))
    return text[:place] + fragment + text[place + draw(st.integers(0, 2)) :]


@given(texts | edited(), st.sampled_from([Bounds(), SMALL]))
@example('{"a":1,"a":[[[[1]]]]}', SMALL)
@example('{"a":":","b:":"\\":"}', SMALL)
@example("[1e20,99999999999999999999]", SMALL)
def test_verdict_and_value_are_those_of_the_oracle(text: str, bounds: Bounds) -> None:
    seen, expected = verdict(text, bounds), oracle(text, bounds)
    if expected[0] == "payload_invalid":  # faults of both families: either may be named
        assert seen[0] in {"payload_invalid", "payload_too_complex"}
    elif expected[0] == "payload_too_complex":
        assert seen[0] == "payload_too_complex"
    else:
        assert seen == expected


@given(st.binary(max_size=40) | texts.map(lambda text: text.encode(errors="surrogatepass")))
def test_bytes_have_the_verdict_of_their_text(raw: bytes) -> None:
    try:
        expected = verdict(raw.decode())
    except UnicodeDecodeError:
        expected = ("payload_invalid", "not_utf8")
    assert verdict(raw) == expected
