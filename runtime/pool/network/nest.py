"""Mode none for a supervisor without privilege: a process of our own (``nester``) makes the namespaces of workers."""

import concurrent.futures
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from runtime.pool import affinity, spares
from runtime.pool.network import namespace, nester

READY = 8

_PROGRAM = """\
import sys
sys.path += sys.argv[1].split(":")
from runtime.pool.network import nester
nester.main(sys.argv[2:])
"""
_TIMEOUT_S = 20.0


class Nest:
    """The process, and spare namespaces. Use from one event loop."""

    user_namespace: int
    """A descriptor; a zygote of mode "user" joins it instead of making one (see ``pasta.Egress``)."""

    def __init__(self, ready: int = READY) -> None:
        """Start it; blocks for a tenth of a second. Raises OSError where it cannot be had."""
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        ours.settimeout(_TIMEOUT_S)
        with theirs:
            self._process = _start(theirs.fileno())
        try:
            (self.user_namespace,) = self._receive(b"ready", 1)
        except BaseException:
            self._end()
            raise
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="nest")
        self._spares = spares.Spares(
            self._make, namespace.Namespace.discard, ready=ready, makers=self._thread, breakers=self._thread
        )
        self._spares.fill()

    def take(self, use: Callable[[namespace.Namespace | OSError], None]) -> None:
        """Give ``use`` a namespace, its to close, or an OSError: now, or as soon as one is made."""
        self._spares.take(use)

    def close(self) -> None:
        """End the process; namespaces that are in use stay."""
        self._spares.close()
        self._thread.shutdown(wait=True)
        os.close(self.user_namespace)
        self._end()

    def _end(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _make(self) -> namespace.Namespace:
        with self._lock:
            self._control.sendall(b"space")
            fd, door = self._receive(b"ok", 2)
        api = socket.socket(fileno=door)
        api.setblocking(False)
        return namespace.Namespace(fd, api)

    def _receive(self, wanted: bytes, count: int) -> list[int]:
        answer, fds, _, _ = socket.recv_fds(self._control, nester.PACKET_LIMIT, count)
        if answer == wanted and len(fds) == count:
            return fds
        for fd in fds:
            os.close(fd)
        raise OSError(answer.decode(errors="replace") or "the process that makes network namespaces is gone")


def _start(control: int) -> subprocess.Popen[bytes]:
    here = str(Path(__file__).parent.parent.parent.parent)
    affinity.release()
    return subprocess.Popen(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-I", "-S", "-c", _PROGRAM, here, str(control), str(os.getpid())],
        env={},
        cwd="/",
        pass_fds=[control],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
