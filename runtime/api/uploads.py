"""Takes the zip out of a large request without holding up the event loop.

A request may bring 50 MB of zip as 67 MB of base64 in a JSON string. Parsing and decoding that in one go would stop
every invocation for a third of a second. So the string is cut out first (finding its end is a scan for one byte) and
decoded in a thread, a little at a time, so that the interpreter's lock changes hands; what is left is small.
"""

import asyncio
import binascii
import re

from runtime import errors
from runtime.api import http

LARGE = 256 * 1024
"""Bytes of a body from which it is worth it: decoding less takes less than a millisecond."""

PLACEHOLDER = "\x00lifted"
"""What stands in the document where the zip was."""

_PIECE = 1 << 19  # a multiple of 4, so that each piece is base64 of its own; half a millisecond of decoding
# In a JSON string a quote is always escaped, so this is a key, never part of a value.
_KEY = re.compile(rb'(?<!\\)"ZipFile"\s*:\s*"')
_MARK = rb"\u0000lifted"


async def lift(body: http.Body) -> tuple[http.Body, bytes | None]:
    """Return a body with a placeholder in the place of its zip, and the zip; or the body as it is, and None.

    Raises Serialization where what should be base64 is not.
    """
    if len(body) < LARGE:
        return body, None
    data = bytes(body) if isinstance(body, memoryview) else body
    keys = list(_KEY.finditer(data, 0, 4 * LARGE)) or list(_KEY.finditer(data))
    if len(keys) != 1:
        return body, None
    start = keys[0].end()
    end = data.find(b'"', start)
    if end < 0 or data.find(b"\\", start, end) >= 0:
        return body, None
    if _KEY.search(data, end) is not None:
        return body, None
    return data[:start] + _MARK + data[end:], await asyncio.to_thread(_decode, data, start, end)


def _decode(data: bytes | bytearray, start: int, end: int) -> bytes:
    try:
        return b"".join(
            binascii.a2b_base64(data[position : min(end, position + _PIECE)], strict_mode=True)
            for position in range(start, end, _PIECE)
        )
    except binascii.Error:
        raise errors.Serialization("Invalid base64 data") from None
