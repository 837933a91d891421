"""A non-blocking SOCK_SEQPACKET socket that carries packets with descriptors, on the event loop.

The other side is trusted to be ours, not to be well: packets and descriptors are bounded, and what waits to be sent
is too.
"""

import asyncio
import collections
import errno
import os
import socket
import struct
from collections.abc import Callable

from runtime import wire

QUEUE_LIMIT = 4096
"""Packets that wait for room in the socket before ``send`` refuses more."""

_TURN = 16
"""Packets that are handed over in one turn of the event loop: a thousand workers may end at the same time."""

_ANCILLARY = socket.CMSG_SPACE(4 * 4)
_CREDENTIALS = struct.Struct("iII")
"""struct ucred: pid, uid, gid."""
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
_FULL = (errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS)


class QueueFull(Exception):
    """QUEUE_LIMIT packets wait already."""


class PacketSocket:
    """One end of the socket, which it owns."""

    _ancillary = _ANCILLARY
    _most = 1 << 30
    """Packets that are read in one turn of the loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        on_packet: Callable[[bytes, list[int]], None],
        on_end: Callable[[str], None],
    ) -> None:
        """``on_packet`` takes what descriptors it wants out of the list; the rest are closed.

        ``on_end`` is told why, once; the socket is closed by then.
        """
        self._loop = loop
        self._socket = end
        self._on_packet = on_packet
        self._on_end = on_end
        self._queue: collections.deque[tuple[bytes, list[int]]] = collections.deque()
        self.closed = False
        end.setblocking(False)
        loop.add_reader(end, self._readable)

    @property
    def waiting(self) -> int:
        """Return how many packets wait for room."""
        return len(self._queue)

    def send(self, packet: bytes, fds: list[int]) -> None:
        """Send a packet now or as soon as there is room; the descriptors stay the caller's.

        To an end that is gone it goes nowhere: that is heard elsewhere. Raises QueueFull, and OSError where there are
        no descriptors left to keep copies in.
        """
        if not self._queue and self._write(packet, fds):
            return
        if len(self._queue) >= QUEUE_LIMIT:
            raise QueueFull
        self._queue.append((packet, _copies(fds)))
        self._loop.add_writer(self._socket, self._flush)

    def read(self) -> None:
        """Hand over the packets that are there."""
        self._receive(self._most)

    def _readable(self) -> None:
        """Hand over some packets; the loop calls again where there are more, and sees to others in between."""
        self._receive(min(_TURN, self._most))

    def _receive(self, most: int) -> None:
        for _ in range(most):
            if self.closed:
                return
            try:
                packet, ancillary, flags, _ = self._socket.recvmsg(
                    wire.PACKET_LIMIT, self._ancillary, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError as error:
                self._end(f"its socket failed: {error.strerror}")
                return
            fds = _fds_of(ancillary)
            try:
                if not packet:
                    self._end("it ended")
                elif flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                    self._end("it sent too large a packet")
                else:
                    self._deliver(packet, fds, ancillary)
            finally:
                _close_all(fds)

    def close(self) -> None:
        """Close it and forget what was not sent; ``on_end`` is not called."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        while self._queue:
            _close_all(self._queue.popleft()[1])

    def _deliver(self, packet: bytes, fds: list[int], _ancillary: list[tuple[int, int, bytes]]) -> None:
        self._on_packet(packet, fds)

    def _end(self, reason: str) -> None:
        self.close()
        self._on_end(reason)

    def _write(self, packet: bytes, fds: list[int]) -> bool:
        """Return whether the packet went out, or can go nowhere."""
        try:
            socket.send_fds(self._socket, [packet], fds)
        except OSError as error:
            if error.errno in _FULL:
                return False
            if error.errno not in _GONE:
                raise
        return True

    def _flush(self) -> None:
        while self._queue:
            packet, fds = self._queue[0]
            if not self._write(packet, fds):
                return
            self._queue.popleft()
            _close_all(fds)
        self._loop.remove_writer(self._socket)


class Door(PacketSocket):
    """One end of a socket to a process that is not trusted: no descriptors come in, but the sender's pid does.

    The kernel says who sent a packet, by the pid that the sender has here (unix(7), SO_PASSCRED).
    """

    # Room for that and nothing else: descriptors that are sent are closed by the kernel, and the packet is refused.
    _ancillary = socket.CMSG_SPACE(_CREDENTIALS.size)
    # Who sends faster than we read would otherwise never let go of the loop. More than a full socket holds (socket(7),
    # SO_SNDBUF: 278 by default), so that what was sent before something else happened is read.
    _most = 512

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        on_packet: Callable[[bytes, int], None],
        on_end: Callable[[str], None],
    ) -> None:
        """``on_packet`` hears a packet and its sender's pid."""
        end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._on_sent = on_packet
        super().__init__(loop, end, lambda _packet, _fds: None, on_end)

    def _deliver(self, packet: bytes, _fds: list[int], ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid, _uid, _gid = _CREDENTIALS.unpack(data)
                self._on_sent(packet, pid)
                return
        self._end("it sent a packet without a sender")


def _copies(fds: list[int]) -> list[int]:
    copies: list[int] = []
    try:
        for fd in fds:
            copies.append(os.dup(fd))  # noqa: PERF401 - those made so far must be closed if one fails
    except OSError:
        _close_all(copies)
        raise
    return copies


def _fds_of(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(data) - len(data) % 4
            fds += memoryview(data[:whole]).cast("i").tolist()
    return fds


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
    fds.clear()
