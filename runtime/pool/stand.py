"""The workers that are held ready for one version: how many there are, and how many to start now."""

from runtime import model
from runtime.pool import slot, worker

SOUND_S = 60.0
"""Who lived so long is taken to be sound."""
MOST_PAUSE_S = 60.0

_READY = (slot.State.IDLE, slot.State.BUSY)


class Stand:
    """The workers that are held for one version."""

    __slots__ = (
        *("asked", "failing", "failure", "faulty_since", "invocations", "not_before", "pauses", "spilled"),
        *("version", "wanted", "workers"),
    )

    def __init__(self, version: model.Version) -> None:
        self.version = version
        self.wanted = 0
        self.asked = ""
        self.workers: set[worker.Worker] = set()
        self.failure = ""
        """AWS's reason, since the function's init failed last and until it succeeds."""
        self.failing = False
        """Whether the last start failed, whosever fault that was."""
        self.pauses = 0
        self.faulty_since = 0.0
        self.not_before = 0.0
        """When the next may be started."""
        self.invocations = self.spilled = 0

    @property
    def ready(self) -> int:
        """Return how many can serve, or do."""
        return sum(one.slot.state in _READY for one in self.workers)

    @property
    def busy(self) -> int:
        """Return how many serve."""
        return sum(one.slot.state is slot.State.BUSY for one in self.workers)

    @property
    def starting(self) -> int:
        """Return how many are on their way."""
        return sum(one.slot.state is slot.State.STARTING for one in self.workers)

    def serves(self, one: worker.Worker) -> None:
        """Count a call that a worker of this version is given."""
        if one.provisioned:
            self.invocations += 1
        else:
            self.spilled += 1

    def lacking(self, now: float, free: int) -> int:
        """Return how many to start now, where ``free`` more starts may be under way."""
        if now < self.not_before:
            return 0
        starting = self.starting
        most = 1 - starting if self.failing else free
        return max(0, min(self.wanted - self.ready - starting, most))

    def fault(self, now: float) -> None:
        """Note that a worker was lost that should not have been."""
        if now < self.not_before:
            return  # together with the one for which there is a pause already
        if now - self.faulty_since > SOUND_S:
            self.pauses = 0
        pause = min(2.0 ** (self.pauses - 1), MOST_PAUSE_S) if self.pauses else 0.0
        self.pauses += 1
        self.faulty_since = self.not_before = now + pause
