"""Mode none: an empty network namespace for each worker, with a loopback of its own that is up, as on Lambda.

One costs 0.4 ms to make and 5 us to join, so a few are kept ready. A namespace is never used twice: it goes, with
whatever a function left in it, when the last process in it is gone.
"""

import concurrent.futures
import os
import socket
from collections.abc import Callable
from typing import NamedTuple

from runtime.pool import kernel, spares
from runtime.pool.network import door, netlink

READY = 16


class Namespace(NamedTuple):
    """A network namespace that nobody uses yet."""

    fd: int
    door: socket.socket
    """To the API, on its loopback."""

    def discard(self) -> None:
        """Let go of it."""
        os.close(self.fd)
        self.door.close()


def make() -> Namespace:
    """Return a new network namespace whose loopback is up. Raises OSError.

    The calling thread leaves its namespace for a moment, so this belongs into a thread that does nothing else.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.unshare(kernel.CLONE_NEWNET)
        try:
            with netlink.Netlink() as inside:
                inside.raise_link("lo")  # without it not even 127.0.0.1 answers
            api = door.listen("127.0.0.1", door.API_PORT)
            return Namespace(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC), api)
        finally:
            kernel.setns(home, kernel.CLONE_NEWNET)
    finally:
        os.close(home)


class Namespaces:
    """Spare namespaces. Use from one event loop; for a supervisor that is root."""

    def __init__(self, ready: int = READY) -> None:
        """Raise OSError, saying why, where namespaces cannot be made."""
        # One thread for all: it is in a foreign namespace while it makes one.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="netns")
        self._thread.submit(make).result().discard()
        self._spares = spares.Spares(make, Namespace.discard, ready=ready, makers=self._thread, breakers=self._thread)
        self._spares.fill()

    @property
    def ready(self) -> int:
        """Return how many can be taken."""
        return self._spares.ready

    def take(self, use: Callable[[Namespace | OSError], None]) -> None:
        """Give ``use`` a namespace, its to close, or an OSError: now, or as soon as one is made."""
        self._spares.take(use)

    def close(self) -> None:
        """Let go of the spares."""
        self._spares.close()
        self._thread.shutdown(wait=True)
