"""The starts of workers for calls that wait: how many, when, and in what portions. The numbers are ``scaler``'s."""

import asyncio
import itertools
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from runtime import errors, model
from runtime.pool import gate, scaler
from runtime.pool import group as groups

NO_ROOM = "ConcurrentInvocationLimitExceeded"
START_S = 0.01
"""How long a start is taken to last before one was measured."""
AT_ONCE = 2 * gate.AT_ONCE
"""Workers of a group that are in the making: while the others wait, it may turn out that they are not needed."""
STARTS_A_TURN = 4
"""Workers that are ordered in one turn of the event loop: an order takes it half a millisecond."""
_RATES = 10_000


class Owner(Protocol):
    """Has the groups, and starts workers; the pool."""

    def holds(self, group: groups.Group) -> bool:
        """Return whether a group is still the one of its key."""

    def has_room(self, version: model.Version) -> bool:
        """Return whether there is room for one more worker."""

    def start_for_call(self, group: groups.Group) -> None:
        """Start a worker; raise WorkerLost or OSError where that cannot be."""

    def start_ahead(self, group: groups.Group) -> bool:
        """Start a worker that no call depends on; return whether that could be done."""

    def drop_if_empty(self, group: groups.Group) -> None:
        """Forget a group without workers and calls."""


class Starts:
    """Starts workers for the calls that wait, of all groups."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, owner: Owner, clock: Callable[[], float], *, scale_out: int
    ) -> None:
        """``clock`` is the one by which calls arrive; ``scale_out`` as in ``rules.Rules``."""
        self._loop = loop
        self._owner = owner
        self._clock = clock
        self._scale_out = scale_out
        self.time = scaler.Average(START_S)
        """How long a start takes, in seconds."""
        self._rates: OrderedDict[str, scaler.ScaleOut] = OrderedDict()
        """Of the functions that started workers last."""
        self._processors = len(os.sched_getaffinity(0))
        self._turn_left = STARTS_A_TURN
        self._put_off: dict[model.WorkerKey, tuple[groups.Group, int]] = {}
        """Groups whose starts wait for the next turn, or for those before them, and how many."""

    def for_waiting(self, group: groups.Group) -> None:
        """Start as many workers as the waiting calls of a group are worth now."""
        if group.isolated:
            self._start_some(group, max(len(group.waiting) - group.starting, 0))
            return
        count = scaler.starts(
            waiting=len(group.waiting),
            starting=group.starting,
            busy=group.busy,
            service_s=group.lane.service.value,
            gap_s=group.gap.value,
            start_s=self._start_s,
            processors=self._processors,
            on_trial=group.is_on_trial(self._clock()),
        )
        self._start_some(group, count)

    def ready(self, group: groups.Group) -> None:
        """Let the calls that wait for a group's first worker see first how fast it is, now that it is ready."""
        if group.end_trial(self._clock()) and group.patience is not None:
            group.patience.cancel()
            self._be_patient(group)

    @property
    def _start_s(self) -> float:
        return self.time.value or START_S

    def _patience_ended(self, group: groups.Group, patience_s: float) -> None:
        """Start workers for the calls that waited for so long, and were not served."""
        group.patience = None
        if not self._owner.holds(group):
            return
        now = self._clock()
        if group.is_on_trial(now):
            self._start_some(group, 0)
            return
        overdue = now - patience_s
        count = scaler.late_starts(
            waiting=len(group.waiting),
            overdue=sum(1 for _ in itertools.takewhile(lambda call: call.arrived <= overdue, group.waiting)),
            starting=group.starting,
            served=group.served - group.served_before,
            patience_s=patience_s,
            processors=self._processors,
        )
        if not count and self._wants_more(group) and self._may_scale(group.key.function_name):
            self._owner.start_ahead(group)
        self._start_some(group, count)

    def _wants_more(self, group: groups.Group) -> bool:
        return scaler.wants_more(
            waiting=len(group.waiting),
            starting=group.starting,
            workers=len(group.workers),
            rested=group.rested,
            processors=self._processors,
        )

    def _start_some(self, group: groups.Group, count: int) -> None:
        now = max(min(count, self._turn_left, AT_ONCE - len(group.unmade)), 0)
        if now and self._turn_left == STARTS_A_TURN:
            self._loop.call_soon(self._next_turn)
        self._turn_left -= now
        for _ in range(now):
            self._start_one(group)
        if now < count:
            self._put_off[group.key] = (group, count - now)
        if group.patience is None and len(group.waiting) > group.starting:
            self._be_patient(group)
        self._owner.drop_if_empty(group)

    def _be_patient(self, group: groups.Group) -> None:
        """See later who was not served by then."""
        patience_s = scaler.TRIAL_S if group.lane.service.value is None else self._start_s
        group.served_before, group.rested = group.served, False
        group.patience = self._loop.call_later(patience_s, self._patience_ended, group, patience_s)

    def go_on(self, group: groups.Group) -> None:
        """Start workers of a group that were put off, now that there is room for another start."""
        _, count = self._put_off.pop(group.key, (group, 0))
        if count:
            self._start_put_off(group, count)

    def _start_put_off(self, group: groups.Group, count: int) -> None:
        if self._owner.holds(group):
            self._start_some(group, max(min(count, len(group.waiting) - group.starting), 0))

    def _next_turn(self) -> None:
        """Start the workers that were put off, so that the event loop sees to others in between."""
        self._turn_left = STARTS_A_TURN
        put_off, self._put_off = self._put_off, {}
        if not put_off:
            return
        # Who was first may have taken the whole turn: it is the last one now.
        first, *others = put_off.values()
        for group, count in (*others, first):
            self._start_put_off(group, count)

    def _start_one(self, group: groups.Group) -> None:
        """Start a worker, or refuse the call that waited longest."""
        try:
            if not self._may_scale(group.key.function_name):
                raise errors.TooManyRequests(NO_ROOM, "Rate Exceeded.")
            if not self._owner.has_room(group.version):
                raise errors.TooManyRequests(NO_ROOM, "The host has no memory for another worker.")
            self._owner.start_for_call(group)
        except (errors.HotforkError, OSError) as error:
            call = group.next_call()
            if call is not None:
                call.on_refused(error if isinstance(error, errors.HotforkError) else errors.WorkerLost(str(error)))

    def _may_scale(self, function_name: str) -> bool:
        """Return whether a call of a function may have a worker started, and count it."""
        if not self._scale_out:
            return True
        now = self._loop.time()
        rate = self._rates.get(function_name)
        if rate is None:
            rate = self._rates[function_name] = scaler.ScaleOut(self._scale_out, now)
            if len(self._rates) > _RATES:
                self._rates.popitem(last=False)
        else:
            self._rates.move_to_end(function_name)
        return rate.take(now)
