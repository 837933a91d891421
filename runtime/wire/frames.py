"""Frames: how a message becomes bytes, and bytes a message that may be believed.

The limits are checked on the length prefix, before anything is allocated, because the bytes may come from a hostile
worker.
"""

import dataclasses
import itertools
import operator
import struct
from collections.abc import Callable
from typing import Any, get_args

import msgpack

from runtime.wire.messages import Invoke, Message, Response

PAYLOAD_LIMIT = 6 * 1024 * 1024 + 100
"""Bytes of a synchronous request or response payload (6291556, as AWS's own error message says)."""

FRAME_LIMIT = 6 * 1024 * 1024 + 64 * 1024
"""Bytes of one frame's body: a payload and what goes around it."""

LARGE = 64 * 1024
"""Bytes of a payload from which on it is sent as it is, and of a frame from which on it gets memory of its own."""

LENGTH = struct.Struct(">I")
LENGTH_SIZE = LENGTH.size
_SPLIT = 1 << 31
"""The bit of a frame's length."""


class WireError(Exception):
    """The other side sent bytes that are no message of ours."""


class FrameTooLarge(WireError):
    """A frame announced more bytes than FRAME_LIMIT."""


_NONE = type(None)
_ALTERNATIVES: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bytes: (bytes,),
    bytes | memoryview: (bytes, memoryview),
    bytes | bytearray | memoryview: (bytes, memoryview),
    int: (int,),
    bool: (bool,),
    str | None: (str, _NONE),
    bytes | None: (bytes, _NONE),
    dict[str, str]: (dict,),
    dict[str, int]: (dict,),
}


class _Shape:
    """What the fields of one kind of message are, looked up once instead of for each message."""

    __slots__ = ("arity", "maps", "signatures", "values")

    def __init__(self, kind: type) -> None:
        fields = dataclasses.fields(kind)
        self.arity = len(fields)
        self.signatures = frozenset(itertools.product(*(_ALTERNATIVES[field.type] for field in fields)))
        """Every combination of types that the fields may have."""
        self.maps = tuple(
            (index, int if field.type == dict[str, int] else str)
            for index, field in enumerate(fields)
            if _ALTERNATIVES[field.type] == (dict,)
        )
        self.values: Callable[[Any], tuple[Any, ...]] = _getter([field.name for field in fields])


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if not names:
        return lambda _message: ()
    get = operator.attrgetter(*names)
    return get if len(names) > 1 else lambda message: (get(message),)


_SHAPES: dict[type, _Shape] = {kind: _Shape(kind) for kind in get_args(Message)}
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack

_LARGE_KINDS = frozenset({Invoke, Response})
_LENGTHS = struct.Struct(">II")

PACKET_LIMIT = 32 * 1024
"""Bytes of one packet between supervisor and zygote."""


def encode(message: Message) -> bytes:
    """Return the frame of a message."""
    kind = type(message)
    return encode_fields(kind.TAG, *_SHAPES[kind].values(message))


def encode_fields(*fields: Any) -> bytes:
    """Return the frame of a message whose tag and fields are given: one for each call is worth not making it first."""
    body: bytes = _pack(fields)
    return LENGTH.pack(len(body)) + body


def encode_large(message: Message) -> tuple[bytes, Any]:
    """Return the frame of a message with a large last field, as its beginning and that field."""
    kind = type(message)
    *values, payload = _SHAPES[kind].values(message)
    return large_head((kind.TAG, *values), len(payload)), payload


def large_head(fields: tuple[Any, ...], size: int) -> bytes:
    """Return what stands before a large last field of so many bytes; ``fields`` are the tag and all others."""
    body: bytes = _pack(fields)
    return _LENGTHS.pack(_SPLIT | (LENGTH_SIZE + len(body) + size), len(body)) + body


def size_of(length: int) -> tuple[int, bool]:
    """Return how many bytes follow a frame's length, and whether a large field is among them."""
    size = length & ~_SPLIT
    if size > FRAME_LIMIT:
        raise FrameTooLarge(f"a frame of {size} bytes, over the limit of {FRAME_LIMIT}")
    return size, length != size


def parse(body: bytes | memoryview, accepted: dict[int, type], payload: memoryview | None = None) -> Any:
    """Return the message in a frame's body, one of the ``accepted`` kinds; raise WireError otherwise.

    ``payload`` is its last field, where that stands behind the body.
    """
    try:
        tag, *values = msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=True,
            max_ext_len=0,
            max_bin_len=FRAME_LIMIT,
            max_str_len=FRAME_LIMIT,
            max_array_len=32,
            max_map_len=4096,
        )
    except Exception as error:  # noqa: BLE001 - what msgpack raises is of many kinds, TypeError and RecursionError too
        raise WireError(f"not msgpack: {error}") from None
    kind = accepted.get(tag) if type(tag) is int else None
    if kind is None:
        raise WireError(f"unexpected message tag {tag!r:.32}")
    shape = _SHAPES[kind]
    if payload is not None:
        # Only where it may be memory of its own: all others are small, or need not be fast.
        values.append(payload if kind in _LARGE_KINDS else bytes(payload))
    if (*map(type, values),) not in shape.signatures:
        raise WireError(f"{kind.__name__} of {len(values)} fields does not have its {shape.arity} of the right types")
    for index, of in shape.maps:
        if not all(type(key) is str and type(value) is of for key, value in values[index].items()):
            raise WireError(f"{kind.__name__} holds a map of the wrong types")
    return kind(*values)


_UUID_SIZE = 36
_SHORT_HEAD = bytes((0x94, Response.TAG, 0xD9, _UUID_SIZE))
"""Of a Response: an array of four, its tag, and a text as long as a request's id."""
_SHORT_TYPE = b"\xb0application/json"
_ID_AT = LENGTH_SIZE + len(_SHORT_HEAD)
_TYPE_AT = _ID_AT + _UUID_SIZE
_BIN_AT = _TYPE_AT + len(_SHORT_TYPE)
_BIN8, _BIN16 = b"\xc4", b"\xc5"


def parse_usual(frame: bytes) -> Response | None:
    """Return the Response in a whole frame where it is as most are; None tells nothing of the frame.

    That is, JSON of less than 64 KB for a request whose id is a UUID, written in the one way in which msgpack writes
    it: this takes a third of the time of ``parse``, which gives the same for it.
    """
    if not (frame.startswith(_SHORT_HEAD, LENGTH_SIZE) and frame.startswith(_SHORT_TYPE, _TYPE_AT)):
        return None
    kind, start = frame[_BIN_AT : _BIN_AT + 1], _BIN_AT + 2
    if kind == _BIN16:
        start += 1
    elif kind != _BIN8:
        return None
    request_id, size = frame[_ID_AT:_TYPE_AT], frame[_BIN_AT + 1 : start]
    if int.from_bytes(size, "big") != len(frame) - start or not request_id.isascii():
        return None
    return Response(request_id.decode(), "application/json", frame[start:])


def parse_packet(packet: bytes, accepted: dict[int, type]) -> Any:
    """Return the message that a packet of a SOCK_SEQPACKET socket holds: exactly one frame, or WireError."""
    if len(packet) < LENGTH_SIZE or LENGTH.unpack_from(packet)[0] != len(packet) - LENGTH_SIZE:
        raise WireError(f"a packet of {len(packet)} bytes is not one frame")
    return parse(memoryview(packet)[LENGTH_SIZE:], accepted)
