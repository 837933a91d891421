"""The supervisor's ends of a worker's three pipes: requests out, responses and log in.

Non-blocking, callback-driven: one ``os.read`` a wake-up, no task, no future. What the worker wrote to its log
before it answered is already in the log pipe when the answer is read, so ``drain_log`` then completes the log of
the invocation; that is why the last line is never lost.

Every byte that comes in is hostile: frames are bounded by ``wire``, and one wake-up reads a bounded amount, so
that a flood cannot hold the loop.
"""

import asyncio
import contextlib
import fcntl
import os
import termios
from collections import deque
from collections.abc import Callable
from typing import Any

from runtime import wire

READ_SIZE = 64 * 1024
PIPE_SIZE = 1024 * 1024
ENDED = "the worker closed its response pipe"
_NO_BYTES = bytes(4)
LOG_DRAIN_LIMIT = 1024 * 1024
"""Bytes read from the log pipe in one go: no pipe of a function holds more, and what it adds meanwhile has its turn."""
LOG_RATE = 8 * 1024 * 1024
LOG_BURST = 16 * 1024 * 1024
"""Bytes a second, and beyond it, that are read of one worker's log: one that writes more waits at its full pipe, and
nothing is lost by that. (The log store keeps less in the long run, and says what it dropped.)"""
LOG_READ_COST = 4096
"""What one read counts beside its bytes: a flood of single bytes costs us turns."""
LOG_REST_S = 0.02


