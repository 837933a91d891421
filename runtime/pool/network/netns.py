"""Mode none: an empty network namespace for each worker, with a loopback of its own that is up, as on Lambda.

One costs 0.4 ms to make and 5 us to join, so a few are kept ready. A namespace is never used twice: it goes, with
whatever a function left in it, when the last process in it is gone.
"""

import concurrent.futures
import fcntl
import os
import socket
import struct

from runtime.pool import kernel, spares

READY = 16

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


def make() -> int:
    """Return a descriptor of a new network namespace whose loopback is up. Raises OSError.

    The calling thread leaves its namespace for a moment, so this belongs into a thread that does nothing else.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.unshare(kernel.CLONE_NEWNET)
        try:
            raise_loopback()
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            kernel.setns(home, kernel.CLONE_NEWNET)
    finally:
        os.close(home)


def raise_loopback() -> None:
    """Bring the loopback of the calling thread's network namespace up: without it not even 127.0.0.1 answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # struct ifreq: the interface's name, then its flags.
        name, flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0)))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", name, flags | _IFF_UP))


class Namespaces:
    """Spare namespaces. Use from one event loop; for a supervisor that is root."""

    def __init__(self, ready: int = READY) -> None:
        """Raise OSError, saying why, where namespaces cannot be made."""
        # One thread for all: it is in a foreign namespace while it makes one.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="netns")
        os.close(self._thread.submit(make).result())
        self._spares = spares.Spares(make, os.close, ready=ready, makers=self._thread, breakers=self._thread)
        self._spares.fill()

    @property
    def ready(self) -> int:
        """Return how many can be taken."""
        return self._spares.ready

    def take(self) -> int | None:
        """Return a descriptor, the caller's to close; None where none is ready: the worker then makes its own."""
        return self._spares.take_nowait()

    def close(self) -> None:
        """Let go of the spares."""
        self._spares.close()
        self._thread.shutdown(wait=True)
