"""The pool: which worker serves which call, when one is started, and when one is let go.

The rules, in the order in which they meet a call:

- A worker serves only calls of the key it was made for (version, code hash, configuration generation, tenant).
- An idle worker is taken most recently used first, so that the tail grows old and can be reaped.
- Without an idle worker one is started for the call, unless a busy one will be free sooner (see ``scaler``); the call
  takes whichever comes first, the new worker or one that frees up; the surplus worker stays as a spare. Where calls
  keep every worker busy, more are started one by one.
- Without room on the host, the idle worker that is worth least is evicted; without any the call is refused. Nothing
  queues for ever.
- A call of a version that isolates its calls gets a worker that served none, and that is let go after it. As many as
  run are held ready for the next ones.
- A start that fails ends the call that waited longest: it is the one the worker was for.

Everything happens in callbacks on one event loop; nothing here waits.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from runtime import errors, model, observer
from runtime.pool import affinity, idle, keepalive, process, provisioned, rules, slot, starting, worker
from runtime.pool import call as calls
from runtime.pool import fault as faults
from runtime.pool import group as groups


class Pool:
    """Runs calls on workers."""

    def __init__(
        self,
        launcher: process.Launcher,
        listener: observer.Observer,
        rules: rules.Rules,
        *,
        new_stream: Callable[[model.Version], str],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Bind to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._launcher = launcher
        self._init_timeout_s = rules.init_timeout_s
        self._isolation = rules.isolation
        self._observer = listener
        self._clock = clock
        self._around = worker.Surroundings(
            loop=self._loop,
            launcher=launcher,
            observer=listener,
            owner=self,
            clock=clock,
            new_stream=new_stream,
            rules=rules,
        )
        self._ids = itertools.count(1)
        self._groups: dict[model.WorkerKey, groups.Group] = {}
        self._functions: dict[str, set[model.WorkerKey]] = {}
        ttl_s = rules.idle_ttl_s
        self._lanes = groups.Lanes(keepalive.Learned if rules.learn else lambda: keepalive.Fixed(ttl_s / 60))
        grace_s = idle.GRACE_S if rules.learn else min(idle.GRACE_S, ttl_s)
        self._idle = idle.Idle(ttl_s=ttl_s, grace_s=grace_s, prewarm=self._prewarm)
        self.provisioned = provisioned.Provisioned(self._loop, self)
        self._starts = starting.Starts(self._loop, self, clock, scale_out=rules.scale_out)
        self._affinity = affinity.Affinity(self._loop)
        self._alive = 0
        self._quiet: asyncio.Future[None] | None = None
        self._empty: asyncio.Future[None] | None = None

    @property
    def workers(self) -> int:
        """Return how many worker processes there are, dying ones included."""
        return self._alive

    def submit(self, call: calls.Call) -> None:
        """Run a call; its outcome, or its refusal, comes by its callbacks."""
        group = self._group(call.invocation.key, call.invocation.version)
        group.lane.called(self._loop.time())
        if group.idle:
            self._serve(group, self._idle.take(group), call)
            if group.isolated:
                self._hold_ready(group)
            return
        group.enqueue(call)
        self._idle.undue(group.key)
        self._starts.for_waiting(group)

    def withdraw(self, call: calls.Call) -> None:
        """Refuse a call that still waits for a worker: nobody waits for the call."""
        if call.waits_for is not None:
            self._groups[call.waits_for].withdraw(call)
            call.on_refused(errors.Withdrawn())
            self._note_quiet()

    def retire(self, function_name: str, *, keep: Callable[[model.WorkerKey], bool]) -> None:
        """Let go of the workers of a function whose key ``keep`` refuses.

        Idle ones die at once, busy ones after their call. Calls that already wait are served first: they arrived
        before the change.
        """
        self._launcher.retire(function_name, keep=keep)
        self._idle.undue_all(lambda key: key.function_name == function_name and not keep(key))
        for key in [key for key in self._functions.get(function_name, ()) if not keep(key)]:
            group = self._groups[key]
            group.retired = True
            self._idle.retire(group)
            if not group.waiting:
                for busy in [one for one in group.workers if one.slot.state is slot.State.BUSY]:
                    busy.drain()
                for unborn in [one for one in group.workers if one.slot.state is slot.State.STARTING]:
                    group.starting -= not unborn.provisioned
                    unborn.drain()
            self.drop_if_empty(group)

    def provide(self, function_name: str, wanted: Mapping[model.WorkerKey, provisioned.Wanted]) -> None:
        """Hold workers of these versions of a function ready, and none of its other ones."""
        self.provisioned.provide(function_name, wanted)
        for key in self._functions.get(function_name, ()):
            self._groups[key].stand = self.provisioned.stand(key)

    def prepare(self, version: model.Version) -> None:
        """Make ready what a version that was just published asks to have ready."""
        self._launcher.prepare(version)

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
        self.provisioned.close()
        self._idle.close()
        self._affinity.part()
        for group in list(self._groups.values()):
            while (call := group.next_call()) is not None:
                call.on_refused(errors.WorkerLost("the server is stopping"))
            for one in list(group.workers):
                one.kill()
        if self._alive:
            self._empty = self._loop.create_future()
            await self._empty

    # What workers tell

    def worker_confined(self, made: worker.Worker) -> None:
        """Let another start begin."""
        self._made(self._groups[made.key], made)

    def worker_ready(self, ready: worker.Worker) -> None:
        """Give a new worker the call that waited longest, or keep it as a spare."""
        group = self._groups[ready.key]
        group.starting -= not ready.provisioned
        self._starts.ready(group)
        if ready.provisioned:
            self.provisioned.ready(ready)
        self._use(group, ready)
        # Behind the first call, which waits for none of it.
        self._starts.time.add(ready.phases.start)
        group.lane.start_time.add(ready.phases.start)
        self._observer.worker_started(ready.version, ready.kind, ready.phases)
        self._launcher.started(ready.version, ready.kind, ready.phases)

    def is_awaited(self, busy: worker.Worker) -> bool:
        """Return whether calls wait that a worker could serve."""
        return len(self._groups[busy.key].waiting) > 0

    def worker_finished(self, free: worker.Worker) -> None:
        """Give a freed worker the call that waited longest, or let it idle."""
        group = self._groups[free.key]
        self._ended(group)
        group.lane.service.add(free.last_s)
        group.lane.size_bytes = free.peak_bytes
        if free.slot.state is slot.State.IDLE:
            self._use(group, free)
        elif group.waiting:
            self._starts.for_waiting(group)
        self._note_quiet()

    def worker_unstarted(self, failed: worker.Worker, failure: faults.Failure) -> None:
        """End the call that waited longest with what kept its worker from starting."""
        if failed.provisioned:
            self.provisioned.unstarted(failed, failure)
            return
        group = self._groups[failed.key]
        group.starting -= 1
        if failure.init_expired and failed.init_limit_s == self._init_timeout_s != failed.version.timeout_s:
            # docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html: init that took longer than ten
            # seconds is run again at the invocation, within the function's own timeout.
            if group.waiting:
                self._start(group, failed.version.timeout_s)
            return
        if failed.kind is model.StartKind.SNAPSHOT and failure.error is not None:
            # The caller is not to notice: the calls that wait get a worker that was not copied.
            self._launcher.distrust(failed.version, failure.error.message)
            self._starts.for_waiting(group)
            return
        call = group.next_call()
        if call is not None:
            failed.settle(call, failure)
        self._starts.for_waiting(group)
        self._note_quiet()

    def worker_failed(self, failed: worker.Worker) -> None:
        """Note that a call ended together with its worker: those who wait cannot hope for it."""
        group = self._groups[failed.key]
        self._ended(group)
        self._starts.for_waiting(group)

    def worker_lost(self, lost: worker.Worker) -> None:
        """Never give an idle worker that was killed, or died, to anyone."""
        self._idle.forget(lost)

    def worker_dead(self, dead: worker.Worker) -> None:
        """Forget a worker."""
        self._alive -= 1
        self._affinity.forget(dead)
        group = self._groups[dead.key]
        group.workers.discard(dead)
        self._made(group, dead)
        self.worker_lost(dead)
        if dead.provisioned:
            self.provisioned.dead(dead)
        self.drop_if_empty(group)
        self._note_quiet()
        if not self._alive and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    # provisioned.Starter

    def start_provisioned(self, version: model.Version, init_limit_s: float) -> worker.Worker | None:
        """Start a worker that is held ready; see ``provisioned.Starter``."""
        if not self.has_room(version):
            return None
        group = self._group(version.key, version)
        try:
            return self._start(group, init_limit_s, provisioned=True)
        finally:
            self.drop_if_empty(group)

    def let_go(self, one: worker.Worker) -> None:
        """Let a worker finish what it serves, and die."""
        self._idle.forget(one)
        one.drain()

    # starting.Owner

    def holds(self, group: groups.Group) -> bool:
        """Return whether a group is still the one of its key."""
        return self._groups.get(group.key) is group

    def has_room(self, version: model.Version) -> bool:
        """Return whether there is room for one more worker, perhaps because another was let go."""
        return self._launcher.has_room(version) or self._idle.evict() or self._launcher.make_room()

    def start_for_call(self, group: groups.Group) -> None:
        """Start a worker; raise WorkerLost or OSError where that cannot be."""
        self._start(group, self._init_timeout_s)

    def start_ahead(self, group: groups.Group) -> bool:
        """Start a worker that no call depends on; return whether that could be done."""
        if not self._launcher.has_room(group.version):
            return False
        try:
            self._start(group, self._init_timeout_s)
        except (errors.WorkerLost, OSError):
            return False  # a call will hear why
        return True

    def drop_if_empty(self, group: groups.Group) -> None:
        """Forget a group without workers and calls."""
        if not group.workers and not group.waiting and self.holds(group):
            del self._groups[group.key]
            if group.patience is not None:
                group.patience.cancel()
            keys = self._functions[group.key.function_name]
            keys.discard(group.key)
            if not keys:
                del self._functions[group.key.function_name]

    # How

    def _group(self, key: model.WorkerKey, version: model.Version) -> groups.Group:
        group = self._groups.get(key)
        if group is None:
            group = groups.Group(key, version, self._lanes.of(key), self.provisioned.stand(key))
            self._groups[key] = group
            self._functions.setdefault(key.function_name, set()).add(key)
            group.isolated = version.isolates_calls(self._isolation)
        elif group.version is not version:
            self._renew(group, version)
        return group

    def _renew(self, group: groups.Group, version: model.Version) -> None:
        """Take up what can change without a new generation: the tags."""
        group.version = version
        isolated = version.isolates_calls(self._isolation)
        if isolated and not group.isolated:
            self._idle.retire(group)
            for busy in [one for one in group.workers if one.slot.state is slot.State.BUSY]:
                busy.drain()
        group.isolated = isolated

    def _hold_ready(self, group: groups.Group) -> None:
        """Start workers for the next calls of a version that isolates them: as many as run now."""
        if group.retired or not self.holds(group):
            return
        missing = group.busy - len(group.idle) - group.starting + len(group.waiting)
        for _ in range(max(missing, 0)):
            if not self.start_ahead(group):
                return

    def _ended(self, group: groups.Group) -> None:
        """Note that a call was served."""
        group.busy -= 1
        self._affinity.ended()
        group.ended(self._clock())
        if group.quiet:
            group.lane.quiet_since = self._loop.time()

    def _prewarm(self, was: groups.Group) -> None:
        """Start a worker for a call that is expected, where there is room."""
        group = self._group(was.key, was.version)
        if not group.workers:
            self.start_ahead(group)
        self.drop_if_empty(group)

    def _use(self, group: groups.Group, free: worker.Worker) -> None:
        call = group.next_call()
        if call is not None:
            if group.stand is not None:
                group.stand.serves(free)
            group.busy += 1
            self._affinity.given(free, waited=True)
            free.serve(call)
            if group.isolated:
                self._hold_ready(group)
        elif group.retired:
            free.drain()
        else:
            self._idle.put(group, free)

    def _serve(self, group: groups.Group, one: worker.Worker, call: calls.Call) -> None:
        if group.stand is not None:
            group.stand.serves(one)
        group.busy += 1
        self._affinity.given(one)
        one.serve(call)
        if group.retired:
            one.drain()

    def _start(self, group: groups.Group, init_limit_s: float, *, provisioned: bool = False) -> worker.Worker:
        number = next(self._ids)
        started = worker.Worker(self._around, number, group.key, group.version, init_limit_s, provisioned=provisioned)
        group.workers.add(started)
        group.starting += not provisioned
        group.unmade.add(started)
        self._alive += 1
        return started

    def _made(self, group: groups.Group, one: worker.Worker) -> None:
        """Note that a worker stands, or never will."""
        if one in group.unmade:
            group.unmade.discard(one)
            self._starts.go_on(group)

    def _running_calls(self) -> bool:
        return any(
            group.waiting or any(one.call is not None for one in group.workers) for group in self._groups.values()
        )

    def _note_quiet(self) -> None:
        if self._quiet is not None and not self._quiet.done() and not self._running_calls():
            self._quiet.set_result(None)
