"""How many workers to start for the calls that wait. Pure.

A start costs some milliseconds of the machine's time; a worker that is busy with a call of a tenth of that will be
free before a new one is ready. To start one for every call that finds none idle makes a burst feed itself: the starts
take the processor from the workers, so that more calls find none idle. So a call first waits as long as a start would
take, where the workers that there are can be expected to serve it by then. After that it gets a start, unless the
others are being served at a rate by which its turn comes within another start's time: then it is not workers that are
missing.

Many starts at once share the processors, so the last of them is ready only when all have had their time: by then, other
workers will have served the more calls. No more are started than calls will be left.

Where nothing is known of a function's calls, the first few workers find it out.

Calls may be short enough for all to be served in time, and still keep every worker busy: then it is workers that keep
them waiting. Between two calls a worker waits for its answer's way to the supervisor and its next call's way back, and
where it has too few beside it, the processors wait as well. So those who never rest get one more, and another.
"""

import math

COST_S = 0.01
"""Of a processor's time, for a start."""
TRIAL = 4
"""Workers that are started at first where it is not known how long a call takes; so many callers notice nothing."""
TRIAL_S = 0.02
"""The trial is over when a worker has been ready for so long, ..."""
TRIAL_LIMIT_S = 0.25
"""... and in any case so long after the first start: an init may take long, too, and then each call needs its own."""
CROWD = 8
"""Workers a processor from which on more of them make nothing faster, unless calls are late: twice as many as keep the
processors busy with calls that take no time of their own."""
_LEAST_S = 1e-6


def starts(
    *,
    waiting: int,
    starting: int,
    busy: int,
    service_s: float | None,
    gap_s: float | None,
    start_s: float,
    processors: int,
    on_trial: bool = False,
) -> int:
    """Return how many workers to start for calls that just came.

    ``waiting`` calls have no worker, ``starting`` workers are on their way, and they and the ``busy`` ones take
    ``service_s`` for a call (None: not known yet); ``gap_s`` lies between the ends of two calls. A start takes
    ``start_s``. ``on_trial``: the first workers may still find out how long a call takes.

    Where the supervisor is the bottleneck, the calls seem to take long, and still many end in a start's time. Then a
    call may wait for two: each start would make all the others wait.
    """
    missing = waiting - starting
    if missing <= 0:
        return 0
    if service_s is None:
        return min(missing, max(TRIAL - starting - busy, 0)) if on_trial else missing
    rate = (busy + starting) / max(service_s, _LEAST_S)
    if gap_s is not None:
        rate = max(rate, 2 / max(gap_s, _LEAST_S))
    return max(min(missing - int(rate * start_s), _left(missing, rate, processors)), 0)


def late_starts(*, waiting: int, overdue: int, starting: int, served: int, patience_s: float, processors: int) -> int:
    """Return how many workers to start for calls that were expected to be served by now.

    Of the ``waiting`` calls, ``overdue`` have waited for ``patience_s`` or longer; during the last such time ``served``
    calls were.
    """
    missing = waiting - starting
    return max(min(overdue - served, missing, _left(missing, served / patience_s, processors)), 0)


def wants_more(*, waiting: int, starting: int, workers: int, rested: bool, processors: int) -> bool:
    """Return whether one more worker is to be started though no call is late.

    Calls are ``waiting``; none of the ``workers`` has ``rested`` for as long as a start takes.
    """
    return waiting > starting == 0 and not rested and workers < CROWD * processors


def _left(missing: int, rate: float, processors: int) -> int:
    """Return how many workers to start so that as many calls are left for them, which others serve at a rate."""
    return math.ceil(missing / (1 + rate * COST_S / processors))


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
