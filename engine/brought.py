"""What engines bring, checked as the data of strangers: results, built files, pictures.

An engine is trusted with its jobs and with nothing else. A file is kept and shown to people only if
it is what it says it is by its structure, and refers to nothing outside of itself; what is in it is
not judged. Each check raises `Refused`: `PAYLOAD_INVALID` for results, `payload_invalid` for files.
"""

import struct
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import orjson
from jsonschema_rs import Validator, validator_for

from security.refusals import Refused

__all__ = ["check_glb", "check_png", "check_result"]

RESULT: Final[dict[str, Any]] = {
    "type": "object",
    "maxProperties": 64,
    "propertyNames": {"pattern": "^[A-Za-z0-9_.-]{1,64}$"},
}
"""A result is facts by short names; how large and deep it may be is said where it is read."""

INSIDE: Final[dict[str, Any]] = {
    "type": "array",
    "items": {"type": "object", "properties": {"uri": {"type": "string", "pattern": "^data:"}}},
}
GLTF: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["asset"],
    "properties": {
        "asset": {
            "type": "object",
            "required": ["version"],
            "properties": {"version": {"const": "2.0"}},
        },
        "nodes": {"type": "array", "maxItems": 100_000},
        "buffers": INSIDE,
        "images": INSIDE,
    },
}
"""glTF 2.0 that a viewer can open without asking anybody else: sections 5.9, 5.13, 5.18, 5.19."""

GLB_HEADER: Final = struct.Struct("<4sII")  # glTF 2.0, section 4.4.2: magic, version, length
GLB_CHUNK: Final = struct.Struct("<I4s")  # section 4.4.3: length, type
GLB_MAGIC: Final = b"glTF"
GLB_VERSION: Final = 2
GLB_ALIGNED: Final = 4
LARGEST_DOCUMENT: Final = 16 * 1024 * 1024  # bytes of JSON: a thousand entities take one

PNG_HEAD: Final = struct.Struct(">8sI4sII")  # W3C PNG, 5.2 and 11.2.1: signature, first IHDR
PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
PNG_SIDE: Final = 4096  # pixels; a few kilobytes of a larger one unpack to gigabytes in a browser


def check_result(result: dict[str, object]) -> None:
    """Check the form of a job's result."""
    if not _validators()["result"].is_valid(result):
        raise Refused("PAYLOAD_INVALID", reason="the result is not at most 64 facts by short names")


def check_glb(body: bytes) -> None:
    """Check that the bytes are a whole binary glTF 2.0 that stands for itself."""
    if len(body) < GLB_HEADER.size:
        raise _refused("shorter than a glTF header")
    if GLB_HEADER.unpack_from(body) != (GLB_MAGIC, GLB_VERSION, len(body)):
        raise _refused("not a binary glTF 2.0 of this length")
    (kind, text), *_others = _chunks(body)
    if kind != b"JSON" or len(text) > LARGEST_DOCUMENT:
        raise _refused("the file does not begin with its document")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _refused("the document is not JSON") from None
    if not _validators()["gltf"].is_valid(document):
        raise _refused("the document is not glTF 2.0, or refers to something outside of the file")


def _chunks(body: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the type and the bytes of each chunk; together they fill the file."""
    at, view = GLB_HEADER.size, memoryview(body)
    while at < len(body) or at == GLB_HEADER.size:  # without any, the header of one is missing
        if len(body) - at < GLB_CHUNK.size:
            raise _refused("a chunk has no header")
        length, kind = GLB_CHUNK.unpack_from(body, at)
        at += GLB_CHUNK.size
        if length % GLB_ALIGNED or at + length > len(body):
            raise _refused("a chunk does not end where it says")
        yield kind, view[at : at + length]
        at += length


def check_png(body: bytes) -> None:
    """Check that the bytes are a PNG by their first and last chunk."""
    if len(body) < PNG_HEAD.size + len(PNG_END) or not body.endswith(PNG_END):
        raise _refused("not a whole PNG")
    signature, length, name, width, height = PNG_HEAD.unpack_from(body)
    if (signature, length, name) != (PNG_SIGNATURE, 13, b"IHDR"):
        raise _refused("not a PNG")
    if not (0 < width <= PNG_SIDE and 0 < height <= PNG_SIDE):
        raise _refused("the picture has a side of 0 or more than 4096")


@cache
def _validators() -> dict[str, Validator]:
    return {name: validator_for(each) for name, each in (("result", RESULT), ("gltf", GLTF))}


def _refused(reason: str) -> Refused:
    return Refused("payload_invalid", reason=reason)
