"""Mode none: an empty network namespace for each worker, with a loopback of its own that is up, as on Lambda.

One costs 0.4 ms to make and 5 us to join, so a few are kept ready. A namespace is never used twice: it goes, with
whatever a function left in it, when the last process in it is gone.
"""

import concurrent.futures
from collections.abc import Callable

from runtime.pool import spares
from runtime.pool.network import namespace

READY = 16


class Namespaces:
    """Spare namespaces. Use from one event loop; for a supervisor that is root."""

    def __init__(self, ready: int = READY) -> None:
        """Raise OSError, saying why, where namespaces cannot be made."""
        # One thread for all: it is in a foreign namespace while it makes one.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="netns")
        self._thread.submit(namespace.make).result().discard()
        self._spares = spares.Spares(
            namespace.make, namespace.Namespace.discard, ready=ready, makers=self._thread, breakers=self._thread
        )
        self._spares.fill()

    @property
    def ready(self) -> int:
        """Return how many can be taken."""
        return self._spares.ready

    def take(self, use: Callable[[namespace.Namespace | OSError], None]) -> None:
        """Give ``use`` a namespace, its to close, or an OSError: now, or as soon as one is made."""
        self._spares.take(use)

    def close(self) -> None:
        """Let go of the spares."""
        self._spares.close()
        self._thread.shutdown(wait=True)
