"""Mode none: an empty network namespace for each worker, with a loopback of its own that is up, as on Lambda.

One costs 0.4 ms to make and 5 us to join, so a few are kept ready. A namespace is never used twice: it goes, with
whatever a function left in it, when the last process in it is gone.
"""

import concurrent.futures
import os

from runtime.pool import kernel, spares
from runtime.pool.network import netlink

READY = 16


def make() -> int:
    """Return a descriptor of a new network namespace whose loopback is up. Raises OSError.

    The calling thread leaves its namespace for a moment, so this belongs into a thread that does nothing else.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.unshare(kernel.CLONE_NEWNET)
        try:
            with netlink.Netlink() as inside:
                inside.raise_link("lo")  # without it not even 127.0.0.1 answers
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
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
