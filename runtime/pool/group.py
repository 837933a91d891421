"""The workers and the waiting calls of one key, and what is remembered of those calls."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

from runtime import model
from runtime.pool import call as calls
from runtime.pool import keepalive, scaler, worker
from runtime.pool import stand as stands

_REMEMBERED = 10_000
"""Lanes, the ones called last: some hundred bytes each, a few KB where the gaps were many."""


class Lane:
    """What is remembered of the calls of one version and tenant, also while there is no worker for them."""

    __slots__ = ("calls", "clock", "policy", "quiet_since", "service", "size_bytes", "start_time")

    def __init__(self, policy: keepalive.Policy) -> None:
        self.policy = policy
        self.quiet_since: float | None = None
        """When the last call ended and no other was there; None while there is one. Event loop's time."""
        self.calls = 0
        self.clock = 0.0
        """Of ``keepalive.worth_keeping``."""
        self.start_time = scaler.Average()
        """Of a worker, in seconds."""
        self.service = scaler.Average()
        """How long a call takes, in seconds."""
        self.size_bytes = 0
        """Of a worker, as last seen."""

    def called(self, now: float) -> None:
        """Note a call."""
        self.calls += 1
        if self.quiet_since is not None:
            minutes = int((now - self.quiet_since) / 60)
            if minutes:
                self.policy.gap(minutes)
            self.quiet_since = None


class Lanes:
    """All lanes. A new generation of a version goes on in the lane of the old one."""

    def __init__(self, new_policy: Callable[[], keepalive.Policy]) -> None:
        self._new_policy = new_policy
        self._lanes: OrderedDict[tuple[str, str, str | None], Lane] = OrderedDict()

    def of(self, key: model.WorkerKey) -> Lane:
        """Return the lane of a key."""
        name = (key.function_name, key.version, key.tenant_id)
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(self._new_policy())
            if len(self._lanes) > _REMEMBERED:
                self._lanes.popitem(last=False)
        else:
            self._lanes.move_to_end(name)
        return lane


class Group:
    """The workers and the waiting calls of one key."""

    __slots__ = (
        *("_last_end", "busy", "gap", "idle", "isolated", "key", "lane", "patience", "rested", "retired", "served"),
        *("served_before", "stand", "starting", "trial_ends", "unmade", "version", "waiting", "workers"),
    )

    def __init__(
        self, key: model.WorkerKey, version: model.Version, lane: Lane, stand: stands.Stand | None = None
    ) -> None:
        self.key = key
        self.stand = stand
        """Those of its workers that are held ready; None where there are to be none."""
        self.version = version
        self.lane = lane
        self.idle: list[worker.Worker] = []
        """Most recently used last, but for those that are held ready: they are taken first."""
        self.waiting: deque[calls.Call] = deque()
        self.workers: set[worker.Worker] = set()
        self.starting = 0
        """Without those that will be held ready: no call waits for one, though it may be served by one."""
        self.unmade: set[worker.Worker] = set()
        """Of those that are starting: who does not stand yet."""
        self.trial_ends = 0.0
        """Until when the first workers may find out how long a call takes; 0: before them. On the pool's clock."""
        self.busy = 0
        self.retired = False
        self.isolated = False
        """Whether each call gets a worker of its own."""
        self.served = 0
        """Calls, since the first."""
        self.served_before = 0
        """The same when ``patience`` began."""
        self.rested = False
        """Whether a worker had nothing to do since then."""
        self.gap = scaler.Average()
        """How long after the call before it a call ended, while there were others, in seconds."""
        self._last_end: float | None = None
        self.patience: asyncio.TimerHandle | None = None
        """Wakes when the call that waits longest has waited for as long as a start takes."""

    @property
    def quiet(self) -> bool:
        """Return whether nobody is served, and nobody waits."""
        return not self.busy and not self.waiting

    def is_on_trial(self, now: float) -> bool:
        """Return whether the first workers may still find out how long a call takes."""
        if self.lane.service.value is not None:
            return False
        if not self.trial_ends:
            self.trial_ends = now + scaler.TRIAL_LIMIT_S
        return now < self.trial_ends

    def end_trial(self, now: float) -> bool:
        """Let the trial, if there is one, end soon, for a worker is ready; return whether it is the first."""
        soon = now + scaler.TRIAL_S
        is_first = self.trial_ends > soon
        if is_first:
            self.trial_ends = soon
        return is_first

    def rest(self, one: worker.Worker) -> None:
        """Let a worker be idle."""
        self.rested = True
        if one.provisioned or not self.idle or not self.idle[-1].provisioned:
            self.idle.append(one)
        else:
            self.idle.insert(next(place for place, other in enumerate(self.idle) if other.provisioned), one)

    def ended(self, now: float) -> None:
        """Note the end of a call; it is not counted as busy any more."""
        self.served += 1
        if self._last_end is not None:
            self.gap.add(now - self._last_end)
        self._last_end = None if self.quiet else now

    def enqueue(self, call: calls.Call) -> None:
        """Let a call wait for a worker."""
        self.waiting.append(call)
        call.waits_for = self.key

    def next_call(self) -> calls.Call | None:
        """Take the call that waited longest."""
        if not self.waiting:
            return None
        call = self.waiting.popleft()
        call.waits_for = None
        return call

    def withdraw(self, call: calls.Call) -> None:
        """Let a call wait no more."""
        self.waiting.remove(call)
        call.waits_for = None
