"""Counts what the core tells, in plain slots, and offers the counts as families of samples.

A call on the hot path costs less than a microsecond; nothing is formatted and no label is looked up until a scrape asks
(see ``exposition``). Everything here runs on the event loop.

A function gets its own series when it is first heard of, up to a limit; later ones share ``families.OTHER`` until they
are forgotten, so that what is counted up under one name is counted down under the same.
"""

import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from runtime import model
from runtime.pool import slot
from runtime.telemetry import families, series

FUNCTION_LIMIT = 1000
"""Functions with series of their own. Each makes some 30 samples; 10,000 would make a scrape of 35 MB."""

MEMORY_CLASSES_MB = (128, 256, 512, 1024, 1769, 3008, 5120, 10240)

Labels: TypeAlias = tuple[str, ...]
Sample: TypeAlias = tuple[Labels, float, list[int]]
"""Label values, a number, and nothing; of a histogram, the sum of its values and the counts of its buckets."""

Reading: TypeAlias = float | Mapping[str, float]
"""A number, or one for each value of the only label."""

_FORGOTTEN_LIMIT = 10_000
_MB = 1024 * 1024
_PHASES = ("queue", "fork", "sandbox", "assign", "init")
_SUCCESS, _WARM = model.Status.SUCCESS, model.StartKind.WARM
_DURATIONS = families.DURATION.bounds
_MEMORY = families.WORKER_MEMORY.bounds


