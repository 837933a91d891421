"""Frames of ``application/vnd.amazon.eventstream``, as AWS's SDKs read them. Pure.

    total length | headers length | CRC of these two | headers | payload | CRC of all before
    4 bytes      | 4              | 4                |         |         | 4        (big-endian)

A header is the length of its name, the name, type 7 (string), the length of its value in two bytes, and the value
(docs.aws.amazon.com/transcribe/latest/dg/event-stream.html shows the layout; it is the same for every service).
"""

import struct
import zlib
from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7
_PRELUDE = struct.Struct(">II")
_CRC = struct.Struct(">I")


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return one frame."""
    packed = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    total = _PRELUDE.size + _CRC.size + len(packed) + len(payload) + _CRC.size
    prelude = _PRELUDE.pack(total, len(packed))
    head = prelude + _CRC.pack(zlib.crc32(prelude)) + packed
    return b"".join((head, payload, _CRC.pack(zlib.crc32(payload, zlib.crc32(head)))))


def event(kind: str, content_type: str, payload: bytes) -> bytes:
    """Return the frame of an event."""
    return frame({":event-type": kind, ":content-type": content_type, ":message-type": "event"}, payload)


def _header(name: bytes, value: bytes) -> bytes:
    return b"%c%b%c%b%b" % (len(name), name, _STRING, struct.pack(">H", len(value)), value)
