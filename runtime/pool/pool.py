"""The pool: which worker serves which call, when one is started, and when one is let go.

The rules, in the order in which they meet a call:

- A worker serves only calls of the key it was made for (version, code hash, configuration generation, tenant).
- An idle worker is taken most recently used first, so that the tail grows old and can be reaped.
- Without an idle worker one is started for the call, unless a busy one will be free sooner (see ``scaler``); the call
  takes whichever comes first, the new worker or one that frees up; the surplus worker stays as a spare.
- Without room on the host, idle workers are evicted, longest idle first; without any to evict the call is refused.
  Nothing queues for ever.
- A start that fails ends the call that waited longest: it is the one the worker was for.

Everything happens in callbacks on one event loop; nothing here waits.
"""

import asyncio
import itertools
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path

from runtime import errors, model, observer
from runtime.pool import call as calls
from runtime.pool import process, scaler, slot, worker

NO_ROOM = "ConcurrentInvocationLimitExceeded"
FREEZE_AFTER_S = 0.05
"""How long a worker idles before it is frozen: one that is called again at once is not worth two signals."""


START_S = 0.01
"""How long a start is taken to last before one was measured."""


class _Group:
    """The workers and the waiting calls of one key."""

    __slots__ = ("busy", "idle", "key", "patience", "retired", "service", "starting", "version", "waiting", "workers")

    def __init__(self, key: model.WorkerKey, version: model.Version) -> None:
        self.key = key
        self.version = version
        self.idle: list[worker.Worker] = []
        self.waiting: deque[calls.Call] = deque()
        self.workers: set[worker.Worker] = set()
        self.starting = 0
        self.busy = 0
        self.retired = False
        self.service = scaler.Average()
        """How long a call takes, in seconds."""
        self.patience: asyncio.TimerHandle | None = None
        """Wakes when the call that waits longest has waited for as long as a start takes."""

    def next_call(self) -> calls.Call | None:
        """Take the call that waited longest and is still wanted."""
        while self.waiting:
            call = self.waiting.popleft()
            if not call.cancelled:
                return call
        return None


