"""The supervisor's side of a mounter, which places functions' folders in sealed blanks (``worker.mounter``)."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable

from runtime import wire
from runtime.pool import affinity

_ONE_FD = struct.Struct("i")


class Gate:
    """By it a sealed blank hears that its folders are there, and leaves word whether they are."""

    __slots__ = ("_ours", "_theirs")

    def __init__(self) -> None:
        """Raise OSError where there are no descriptors left."""
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs: socket.socket | None = theirs

    @property
    def theirs_fd(self) -> int:
        """Return the blank's end, until it has that for itself."""
        assert self._theirs is not None
        return self._theirs.fileno()

    def fileno(self) -> int:
        """Return our end."""
        return self._ours.fileno()

    def passed(self) -> None:
        """Hear that the blank has its end."""
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None

    def shut(self) -> None:
        """Tell a blank that still waits to wait no longer."""
        self._ours.shutdown(socket.SHUT_RDWR)

    def refusal(self) -> str:
        """Return why the folders of a blank that is gone are not there; "" where they are."""
        try:
            word = self._ours.recv(wire.GATE_LIMIT, socket.MSG_DONTWAIT)
        except OSError:
            word = b""
        if word in {b"", wire.NAMESPACE}:
            return "the mounter is gone"
        return "" if word == wire.PLACED else word.decode(errors="replace")

    def close(self) -> None:
        """Let go of it."""
        self.passed()
        self._ours.close()


class Mounter:
    """A zygote's mounter, until it ends."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, pid: int, end: socket.socket, bell: int, on_end: Callable[[], None]
    ) -> None:
        """``end`` of its socket and ``bell``, an eventfd, are ours from now on; ``on_end`` hears of its end."""
        self._pid = pid
        self._kept_off = -1
        """The processor that it does not run on; -1: it may run on any."""
        self._loop = loop
        self._end = end
        self._bell = bell
        self._on_end = on_end
        self._gates: set[Gate] = set()
        """Of blanks that were ordered, and may still wait."""
        end.setblocking(False)
        loop.add_reader(end, self._ended)

    def mount(self, folders: dict[str, str], gate: Gate) -> None:
        """Have folders ("code", "layers": host paths) placed in the blank behind a gate, once; never blocks.

        The blank goes on when they are there, and else exits. ``forget`` the gate when the one or the other is known.
        Raises BrokenPipeError where that cannot be ordered: too many orders wait, or it died and we did not hear yet.
        """
        try:
            passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, _ONE_FD.pack(gate.fileno()))
            self._end.sendmsg([wire.encode(wire.Mount(folders))], [passed])
            # To send wakes nobody: who is woken by a socket is put on the processor of who sent, which is expected to
            # sleep next, and would wait there until we have done all else that a start needs.
            self._kept_off = affinity.keep_off(self._pid, self._kept_off)
            os.eventfd_write(self._bell, 1)
        except OSError as error:
            raise BrokenPipeError(error.errno, f"the mounter takes no order: {error.strerror}") from error
        self._gates.add(gate)

    def forget(self, gate: Gate) -> None:
        """Hear that nobody waits behind a gate any more."""
        self._gates.discard(gate)

    def close(self) -> None:
        """Let it end; ``on_end`` is not called."""
        self._loop.remove_reader(self._end)
        self._end.close()
        os.close(self._bell)
        for gate in self._gates:
            gate.shut()
        self._gates.clear()

    def _ended(self) -> None:
        """Hear that it ended: it has nothing to say."""
        self.close()
        self._on_end()
