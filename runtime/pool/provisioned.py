"""Provisioned concurrency: workers that are initialised and held ready for a version, whoever calls.

- A version has as many as were asked for. They take its calls first; what exceeds them goes to workers as any version
  has them (it *spills over*). They are never reaped and never evicted.
- One that is gone is replaced: at once where it served, else after a pause that doubles each time, so that code which
  cannot stand costs little.
- Init may take longer than a call would wait for it. While it fails, one worker at a time is tried.

What is told of them is counted from the workers that live.
docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from runtime import errors, model
from runtime.pool import fault as faults
from runtime.pool import slot, worker
from runtime.pool import stand as stands

INIT_LIMIT_S = 130.0
"""Init may take so long, or as long as the function's timeout: .../lambda/latest/dg/lambda-runtime-environment.html."""
INIT_FAILED = "FUNCTION_ERROR_INIT_FAILURE"
"""AWS's reason for a status of FAILED."""
AT_ONCE = 16
"""Starts under way, over all versions: a thousand must not keep calls from their own."""
RENEW_S = 30.0
"""How often is looked for a worker that grew too old; one of each version is replaced at a time."""


_log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """How many workers of a version are to be held."""

    version: model.Version
    number: int
    asked: str
    """When that was asked for: what failed before that may be tried at once."""


class Starter(Protocol):
    """Starts workers; the pool."""

    def start_provisioned(self, version: model.Version, init_limit_s: float) -> worker.Worker | None:
        """Start one; None where there is no room. Raises WorkerLost or OSError where a start cannot even be tried."""

    def let_go(self, one: worker.Worker) -> None:
        """Let it finish what it serves, and die."""


class Provisioned:
    """All workers that are held ready. Use from one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, starter: Starter) -> None:
        self._loop = loop
        self._starter = starter
        self._stands: dict[model.WorkerKey, stands.Stand] = {}
        self._functions: dict[str, set[model.WorkerKey]] = {}
        self._waking: asyncio.TimerHandle | None = None
        self._renewing: asyncio.TimerHandle | None = None
        self._closed = False

    def stand(self, key: model.WorkerKey) -> stands.Stand | None:
        """Return what is held for a version, None where nothing is."""
        return self._stands.get(key)

    def provide(self, function_name: str, wanted: Mapping[model.WorkerKey, Wanted]) -> None:
        """Hold workers of these versions of a function, and none of its other ones."""
        for key in self._functions.pop(function_name, set()) - wanted.keys():
            stand = self._stands.pop(key)
            stand.wanted = 0
            self._shrink(stand)
        if wanted:
            self._functions[function_name] = set(wanted)
        for key, (version, number, asked) in wanted.items():
            stand = self._stands.get(key) or self._stands.setdefault(key, stands.Stand(version))
            stand.version, stand.wanted = version, number
            if asked != stand.asked:
                stand.asked, stand.failure, stand.failing = asked, "", False
                stand.not_before, stand.pauses = 0.0, 0
            self._shrink(stand)
        self._fill()
        if self._stands and self._renewing is None and not self._closed:
            self._renewing = self._loop.call_later(RENEW_S, self._renew)

    def close(self) -> None:
        """Start no more."""
        self._closed = True
        for timer in (self._waking, self._renewing):
            if timer is not None:
                timer.cancel()

    # What the pool tells

    def ready(self, one: worker.Worker) -> None:
        """Hear that one can serve."""
        stand = self._stands.get(one.key)
        if stand is not None:
            stand.failing, stand.failure = False, ""
            self._fill()

    def unstarted(self, one: worker.Worker, failure: faults.Failure) -> None:
        """Hear that one never will."""
        stand = self._stands.get(one.key)
        if stand is not None:
            stand.workers.discard(one)
            stand.failing = True
            if failure.error is None:
                stand.failure = INIT_FAILED
            stand.fault(self._loop.time())
            self._fill()

    def dead(self, one: worker.Worker) -> None:
        """Hear that one is gone."""
        stand = self._stands.get(one.key)
        if stand is not None and one in stand.workers:
            stand.workers.discard(one)
            if not one.served:
                stand.fault(self._loop.time())
            self._fill()

    # How

    def _shrink(self, stand: stands.Stand) -> None:
        """Let go of those that are too many: first who does not serve yet, last who does."""
        states = (slot.State.STARTING, slot.State.IDLE, slot.State.BUSY)
        order = sorted(
            (one for one in stand.workers if one.slot.state in states), key=lambda one: states.index(one.slot.state)
        )
        for one in order[: max(0, len(order) - stand.wanted)]:
            stand.workers.discard(one)
            self._starter.let_go(one)

    def _fill(self) -> None:
        """Start what is lacking; wake again when a pause is over."""
        if self._closed:
            return
        now = self._loop.time()
        free = AT_ONCE - sum(stand.starting for stand in self._stands.values())
        for stand in self._stands.values():
            for _ in range(stand.lacking(now, free)):
                if not self._start(stand, now):
                    break
                free -= 1
        self._wake(now)

    def _start(self, stand: stands.Stand, now: float) -> bool:
        version = stand.version
        try:
            one = self._starter.start_provisioned(version, max(INIT_LIMIT_S, version.timeout_s))
            reason = "the host has no memory for it"
        except (errors.WorkerLost, OSError) as error:
            one, reason = None, str(error)
        if one is None:
            _log.warning("%s:%s: no worker can be held ready: %s", version.function_name, version.version, reason)
            stand.failing = True
            stand.fault(now)
            stand.not_before = max(stand.not_before, now + 1.0)
            return False
        stand.workers.add(one)
        return True

    def _wake(self, now: float) -> None:
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        pauses = [stand.not_before for stand in self._stands.values() if now < stand.not_before]
        if pauses:
            self._waking = self._loop.call_at(min(pauses), self._fill)

    def _renew(self) -> None:
        """Replace the workers that are too old, one of each version at a time."""
        self._renewing = None
        for stand in self._stands.values():
            old = (one for one in stand.workers if one.slot.state is slot.State.IDLE and one.outlived(0.0))
            one = next(old, None)
            if one is not None and stand.ready >= stand.wanted:
                stand.workers.discard(one)
                self._starter.let_go(one)
        self._fill()
        if self._stands:
            self._renewing = self._loop.call_later(RENEW_S, self._renew)

    # What a scrape asks for

    def invocations(self) -> dict[str, float]:
        """Return how many calls ran on workers that were held ready, by function."""
        return self._summed(lambda stand: stand.invocations)

    def spilled(self) -> dict[str, float]:
        """Return how many calls of versions with such workers ran on others."""
        return self._summed(lambda stand: stand.spilled)

    def busy(self) -> dict[str, float]:
        """Return how many such workers serve."""
        return self._summed(lambda stand: stand.busy)

    def held(self) -> dict[str, float]:
        """Return how many such workers can serve, or do."""
        return self._summed(lambda stand: stand.ready)

    def utilization(self) -> dict[str, float]:
        """Return which share of such workers serves."""
        held, busy = self.held(), self.busy()
        return {name: busy[name] / count if count else 0.0 for name, count in held.items()}

    def _summed(self, count: Callable[[stands.Stand], int]) -> dict[str, float]:
        return {name: sum(map(count, self._of(keys))) for name, keys in self._functions.items()}

    def _of(self, keys: set[model.WorkerKey]) -> Iterator[stands.Stand]:
        return (self._stands[key] for key in keys)
