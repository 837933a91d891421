"""Who goes first when events come in by the thousand and the processors are busy: those who send them.

They wait for an answer, and nobody waits for the events, which are safe on disk. So in a flood one event begins for
every few that come in: running takes a part of the processors, and not as much as it can get. One that takes long
counts as many.

Nothing becomes old by that. A flood counts for some seconds; if it lasts longer, events run as fast as they can for as
long. Some begin in any case, however few come in. And where more end than come in, or processors idle, or what comes in
is no flood, events are not held back at all.
"""

LEAST_PER_S = 1000.0
"""So many have to come in, or it is no flood."""
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
        self._spent_s = 0.0
        """How long there was one, less how long there was none."""
        self._is_spent = False
        self._credit = 0.0
        """Events that may begin, short ones."""
        self._counted = 0
        """Events that had come in when that was last worked out."""
        self._last = 0.0
        self._received = 0
        self._ended = 0

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

    def look(self, now: float, *, received: int, ended: int, busy: bool) -> None:
        """Look again, every tenth of a second for as long as events wait.

        ``now`` is any clock's, in seconds; ``received`` and ``ended`` count the events that came in and ended so far;
        ``busy`` tells whether the processors were since the last look.
        """
        passed, came, went = now - self._last, received - self._received, ended - self._ended
        self._last, self._received, self._ended = now, received, ended
        flooded = busy and came >= LEAST_PER_S * passed and came >= went / 2
        self._spent_s = max(0.0, self._spent_s + (passed if self.now else -passed))
        self._is_spent = self._spent_s >= LONGEST_S or (self._is_spent and self._spent_s > 0.0)
        flooded = flooded and not self._is_spent
        if flooded and not self.now:
            self._credit, self._counted = 0.0, received
        self.now = flooded
        self._credit += PER_LOOK

    def over(self) -> None:
        """Hear that nothing waits any more."""
        self.now, self._spent_s, self._is_spent = False, 0.0, False
