"""What engines bring is looked at as the data of strangers."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import brought, gltf
from security.refusals import Refused
from tests.engine.conftest import world

ASSET = {"asset": {"version": "2.0"}}


def glb(*chunks: tuple[bytes, bytes]) -> bytes:
    """A binary glTF of such chunks, whatever is in them."""
    body = b"".join(struct.pack("<I4s", len(text), kind) + text for kind, text in chunks)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def document(value: object) -> bytes:
    text = json.dumps(value).encode()
    return text + b" " * (-len(text) % 4)


def refused(code: str, check: Any, value: Any) -> None:
    with pytest.raises(Refused) as caught:
        check(value)
    assert caught.value.code == code


# -- results


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"nodes": 3},
        {"a.b-c_D": {"deep": [1, None, {"ü": "ü"}]}},
        {f"k{n}": n for n in range(64)},
    ],
)
def test_facts_by_short_names_are_a_result(result: dict[str, Any]) -> None:
    brought.check_result(result)


@pytest.mark.parametrize(
    "result",
    [{f"k{n}": n for n in range(65)}, {"": 1}, {"x" * 65: 1}, {"<b>": 1}, {"a\n": 1}, {"ü": 1}],
)
def test_other_results_are_refused(result: dict[str, Any]) -> None:
    refused("PAYLOAD_INVALID", brought.check_result, result)


# -- files


@pytest.mark.parametrize(
    "value",
    [
        ASSET,
        {**ASSET, "nodes": [{"name": "a", "extras": {"uri": "https://example.org"}}]},
        {**ASSET, "buffers": [{"byteLength": 4}, {"uri": "data:;base64,AAAA", "byteLength": 3}]},
        {**ASSET, "images": [{"bufferView": 0, "mimeType": "image/png"}]},
    ],
)
def test_a_document_that_stands_for_itself_is_kept(value: Any) -> None:
    brought.check_glb(glb((b"JSON", document(value)), (b"BIN\0", bytes(8))))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"asset": {}},
        {"asset": {"version": "1.0"}},
        {"asset": {"version": 2.0}},
        {**ASSET, "buffers": [{"uri": "https://evil.example/buffer.bin"}]},
        {**ASSET, "images": [{"uri": "//evil.example/image.png"}]},
        {**ASSET, "images": [{"uri": "javascript:alert(1)"}]},
        {**ASSET, "images": {"uri": "data:,"}},
        {**ASSET, "nodes": [0] * 100_001},
    ],
    ids=repr,
)
def test_a_document_that_is_no_gltf_or_points_elsewhere_is_refused(value: Any) -> None:
    refused("payload_invalid", brought.check_glb, glb((b"JSON", document(value))))


@pytest.mark.parametrize(
    "body",
    [
        glb(),
        glb((b"BIN\0", bytes(4)), (b"JSON", document(ASSET))),
        glb((b"JSON", b"{   ")),
        glb((b"JSON", b'"\xff" ')),
        glb((b"JSON", document(ASSET)), (b"BIN\0", b"abc")),
        glb((b"JSON", document(ASSET)))[:-4],
        struct.pack("<4sII", b"glTF", 2, 16) + b"JSON",
        struct.pack("<4sIII4s", b"glTF", 2, 20, 4_000_000_000, b"JSON"),
    ],
    ids=repr,
)
def test_a_file_whose_chunks_do_not_fill_it_is_refused(body: bytes) -> None:
    refused("payload_invalid", brought.check_glb, body)


@given(st.binary(max_size=64), st.booleans())
def test_no_bytes_break_the_check(junk: bytes, headed: bool) -> None:
    body = struct.pack("<4sII", b"glTF", 2, 12 + len(junk)) + junk if headed else junk
    refused("payload_invalid", brought.check_glb, body)


def test_what_the_reference_engine_writes_is_kept() -> None:
    scene, specification = gltf.Scene(), world(50).spec
    for entity in specification["entities"]:
        scene.add(entity)
    brought.check_glb(scene.export(specification).data)
