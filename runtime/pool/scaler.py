"""How many workers to start for the calls that wait. Pure.

A start costs some milliseconds of the machine's time; a worker that is busy with a call of a tenth of that will be
free before a new one is ready. To start one for every call that finds none idle makes a burst feed itself: the starts
take the processor from the workers, so that more calls find none idle. So a call first waits as long as a start would
take, where the busy workers can be expected to serve it by then. After that it gets a start, unless the others are
being served at a rate by which its turn comes within another start's time: then it is not workers that are missing.
"""

_LEAST_S = 1e-6


def starts(
    *, waiting: int, starting: int, busy: int, service_s: float | None, gap_s: float | None, start_s: float
) -> int:
    """Return how many workers to start for calls that just came.

    ``waiting`` calls have no worker, ``starting`` workers are on their way, and ``busy`` ones take ``service_s`` for a
    call (None: not known yet); ``gap_s`` lies between the ends of two calls. A start takes ``start_s``.

    Where the supervisor is the bottleneck, the calls seem to take long, and still many end in a start's time. Then a
    call may wait for two: each start would make all the others wait.
    """
    missing = waiting - starting
    if missing <= 0:
        return 0
    if not busy or service_s is None:
        return missing
    served_soon = busy * start_s / max(service_s, _LEAST_S)
    if gap_s is not None:
        served_soon = max(served_soon, 2 * start_s / max(gap_s, _LEAST_S))
    return max(missing - int(served_soon), 0)


def late_starts(*, waiting: int, overdue: int, starting: int, served: int) -> int:
    """Return how many workers to start for calls that were expected to be served by now.

    Of the ``waiting`` calls, ``overdue`` have waited for as long as a start takes or longer; during the last such time
    ``served`` calls were.
    """
    return max(min(overdue - served, waiting - starting), 0)


SCALE_OUT_S = 10.0


class ScaleOut:
    """Bounds the rate at which a function gets workers: ``size`` within ten seconds, refilled all the time.

    docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html, "Concurrency scaling rate": 1,000 on AWS.
    """

    __slots__ = ("_at", "_left", "_size")

    def __init__(self, size: int, now: float) -> None:
        self._size = size
        self._left = float(size)
        self._at = now

    def take(self, now: float) -> bool:
        """Take a place for a worker, if there is one; ``now`` is in seconds, and rises."""
        self._left = min(self._size, self._left + (now - self._at) * self._size / SCALE_OUT_S)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Average:
    """A mean that forgets: each new value weighs an eighth."""

    __slots__ = ("value",)

    def __init__(self, value: float | None = None) -> None:
        self.value = value

    def add(self, sample: float) -> None:
        """Take a sample."""
        self.value = sample if self.value is None else self.value + (sample - self.value) / 8