class Metrics:
    """Listens to all that an Observer hears, but for logs."""

    def __init__(self, function_limit: int = FUNCTION_LIMIT) -> None:
        self._limit = function_limit
        self._functions: dict[str, series.Function] = {}
        self._other = series.Function(families.OTHER)
        self._own = 0
        self._leaving: dict[str, series.Function] = {}
        self._forgotten: set[str] = set()
        self._running = 0
        self._workers = {state.value: 0 for state in slot.State if state is not slot.State.DEAD}
        self._starts: dict[str, int] = {}
        self._phases = {phase: series.Histogram(families.PHASES.bounds) for phase in _PHASES}
        self._queue_wait = series.Histogram(families.QUEUE_WAIT.bounds)
        self._memory = {mb: series.Histogram(_MEMORY) for mb in MEMORY_CLASSES_MB}
        self.loop_lag = series.Histogram(families.LOOP_LAG.bounds)
        self._watched: dict[families.Family, Callable[[], Reading]] = {}

    def watch(self, family: families.Family, read: Callable[[], Reading]) -> None:
        """Have a counter or gauge read at every scrape; ``read`` is quick, and gives a mapping if it has a label."""
        self._watched[family] = read

    def forget(self, function_name: str) -> None:
        """Drop the series of a deleted function; what it still runs is counted to its end."""
        if len(self._forgotten) >= _FORGOTTEN_LIMIT:
            self._forgotten.clear()
        self._forgotten.add(function_name)
        function = self._functions.pop(function_name, None)
        if function is None or function is self._other:
            return
        self._own -= 1
        if function.running:
            self._leaving[function_name] = function

    # What an Observer hears

    def invocation_started(self, invocation: model.Invocation) -> None:
        """Count a concurrent execution."""
        name = invocation.version.function_name
        function = self._functions.get(name)
        if function is None:
            function = self._admit(name)
        function.running += 1
        self._running += 1

    def invocation_finished(self, invocation: model.Invocation, outcome: model.Outcome) -> None:
        """Count what came of an invocation."""
        version = invocation.version
        function = self._functions.get(version.function_name)
        if function is None or self._leaving:
            function = self._running_as(version.function_name)
        function.running -= 1
        self._running -= 1
        duration = outcome.duration_s
        function.duration_counts[bisect.bisect_left(_DURATIONS, duration)] += 1
        function.duration_sum += duration
        function.billed_ms += outcome.billed_ms
        if outcome.status is _SUCCESS:
            function.succeeded += 1
        else:
            self._failed(function, outcome)
        if outcome.start is not _WARM:
            self._cold(function, outcome)
        wait = outcome.phases.queue
        if wait:
            self._queue_wait.observe(wait)
        else:
            self._queue_wait.counts[0] += 1
        if version.memory_mb != function.memory_mb:
            self._resize(function, version.memory_mb)
        used = outcome.max_memory_mb
        if used:
            function.memory.observe(used * _MB)
            if used > function.memory_peak_mb:  # noqa: PLR1730 - max() costs three times as much
                function.memory_peak_mb = used

    def invocation_throttled(self, function_name: str, reason: str) -> None:
        """Count a refused call."""
        series.add(self._of(function_name).throttles, reason)

    def worker_moved(self, version: model.Version | None, old: str, new: str) -> None:  # noqa: ARG002 - the Observer's
        """Count workers by state."""
        workers = self._workers
        if old:
            workers[old] -= 1
        if new in workers:
            workers[new] += 1

    def worker_started(self, version: model.Version, kind: model.StartKind, phases: model.Phases) -> None:  # noqa: ARG002
        """Count a start and where its time went."""
        series.add(self._starts, kind.value)
        for phase in _PHASES[1:]:
            self._phases[phase].observe(getattr(phases, phase))

    def worker_failed(self, version: model.Version, cause: str) -> None:
        """Count a worker that ended by its own fault."""
        # The last workers of a deleted function must not bring its series back.
        name = version.function_name
        function = self._other if name in self._forgotten else self._of(name)
        series.add(function.failures, cause)

    def event_received(self, function_name: str) -> None:
        """Count an accepted event."""
        self._events_of(function_name).received += 1

    def event_tried(self, function_name: str, age_s: float) -> None:
        """Note the age at which an event begins to run."""
        self._events_of(function_name).age.observe(age_s)

    def event_retried(self, function_name: str, cause: str) -> None:
        """Count an event that was put off."""
        series.add(self._events_of(function_name).retries, cause)

    def event_ended(self, function_name: str, condition: str) -> None:
        """Count an event that ended without success."""
        if condition != "Success":
            series.add(self._events_of(function_name).dropped, condition)

    def event_undelivered(self, function_name: str, *, queue: bool) -> None:
        """Count a delivery that failed."""
        events = self._events_of(function_name)
        if queue:
            events.queue_errors += 1
        else:
            events.undelivered += 1

    def event_buried(self, function_name: str) -> None:
        """Count a dead letter."""
        self._events_of(function_name).buried += 1

    # Off the hot path

    def _events_of(self, name: str) -> series.Events:
        # What is left of a deleted function's events must not bring its series back.
        function = self._functions.get(name)
        if function is None:
            function = self._other if name in self._forgotten else self._admit(name)
        events = function.events
        if events is None:
            events = function.events = series.Events()
        return events

    def _of(self, name: str) -> series.Function:
        function = self._functions.get(name)
        return self._admit(name) if function is None else function

    def _admit(self, name: str) -> series.Function:
        self._forgotten.discard(name)
        if self._own < self._limit:
            self._own += 1
            function = series.Function(name)
        else:
            function = self._other
        self._functions[name] = function
        return function

    def _running_as(self, name: str) -> series.Function:
        """Return what an invocation that ends was counted under when it began, though forgotten since."""
        leaving = self._leaving.get(name)
        if leaving is None:
            return self._functions.get(name, self._other)
        if leaving.running == 1:
            del self._leaving[name]
        return leaving

    def _failed(self, function: series.Function, outcome: model.Outcome) -> None:
        series.add(function.statuses, outcome.status.value)
        series.add(function.errors, families.error_type(outcome.error_type or ""))

    def _cold(self, function: series.Function, outcome: model.Outcome) -> None:
        series.add(function.cold_starts, outcome.start.value)
        self._phases["queue"].observe(outcome.phases.queue)
        if outcome.init_s is not None:
            function.init.observe(outcome.init_s)

    def _resize(self, function: series.Function, memory_mb: int) -> None:
        function.memory_mb = memory_mb
        place = bisect.bisect_left(MEMORY_CLASSES_MB, memory_mb)
        function.memory = self._memory[MEMORY_CLASSES_MB[min(place, len(MEMORY_CLASSES_MB) - 1)]]

    # What a scrape asks for

    def families(self) -> Iterator[tuple[families.Family, Iterable[Sample]]]:
        """Yield every family with its samples, which are made one by one as they are asked for.

        Between two samples the loop may do other work: each sample is true at the time when it is made.
        """
        functions = [*{id(function): function for function in self._functions.values()}.values()]
        yield from _of_functions(functions)
        yield families.ACCOUNT_CONCURRENT, [((), self._running, [])]
        yield families.WORKERS, _counts((), self._workers)
        yield families.WORKER_STARTS, _counts((), self._starts)
        yield families.PHASES, [((phase,), h.sum, h.counts) for phase, h in self._phases.items()]
        yield families.QUEUE_WAIT, [((), self._queue_wait.sum, self._queue_wait.counts)]
        yield families.WORKER_MEMORY, [((str(mb),), h.sum, h.counts) for mb, h in self._memory.items() if h.sum]
        yield families.LOOP_LAG, [((), self.loop_lag.sum, self.loop_lag.counts)]
        for family, read in self._watched.items():
            value = read()
            yield family, _counts((), value) if isinstance(value, Mapping) else [((), value, [])]


