"""Who goes first when events come in by the thousand and the processors are busy: those who send them.

They wait for an answer, and nobody waits for the events, which are safe on disk. So in a flood, where several senders
wait at any time, one event begins for every few that come in: running takes a part of the processors, and not as much
as it can get. One that takes long counts as many.

Nothing becomes old by that. A flood counts for some seconds; if it lasts longer, events run as fast as they can for as
long. Some begin in any case, however few come in. And where processors idle, or few senders wait, events are not held
back at all.
"""

LEAST_PER_S = 1000.0
"""So many have to come in,"""
SENDERS = 12.0
"""and so many senders have to wait at a time on average, or it is no flood: where half as many events come in as could
be accepted and run, it is 2 to 6, and 10 for a moment."""
_SMOOTHING = 0.3
"""The part of the latest look in that average: a disk that halts for a moment makes no flood,"""
_DOUBTS = 2
"""and ends none: so many looks in a row have to find that it is over."""
LONGEST_S = 10.0
"""Those who send go first for so long, and then not again before as much time has passed, or nothing waits."""
PART = 0.125
"""Of an event begins for each that comes in,"""
PER_LOOK = 10.0
"""and so many at each look in any case, or one that takes long."""
SHORT_S = 0.001
"""An event that runs twice as long counts as two."""
MOST = 16.0
"""So many begin at once."""


class Flood:
    """Whether there is one, and what may begin meanwhile. Pure."""

    def __init__(self) -> None:
        self.now = False
        """Whether those who send go first."""
        self.likely = False
        """Whether there is one, or so many come in that there may be one at any time."""
        self._senders = 0.0
        self._doubts = 0
        self._spent_s = 0.0
        """How long there was one, less how long there was none."""
        self._is_spent = False
        self._credit = 0.0
        """Events that may begin, short ones."""
        self._counted = 0
        """Events that had come in when that was last worked out."""
        self._last = 0.0
        self._received = 0

    def may_begin(self, received: int) -> bool:
        """Return whether an event may begin, when so many have come in so far; ``begun`` says that one does."""
        if not self.now:
            return True
        self._credit = min(MOST, self._credit + (received - self._counted) * PART)
        self._counted = received
        return self._credit >= 1.0

    def begun(self) -> None:
        """Hear that an event begins."""
        if self.now:
            self._credit -= 1.0

    def ended(self, took_s: float) -> None:
        """Hear how long an event has run."""
        if self.now and took_s > SHORT_S:
            self._credit = max(1.0 - PER_LOOK, self._credit - (took_s / SHORT_S - 1.0))

    def look(self, now: float, *, received: int, senders: float, waiting: bool, busy: bool) -> None:
        """Look again, every tenth of a second for as long as events wait or ``likely`` says so.

        ``now`` is any clock's, in seconds; ``received`` counts the events that came in so far. Since the last look
        ``senders`` waited for their answer on average, and the processors were ``busy`` or not. ``waiting`` tells
        whether any event waits to be run.
        """
        passed, came = now - self._last, received - self._received
        self._last, self._received = now, received
        self._senders += _SMOOTHING * (senders - self._senders)
        many = came >= LEAST_PER_S * passed
        self._spent_s = max(0.0, self._spent_s + (passed if self.now else -passed)) if waiting or self.now else 0.0
        self._is_spent = self._spent_s >= LONGEST_S or (self._is_spent and self._spent_s > 0.0)
        found = many and busy and self._senders >= SENDERS
        self._doubts = 0 if found else self._doubts + 1
        if found and not self.now:
            self._credit, self._counted = 0.0, received
        self.now = (found or (self.now and self._doubts < _DOUBTS)) and not self._is_spent
        self.likely = many or self.now
        self._credit += PER_LOOK
