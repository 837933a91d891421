"""The worker's side of the pipes: blocking, one frame at a time.

Only the process that was forked as the worker may use them: a child that a function forked and that returns
from the handler would otherwise answer a second time.
"""

import os
import struct
from typing import Any

import msgpack

from runtime import wire
from runtime.worker import kernel

_HEADER = struct.Struct(">I")
_KEPT = 32 * 1024 * 1024
"""Bytes of freed memory that a worker keeps once it had a large payload: its event and texts of such a size."""


class Closed(Exception):
    """The supervisor closed its end: the worker is not needed any more."""


class Channel:
    """Reads what the supervisor orders and writes what came of it."""

    __slots__ = ("_owner", "_request_fd", "_response_fd")

    def __init__(self, request_fd: int, response_fd: int) -> None:
        self._request_fd = request_fd
        self._response_fd = response_fd
        self._owner = os.getpid()
        os.set_inheritable(request_fd, False)
        os.set_inheritable(response_fd, False)

    def receive(self) -> list[Any]:
        """Return the next message as its tag and fields, waiting for it; raise Closed at the end of the stream.

        The fields are not checked one by one, which takes longer than all else here: they come from the supervisor.
        """
        (length,) = _HEADER.unpack(self._read(wire.LENGTH_SIZE))
        if length > wire.FRAME_LIMIT:
            return self._receive_large(length)
        fields: list[Any] = msgpack.unpackb(self._read(length), raw=False)
        return fields

    def _receive_large(self, length: int) -> list[Any]:
        """Return a message whose last field stands behind it, as a memoryview: it is copied nowhere."""
        size, _ = wire.size_of(length)
        kernel.keep_freed_memory(_KEPT)
        (head,) = _HEADER.unpack(self._read(wire.LENGTH_SIZE))
        fields: list[Any] = msgpack.unpackb(self._read(head), raw=False)
        payload = memoryview(bytearray(size - wire.LENGTH_SIZE - head))
        self._fill(payload, 0)
        fields.append(payload)
        return fields

    def send(self, message: wire.FromWorker) -> None:
        """Write a message completely; raise Closed when nobody reads any more."""
        self._write(wire.encode(message))

    def respond(self, request_id: str, content_type: str, payload: bytes) -> None:
        """Write a wire.Response, by the shortest way."""
        if len(payload) > wire.LARGE:
            head = wire.large_head((wire.Response.TAG, request_id, content_type), len(payload))
            self._write(head)
            self._write(payload)
            return
        # By the packer that said Ready: another would be two more pages of each worker.
        self._write(wire.encode_fields(wire.Response.TAG, request_id, content_type, payload))

    def _write(self, frame: bytes) -> None:
        if os.getpid() != self._owner:
            raise Closed
        try:
            written = os.write(self._response_fd, frame)
            if written < len(frame):
                rest = memoryview(frame)
                while written < len(frame):
                    written += os.write(self._response_fd, rest[written:])
        except BrokenPipeError:
            raise Closed from None

    def _read(self, size: int) -> bytes | memoryview:
        data = os.read(self._request_fd, size)
        if len(data) == size:
            return data
        if not data:
            raise Closed
        whole = memoryview(bytearray(size))
        whole[: len(data)] = data
        self._fill(whole, len(data))
        return whole

    def _fill(self, whole: memoryview, done: int) -> None:
        while done < len(whole):
            count = os.readv(self._request_fd, [whole[done:]])
            if not count:
                raise Closed
            done += count