def _of_functions(functions: list[series.Function]) -> Iterator[tuple[families.Family, Iterable[Sample]]]:
    yield families.INVOCATIONS, (sample for f in functions for sample in _statuses(f))
    yield families.ERRORS, (sample for f in functions for sample in _counts((f.name,), f.errors))
    yield families.THROTTLES, (sample for f in functions for sample in _counts((f.name,), f.throttles))
    yield families.DURATION, (((f.name,), f.duration_sum, f.duration_counts) for f in functions)
    yield families.BILLED, (((f.name,), f.billed_ms / 1000, []) for f in functions)
    yield families.INIT, (((f.name,), f.init.sum, f.init.counts) for f in functions if f.cold_starts)
    yield families.COLD_STARTS, (sample for f in functions for sample in _counts((f.name,), f.cold_starts))
    yield families.MEMORY_USED, (((f.name,), f.memory_peak_mb * _MB, []) for f in functions if f.memory_mb)
    yield families.MEMORY_LIMIT, (((f.name,), f.memory_mb * _MB, []) for f in functions if f.memory_mb)
    yield families.CONCURRENT, (((f.name,), f.running, []) for f in functions)
    yield families.FAILURES, (sample for f in functions for sample in _counts((f.name,), f.failures))
    yield from _of_events([(f.name, f.events) for f in functions if f.events is not None])


def _of_events(functions: list[tuple[str, series.Events]]) -> Iterator[tuple[families.Family, Iterable[Sample]]]:
    yield families.EVENTS_RECEIVED, (((name,), e.received, []) for name, e in functions)
    yield families.EVENTS_DROPPED, (sample for name, e in functions for sample in _counts((name,), e.dropped))
    yield families.EVENT_AGE, (((name,), e.age.sum, e.age.counts) for name, e in functions)
    yield families.EVENT_RETRIES, (sample for name, e in functions for sample in _counts((name,), e.retries))
    yield families.DESTINATION_FAILURES, (((name,), e.undelivered, []) for name, e in functions)
    yield families.DEAD_LETTER_ERRORS, (((name,), e.queue_errors, []) for name, e in functions)
    yield families.DEAD_LETTERS_KEPT, (((name,), e.buried, []) for name, e in functions)


def _statuses(function: series.Function) -> list[Sample]:
    return [((function.name, "success"), function.succeeded, []), *_counts((function.name,), function.statuses)]


def _counts(labels: Labels, counts: Mapping[str, float]) -> list[Sample]:
    return [((*labels, key), count, []) for key, count in counts.items()]