def pipes() -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return (ours, theirs) of three pipes: (request, response, log) file descriptors; ours do not block."""
    request_theirs, request_ours = os.pipe2(os.O_CLOEXEC)
    response_ours, response_theirs = os.pipe2(os.O_CLOEXEC)
    log_ours, log_theirs = os.pipe2(os.O_CLOEXEC)
    ours = (request_ours, response_ours, log_ours)
    for fd in ours:
        os.set_blocking(fd, False)
    return ours, (request_theirs, response_theirs, log_theirs)


class Link:
    """Talks to one worker.

    ``on_message(message)`` gets each decoded message, ``on_log(data)`` the log bytes as they come,
    ``on_broken(reason)`` is called once when the response pipe ends or holds what is no message.
    """

    __slots__ = (
        "_decoder",
        "_log_fd",
        "_log_tokens",
        "_log_until",
        "_loop",
        "_on_broken",
        "_on_log",
        "_on_message",
        "_outgoing",
        "_paused",
        "_request_fd",
        "_response_fd",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fds: tuple[int, int, int],
        on_message: Callable[[Any], None],
        on_log: Callable[[bytes], None],
        on_broken: Callable[[str], None],
        first: wire.FromSupervisor | None = None,
    ) -> None:
        """``first`` is a message that is sent before anything else is done, because somebody waits for it."""
        self._loop = loop
        self._request_fd, self._response_fd, self._log_fd = fds
        self._on_message = on_message
        self._on_log = on_log
        self._on_broken = on_broken
        self._decoder = wire.Decoder(wire.WORKER_MESSAGES)
        self._outgoing: deque[memoryview] = deque()
        self._paused = False
        self._log_tokens: float = LOG_BURST
        self._log_until = 0.0
        """When the tokens were counted last; loop time."""
        if first is not None:
            self.send(first)
        loop.add_reader(self._response_fd, self._response_readable)
        loop.add_reader(self._log_fd, self._log_readable)

    def send(self, message: wire.FromSupervisor) -> None:
        """Queue a message; what the pipe does not take now follows as the worker reads."""
        if type(message) is wire.Invoke and len(message.payload) > wire.LARGE:
            _widen(self._request_fd)
            head, payload = wire.encode_large(message)
            self._push(head)
            self._push(memoryview(payload))
        else:
            self._push(wire.encode(message))

    def invoke(self, *fields: Any) -> None:
        """Queue the wire.Invoke of these fields, which is made only where it has to be."""
        if len(fields[-1]) > wire.LARGE:
            self.send(wire.Invoke(*fields))
        else:
            self._push(wire.encode_fields(wire.Invoke.TAG, *fields))

    def _push(self, data: bytes | memoryview) -> None:
        if not self._outgoing:
            try:
                sent = os.write(self._request_fd, data)
            except BlockingIOError:
                sent = 0
            except BrokenPipeError:
                return  # the worker is dying: its exit is reported by the zygote
            if sent == len(data):
                return
            self._loop.add_writer(self._request_fd, self._request_writable)
            self._outgoing.append(memoryview(data)[sent:])
        else:
            self._outgoing.append(memoryview(data))

    def drain_log(self) -> None:
        """Hand over the log bytes that are already in the pipe."""
        if self._log_fd < 0 or is_empty(self._log_fd):
            return  # as most often: to ask costs less than to be refused
        left = LOG_DRAIN_LIMIT
        while left > 0 and self._log_fd >= 0:
            try:
                data = os.read(self._log_fd, READ_SIZE)
            except BlockingIOError:
                return
            if not data:
                self._close_log()
                return
            left -= len(data)
            self._on_log(data)

    def drain(self) -> None:
        """Hear the messages that are already in the pipe of a worker that is gone."""
        for _ in range(PIPE_SIZE // READ_SIZE):
            if self._response_fd < 0 or is_empty(self._response_fd):
                return
            self._response_readable()

    def pause(self) -> None:
        """Read no more responses until ``resume``: the worker waits when its pipe is full."""
        if not self._paused and self._response_fd >= 0:
            self._paused = True
            self._loop.remove_reader(self._response_fd)

    def resume(self) -> None:
        """Read responses again."""
        if self._paused and self._response_fd >= 0:
            self._loop.add_reader(self._response_fd, self._response_readable)
        self._paused = False

    def close(self) -> None:
        """Stop listening and close the pipes; a worker that reads its request pipe sees the end."""
        self._close_request()
        self._close_response()
        self._close_log()
        # Whoever hears of it refers to us as well: see ``holder.Holder.release``.
        self._on_message = self._on_log = self._on_broken = _unheard

    def _request_writable(self) -> None:
        try:
            while self._outgoing:
                sent = os.write(self._request_fd, self._outgoing[0])
                if sent < len(self._outgoing[0]):
                    self._outgoing[0] = self._outgoing[0][sent:]
                    return
                self._outgoing.popleft()
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._outgoing.clear()
        self._loop.remove_writer(self._request_fd)

    def _response_readable(self) -> None:
        room = self._decoder.room()
        if room is not None:
            self._read_large(room)
            return
        try:
            data = os.read(self._response_fd, READ_SIZE)
        except BlockingIOError:
            return
        if not data:
            self._break(ENDED)
            return
        if len(data) == READ_SIZE:
            _widen(self._response_fd)
        try:
            message = self._decoder.whole(data)
            if message is not None:
                self._on_message(message)
                return
            for message in self._decoder.feed(data):
                self._on_message(message)
                if self._response_fd < 0:
                    return  # closed by what the message led to
        except wire.WireError as error:
            self._break(str(error))
            return
        if self._decoder.room() is not None:
            _widen(self._response_fd)

    def _read_large(self, room: memoryview) -> None:
        try:
            count = os.readv(self._response_fd, [room])
        except BlockingIOError:
            return
        if not count:
            self._break(ENDED)
            return
        try:
            message = self._decoder.filled(count)
        except wire.WireError as error:
            self._break(str(error))
            return
        if message is not None:
            self._on_message(message)

    def _break(self, reason: str) -> None:
        self._close_response()
        self._on_broken(reason)

    def _log_readable(self) -> None:
        try:
            data = os.read(self._log_fd, READ_SIZE)
        except BlockingIOError:
            return
        if not data:
            self._close_log()
            return
        self._on_log(data)
        self._log_tokens -= len(data) + LOG_READ_COST
        if self._log_tokens < 0 <= self._log_fd:
            self._rest_log()

    def _rest_log(self) -> None:
        """Go on reading the log if it was quiet enough, or else after a rest."""
        now = self._loop.time()
        self._log_tokens = min(LOG_BURST, self._log_tokens + (now - self._log_until) * LOG_RATE)
        self._log_until = now
        if self._log_tokens < 0:
            self._loop.remove_reader(self._log_fd)
            self._loop.call_later(LOG_REST_S, self._resume_log)

    def _resume_log(self) -> None:
        if self._log_fd >= 0:
            self._loop.add_reader(self._log_fd, self._log_readable)

    def _close_request(self) -> None:
        if self._request_fd >= 0:
            if self._outgoing:
                self._outgoing.clear()
                self._loop.remove_writer(self._request_fd)
            os.close(self._request_fd)
            self._request_fd = -1

    def _close_response(self) -> None:
        if self._response_fd >= 0:
            self._loop.remove_reader(self._response_fd)
            os.close(self._response_fd)
            self._response_fd = -1

    def _close_log(self) -> None:
        if self._log_fd >= 0:
            self._loop.remove_reader(self._log_fd)
            os.close(self._log_fd)
            self._log_fd = -1


def _unheard(_: Any) -> None:
    """Hear what came after the end."""


def is_empty(fd: int) -> bool:
    """Return whether there is nothing to read in a pipe."""
    return fcntl.ioctl(fd, termios.FIONREAD, _NO_BYTES) == _NO_BYTES


def printable(text: str) -> str:
    """Return a text that came from a worker, bounded and fit for a header, a log line and a label."""
    return "".join(c if c.isprintable() else "?" for c in text[:256])


def _widen(fd: int) -> None:
    # Fewer turns for a large payload. Refused (EPERM) where the user's pipe budget is spent: then it takes more turns.
    with contextlib.suppress(OSError):
        if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < PIPE_SIZE:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
