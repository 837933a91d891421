"""The mounter: a process beside the zygote that places functions' folders in the mount namespaces of sealed blanks.

Mounts need privilege, and a blank that is sealed has none. The zygote may be forking for others just then, and the
supervisor does not wait for locks of the kernel; so there is a process for it. It is forked by the zygote, which forks
another where it is killed; it dies with the zygote, keeps the host's view of folders, and serves orders of the
supervisor until its socket ends. It is woken by a *bell*, an eventfd, and not by the socket (see ``pool.mounting``).

An order (``wire.Mount``) comes with a *gate*: one end of a socket pair, of which the blank has the other. Before the
blank gave up its privileges it sent a descriptor of its mount namespace through it, once. The mounter takes that,
places the folders, tells the blank, and forgets both. So it enters a namespace only by the hand of a blank that waits,
and each only once: a worker that runs a function has closed its gate, what went through it was taken out, and no
other way in exists. An order whose gate holds nothing yet waits for the blank; one whose blank is gone is dropped.

Confinement: no capability but to join mount namespaces, to mount, and to pass through folders; a filter of system calls
with which it opens no file, makes no process and connects to nobody.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import contextlib
import fcntl
import os
import select
import signal
import struct
import sys
from typing import NoReturn

from runtime import wire
from runtime.worker import kernel, seccomp, views

_CONTROL_FD, _BELL_FD, _VIEW_FD = 3, 4, 5
_NICE = -10
"""It works for a fraction of a millisecond, and then somebody waits: before those who make blanks for later."""
_NAME = "mounter"
"""As ps(1) shows it."""
_SPARE_FD = 64
"""Where descriptors are parked while those are laid out."""
_CAPABILITIES = 1 << 1 | 1 << 2 | 1 << 18 | 1 << 21
"""CAP_DAC_OVERRIDE or CAP_DAC_READ_SEARCH, whichever we have, to pass through folders; CAP_SYS_CHROOT and CAP_SYS_ADMIN
for setns(2) and mounts: linux/capability.h."""
_ONE_FD = struct.Struct("i")
_ANCILLARY = _socket.CMSG_SPACE(_ONE_FD.size)


class _Dropped(Exception):
    """The blank behind a gate is gone, or was served before."""


def start(host_view: int) -> tuple[int, int, int]:
    """Fork a mounter; return its pid, the supervisor's end of its socket, and its bell. Raises OSError."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    bell = os.eventfd(0)
    pid = kernel.fork()
    if pid:
        theirs.close()
        return pid, ours.detach(), bell
    try:
        _run(theirs.fileno(), bell, host_view)
    except BaseException as error:
        sys.stderr.write(f"mounter: {type(error).__name__}: {error}\n")
    finally:
        os._exit(1)


def _run(control: int, bell: int, host_view: int) -> NoReturn:
    _signal.set_wakeup_fd(-1)
    _signal.signal(signal.SIGCHLD, _signal.SIG_DFL)
    refused, kept = _refusal_of_layers(), _held() & _CAPABILITIES
    with open("/proc/self/comm", "w") as file:  # noqa: PTH123 - no Path in a zygote
        file.write(_NAME)
    with contextlib.suppress(OSError):  # it needs privilege
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    kernel.setns(host_view, kernel.CLONE_NEWNS)
    parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _SPARE_FD) for fd in (control, bell, host_view)]
    for fd, place in zip(parked, (_CONTROL_FD, _BELL_FD, _VIEW_FD), strict=True):
        os.dup2(fd, place, inheritable=False)
    kernel.close_from(_VIEW_FD + 1)
    kernel.drop_capabilities(kept)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.load_filter(seccomp.mounter_program(kernel.MACHINE))
    _Mounter(refused).serve()


def _refusal_of_layers() -> OSError | None:
    """Return why no layers can be placed, in the root that all workers see."""
    try:
        views.check_layers()
    except OSError as error:
        return error
    return None


def _held() -> int:
    """Return the capabilities that we have: in a container not all."""
    with open("/proc/self/status") as file:  # noqa: PTH123 - no Path in a zygote
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapPrm:"))


class _Mounter:
    """Serves orders."""

    def __init__(self, refused: OSError | None) -> None:
        self._refused = refused
        self._control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, _CONTROL_FD)
        self._waiting: dict[int, tuple[_socket.socket, dict[str, str]]] = {}
        """By their gates: orders for blanks that are on their way."""
        self._poll = select.poll()
        self._poll.register(_BELL_FD, select.POLLIN)
        self._poll.register(_CONTROL_FD, 0)  # its end alone

    def serve(self) -> NoReturn:
        """Serve until the socket ends."""
        while True:
            for fd, _event in self._poll.poll():
                if fd in self._waiting:
                    self._poll.unregister(fd)
                    self._place(*self._waiting.pop(fd))
                elif fd == _BELL_FD:
                    os.read(fd, 8)
                    while self._take_order():
                        pass
                else:
                    os._exit(0)

    def _take_order(self) -> bool:
        """Serve one order; return False where there is none."""
        try:
            packet, ancillary, _flags, _ = self._control.recvmsg(wire.PACKET_LIMIT, _ANCILLARY, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        if not packet:
            os._exit(0)
        order = wire.parse_packet(packet, wire.MOUNTER_ORDERS)
        ((_level, _kind, data),) = ancillary
        gate = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, *_ONE_FD.unpack(data))
        self._place(gate, order.folders)
        return True

    def _place(self, gate: _socket.socket, folders: dict[str, str]) -> None:
        """Serve the blank behind a gate, as soon as it has passed its namespace on."""
        try:
            namespace = _namespace(gate)
        except BlockingIOError:
            self._waiting[gate.fileno()] = gate, folders
            self._poll.register(gate, select.POLLIN)
            return
        except _Dropped:
            gate.close()
            return
        try:
            self._mount(namespace, folders)
            answer = wire.PLACED
        except Exception as error:
            answer = f"{type(error).__name__}: {error}".encode(errors="replace")[: wire.GATE_LIMIT]
        finally:
            os.close(namespace)
        with contextlib.suppress(OSError):  # it died meanwhile, as others tell
            gate.send(answer)
        gate.close()
        # Behind the answer: whoever waits for that need not wait for this. Failing it, we are of no use.
        kernel.setns(_VIEW_FD, kernel.CLONE_NEWNS)

    def _mount(self, namespace: int, folders: dict[str, str]) -> None:
        if "layers" in folders and self._refused is not None:
            raise self._refused
        copied = views.copies(folders)
        try:
            kernel.setns(namespace, kernel.CLONE_NEWNS)
        except BaseException:
            views.close(copied)
            raise
        views.place(copied)


def _namespace(gate: _socket.socket) -> int:
    """Return what a blank passed through its gate; raise BlockingIOError where it did not yet, or _Dropped."""
    try:
        _data, ancillary, _flags, _ = gate.recvmsg(1, _ANCILLARY, _socket.MSG_DONTWAIT | _socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        raise _Dropped from None
    for _level, _kind, data in ancillary:
        (fd,) = _ONE_FD.unpack(data)
        return int(fd)
    raise _Dropped