class Pool:
    """Runs calls on workers."""

    def __init__(
        self,
        launcher: process.Launcher,
        listener: observer.Observer,
        *,
        new_stream: Callable[[model.Version], str],
        idle_ttl_s: float,
        init_timeout_s: float,
        max_invocations: int = 0,
        max_age_s: float = math.inf,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Bind to the running event loop; ``idle_ttl_s`` is how long an idle worker is kept."""
        self._loop = asyncio.get_running_loop()
        self._launcher = launcher
        self._idle_ttl_s = idle_ttl_s
        self._init_timeout_s = init_timeout_s
        self._observer = listener
        self._clock = clock
        self._start_time = scaler.Average(START_S)
        self._around = worker.Surroundings(
            loop=self._loop,
            launcher=launcher,
            observer=listener,
            owner=self,
            clock=clock,
            new_stream=new_stream,
            init_timeout_s=init_timeout_s,
            max_invocations=max_invocations,
            max_age_s=max_age_s,
        )
        self._ids = itertools.count(1)
        self._groups: dict[model.WorkerKey, _Group] = {}
        self._functions: dict[str, set[model.WorkerKey]] = {}
        self._idle_until: OrderedDict[worker.Worker, float] = OrderedDict()
        self._reaper: asyncio.TimerHandle | None = None
        self._unfrozen: set[worker.Worker] = set()
        self._freezer: asyncio.TimerHandle | None = None
        self._alive = 0
        self._quiet: asyncio.Future[None] | None = None
        self._empty: asyncio.Future[None] | None = None

    @property
    def workers(self) -> int:
        """Return how many worker processes there are, dying ones included."""
        return self._alive

    def submit(self, call: calls.Call) -> None:
        """Run a call; its outcome, or its refusal, comes by its callbacks."""
        group = self._group(call.invocation)
        if group.idle:
            self._serve(group, group.idle.pop(), call)
            return
        group.waiting.append(call)
        self._start_for_waiting(group)

    def retire(self, function_name: str, *, keep: Callable[[model.WorkerKey], bool]) -> None:
        """Let go of the workers of a function whose key ``keep`` refuses.

        Idle ones die at once, busy ones after their call. Calls that already wait are served first: they arrived
        before the change.
        """
        for key in [key for key in self._functions.get(function_name, ()) if not keep(key)]:
            group = self._groups[key]
            group.retired = True
            for idle in group.idle:
                del self._idle_until[idle]
                idle.drain()
            group.idle.clear()
            if not group.waiting:
                for busy in [one for one in group.workers if one.slot.state is slot.State.BUSY]:
                    busy.drain()
                for unborn in [one for one in group.workers if one.slot.state is slot.State.STARTING]:
                    group.starting -= 1
                    unborn.drain()
            self._drop_if_empty(group)

    def statistics(self) -> dict[str, int]:
        """Return how many workers are in each state."""
        counts = dict.fromkeys((state.value for state in slot.ALIVE), 0)
        for group in self._groups.values():
            for one in group.workers:
                counts[one.slot.state.value] += 1
        return counts

    def folders(self) -> set[Path]:
        """Return the folders of code and layers that workers run from, or are about to."""
        used = {path for group in self._groups.values() for path in (group.version.code_path, group.version.layer_path)}
        return {Path(path) for path in used if path}

    async def drain(self, timeout_s: float) -> bool:
        """Wait until no call is running or waiting, at most ``timeout_s``; return whether that came true."""
        if self._running_calls():
            self._quiet = self._loop.create_future()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._quiet
            except TimeoutError:
                return False
            finally:
                self._quiet = None
        return True

    async def close(self) -> None:
        """Kill every worker and wait until they are gone."""
        for timer in (self._reaper, self._freezer):
            if timer is not None:
                timer.cancel()
        self._reaper = self._freezer = None
        for group in list(self._groups.values()):
            while (call := group.next_call()) is not None:
                call.on_refused(errors.WorkerLost("the server is stopping"))
            for one in list(group.workers):
                one.kill()
        if self._alive:
            self._empty = self._loop.create_future()
            await self._empty

    # What workers tell

    def worker_ready(self, ready: worker.Worker) -> None:
        """Give a new worker the call that waited longest, or keep it as a spare."""
        group = self._groups[ready.key]
        group.starting -= 1
        self._start_time.add(ready.phases.start)
        self._observer.worker_started(ready.version, ready.kind, ready.phases)
        self._use(group, ready)

    def worker_finished(self, free: worker.Worker) -> None:
        """Give a freed worker the call that waited longest, or let it idle."""
        group = self._groups[free.key]
        group.busy -= 1
        group.service.add(free.last_s)
        if free.slot.state is slot.State.IDLE:
            self._use(group, free)
        self._note_quiet()

    def worker_unstarted(self, failed: worker.Worker, failure: worker.Failure) -> None:
        """End the call that waited longest with what kept its worker from starting."""
        group = self._groups[failed.key]
        group.starting -= 1
        if failure.init_expired and failed.init_limit_s == self._init_timeout_s != failed.version.timeout_s:
            # docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html: init that took longer than ten
            # seconds is run again at the invocation, within the function's own timeout.
            if any(not call.cancelled for call in group.waiting):
                self._start(group, failed.version.timeout_s)
            return
        call = group.next_call()
        if call is not None:
            failed.settle(call, failure)
        self._start_for_waiting(group)
        self._note_quiet()

    def worker_failed(self, failed: worker.Worker) -> None:
        """Note that a call ended together with its worker: those who wait cannot hope for it."""
        group = self._groups[failed.key]
        group.busy -= 1
        self._start_for_waiting(group)

    def worker_lost(self, lost: worker.Worker) -> None:
        """Never give an idle worker that was killed, or died, to anyone."""
        if self._idle_until.pop(lost, None) is not None:
            self._groups[lost.key].idle.remove(lost)

    def worker_dead(self, dead: worker.Worker) -> None:
        """Forget a worker."""
        self._alive -= 1
        group = self._groups[dead.key]
        group.workers.discard(dead)
        self.worker_lost(dead)
        self._drop_if_empty(group)
        self._note_quiet()
        if not self._alive and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    # How

    def _group(self, invocation: model.Invocation) -> _Group:
        key = invocation.key
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key, invocation.version)
            self._functions.setdefault(key.function_name, set()).add(key)
        return group

    def _drop_if_empty(self, group: _Group) -> None:
        if not group.workers and not group.waiting and self._groups.get(group.key) is group:
            del self._groups[group.key]
            if group.patience is not None:
                group.patience.cancel()
            keys = self._functions[group.key.function_name]
            keys.discard(group.key)
            if not keys:
                del self._functions[group.key.function_name]

    def _use(self, group: _Group, free: worker.Worker) -> None:
        call = group.next_call()
        if call is not None:
            group.busy += 1
            free.serve(call)
        elif group.retired:
            free.drain()
        else:
            group.idle.append(free)
            self._idle_until[free] = self._loop.time() + self._idle_ttl_s
            if self._reaper is None:
                self._reaper = self._loop.call_later(self._idle_ttl_s, self._reap)
            self._unfrozen.add(free)
            if self._freezer is None:
                self._freezer = self._loop.call_later(FREEZE_AFTER_S, self._freeze)

    def _serve(self, group: _Group, idle: worker.Worker, call: calls.Call) -> None:
        del self._idle_until[idle]
        group.busy += 1
        idle.serve(call)
        if group.retired:
            idle.drain()

    def _start_for_waiting(self, group: _Group) -> None:
        start_s = self._start_time.value or START_S
        overdue = self._clock() - start_s
        count = scaler.starts(
            waiting=len(group.waiting),
            overdue=sum(1 for _ in itertools.takewhile(lambda call: call.arrived <= overdue, group.waiting)),
            starting=group.starting,
            busy=group.busy,
            service_s=group.service.value,
            start_s=start_s,
        )
        for _ in range(count):
            self._start_one(group)
        if group.patience is None and len(group.waiting) > group.starting:
            group.patience = self._loop.call_later(start_s, self._patience_ended, group)
        self._drop_if_empty(group)

    def _patience_ended(self, group: _Group) -> None:
        group.patience = None
        if self._groups.get(group.key) is group:
            self._start_for_waiting(group)

    def _start_one(self, group: _Group) -> None:
        """Start a worker, or refuse the call that waited longest."""
        if not self._launcher.has_room(group.version) and not self._evict():
            self._refuse(group, errors.TooManyRequests(NO_ROOM, "The host has no memory for another worker."))
            return
        try:
            self._start(group, self._init_timeout_s)
        except (errors.WorkerLost, OSError) as error:
            self._refuse(group, error if isinstance(error, errors.WorkerLost) else errors.WorkerLost(str(error)))

    def _start(self, group: _Group, init_limit_s: float) -> None:
        started = worker.Worker(self._around, next(self._ids), group.key, group.version, init_limit_s)
        group.workers.add(started)
        group.starting += 1
        self._alive += 1

    def _refuse(self, group: _Group, error: errors.HotforkError) -> None:
        call = group.next_call()
        if call is not None:
            call.on_refused(error)

    def _evict(self) -> bool:
        """Kill the worker that was idle longest; return whether there was one."""
        if not self._idle_until:
            return False
        oldest, _ = self._idle_until.popitem(last=False)
        self._groups[oldest.key].idle.remove(oldest)
        oldest.drain()
        return True

    def _reap(self) -> None:
        """Kill the workers whose time is up and sleep until the next one's: the idle stand in order of their end."""
        self._reaper = None
        now = self._loop.time()
        while self._idle_until:
            until = next(iter(self._idle_until.values()))
            if until > now:
                self._reaper = self._loop.call_at(until, self._reap)
                return
            self._evict()

    def _freeze(self) -> None:
        """Freeze the workers that have idled since the last time; the others have their turn next."""
        self._freezer = None
        until = self._loop.time() + self._idle_ttl_s - FREEZE_AFTER_S
        for one in [one for one in self._unfrozen if self._idle_until.get(one, 0.0) <= until]:
            if one.freeze():
                self._unfrozen.discard(one)
        if self._unfrozen:
            self._freezer = self._loop.call_later(FREEZE_AFTER_S, self._freeze)

    def _running_calls(self) -> bool:
        return any(
            group.waiting or any(one.call is not None for one in group.workers) for group in self._groups.values()
        )

    def _note_quiet(self) -> None:
        if self._quiet is not None and not self._quiet.done() and not self._running_calls():
            self._quiet.set_result(None)
