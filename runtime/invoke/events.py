"""Asynchronous events, from the caller's hand to their end.

An event is in the file before its caller hears of it, and leaves it in the step that writes what came of it: a record
for its destination, a message for its dead-letter queue, or a letter where neither is configured. So whatever dies in
between, an event that was accepted runs at least once and its result goes where it is wanted at least once.

Two dispatchers share one store: one runs the events of functions, the other delivers results to their targets.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runtime import config, errors, model, observer
from runtime.invoke import endings, invoker, lineage, pace, retry, runs
from runtime.invoke.destinations import aws, deliverer, record
from runtime.invoke.queue import bounds, dispatcher, lanes, rows, sqlite

WINDOW = 16_384
WINDOW_BYTES = 64 * 1024 * 1024
"""Events and their bytes that wait in memory; the others wait in the file."""
DELIVERY_WINDOW = 2_048
DELIVERY_WINDOW_BYTES = 32 * 1024 * 1024

SHOWN = 1000
OTHERS = "(other)"
"""Functions whose depth is told by name, and the name of the others; no function can have it."""


@model.frozen
class Limits:
    """What the settings say."""

    queue: bounds.Bounds = bounds.Bounds()
    concurrency: int = 1000
    """Events that may run at once."""
    base_delay_s: float = 60.0
    delivery_threads: int = 8
    delivery_age_s: float = 21_600.0

    @staticmethod
    def of(settings: config.Settings) -> "Limits":
        """Return what the settings say."""
        chosen = settings.async_invoke
        return Limits(
            queue=bounds.Bounds(
                events=chosen.queue_events,
                function_events=chosen.queue_events_per_function,
                bytes=chosen.queue_mb * 1024 * 1024,
                lag_s=chosen.queue_lag_s,
            ),
            concurrency=chosen.concurrency or settings.pool.account_concurrency,
            base_delay_s=chosen.retry_base_delay_s,
            delivery_threads=chosen.delivery_threads,
            delivery_age_s=chosen.delivery_age_s,
        )


class Events:
    """Takes events and runs them; use from one event loop."""

    def __init__(
        self,
        store: sqlite.SqliteQueue,
        calls: invoker.Invoker,
        functions: runs.Functions,
        sender: aws.Sender,
        listener: observer.Observer,
        limits: Limits,
        *,
        new_request_id: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` gives Unix time in seconds."""
        self.store = store
        self._functions = functions
        self._observer = listener
        self._limits = limits
        self._new_request_id = new_request_id
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._processors = pace.Processors()
        self._pace = pace.Pace(processors=self._processors.count, limit=limits.concurrency)
        self._tick: asyncio.TimerHandle | None = None
        rules = retry.Rules(max_age_s=limits.delivery_age_s, base_delay_s=limits.base_delay_s)
        self.deliverer = deliverer.Deliverer(
            sender, self, listener, threads=limits.delivery_threads, rules=rules, clock=clock, new_id=self.new_id
        )
        self.runner = runs.FunctionRunner(
            calls,
            functions,
            self.deliverer,
            listener,
            speed=self._pace,
            base_delay_s=limits.base_delay_s,
            clock=clock,
            new_id=self.new_id,
        )
        self._lanes = lanes.Lanes(window=WINDOW, window_size=WINDOW_BYTES)
        self._targets = lanes.Lanes(window=DELIVERY_WINDOW, window_size=DELIVERY_WINDOW_BYTES)
        self.runner.dispatcher = dispatcher.Dispatcher(self._lanes, store, self.runner, clock, self._loop)
        self.deliverer.dispatcher = dispatcher.Dispatcher(self._targets, store, self.deliverer, clock, self._loop)
        self._evicted = 0
        self.runner.on_starved = self._watch
        store.after_batch = self._pump
        store.on_evicted = self._count_evicted
        store.on_counted = self._counted

    async def start(self) -> None:
        """Take up what was left by the last run; raise ConfigError where its file cannot be used."""
        found = await asyncio.to_thread(self.store.open)
        self._ids = itertools.count(found.last_id + 1)
        for name, due in found.lanes:
            self._of(name).restore(name, due)
        self.store.start()
        self._pump()

    def stop(self) -> None:
        """Begin nothing more; what runs goes on, and events are still accepted."""
        self.runner.dispatcher.stop()
        self.deliverer.dispatcher.stop()

    def hand_back(self) -> None:
        """From now on, take no notice of how runs end: the events run again after the next start."""
        self.stop()
        self.runner.handed_back = True
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    async def close(self) -> None:
        """Write what is to be written; nothing runs any more."""
        self.hand_back()
        await self.deliverer.close()
        await self.store.close()

    def new_id(self) -> int:
        """Return an unused id of a row or letter."""
        return next(self._ids)

    # What comes in

    def accept(
        self,
        function_name: str,
        about: endings.About,
        payload: bytes,
        *,
        on_accepted: Callable[[], None],
        on_refused: Callable[[errors.HotforkError], None],
    ) -> None:
        """Take an event for a function that exists.

        ``on_accepted`` is called when it is safely on disk, ``on_refused`` where it cannot be. Raises TooManyRequests
        at once where too many wait.
        """
        try:
            row = self._announce(function_name, about, payload)
        except errors.TooManyRequests as error:
            self._observer.invocation_throttled(function_name, error.reason)
            raise

        def then(error: Exception | None) -> None:
            self.written(row, error)
            if error is None:
                on_accepted()
            else:
                on_refused(errors.ServiceFault(f"The event could not be stored: {error}."))

        self.store.apply(rows.Change(then, put=(row,)))

    def reconsider(self, function_name: str) -> None:
        """Hear that a function has changed: it may run more at once, or what it was refused before."""
        lane = self._lanes.get(function_name)
        if lane is not None:
            self._lanes.resume(lane)
            self._lanes.enlist(lane)
            self._pump()

    def restored(self, function_name: str, about: endings.About, payload: bytes) -> rows.Row:
        """Return the row of an event that runs again after it had ended; raise TooManyRequests. It counts already."""
        return self._announce(function_name, about, payload)

    def written(self, row: rows.Row, error: Exception | None) -> None:
        """Hear that the row of an event is written, or cannot be."""
        if error is None:
            self._observer.event_received(row.lane)
            self._lanes.add(row)
        else:
            self._lanes.withdraw(row)

    def passed_on(self, ending: endings.Ending, payload: bytes) -> rows.Row:
        """Return the row of the event that tells another function what came of an event; raise ApiError."""
        name, qualifier = self._functions.target(ending.target)
        arn = self._functions.function_arn(name, None)
        trace_id, before = lineage.extend(ending.about.trace_id or "", arn)
        if before >= lineage.LIMIT and not self._functions.may_loop(name):
            raise errors.RecursiveInvocation
        about = endings.About(request_id=self._new_request_id(), qualifier=qualifier, trace_id=trace_id)
        return self._announce(name, about, record.invocation_record(ending, payload))

    def _announce(self, function_name: str, about: endings.About, payload: bytes) -> rows.Row:
        now = self._clock()
        waiting, targets = self._lanes, self._targets
        self._limits.queue.check(waiting.get(function_name), now, depth=waiting.depth, size=waiting.size + targets.size)
        packed = about.encode()
        row = rows.Row(self.new_id(), function_name, now, len(payload) + len(packed), now, 0, packed, payload)
        waiting.announce(row)
        return row

    # What is asked

    @property
    def depth(self) -> int:
        """Return how many events wait or run."""
        return self._lanes.depth

    @property
    def evicted(self) -> int:
        """Return how many letters went for want of room since the start."""
        return self._evicted

    def depths(self) -> dict[str, int]:
        """Return how many events wait or run, of the first functions by name and of all others."""
        shown = {lane.name: lane.depth for lane in itertools.islice(self._lanes, SHOWN)}
        rest = self._lanes.depth - sum(shown.values())
        return shown | {OTHERS: rest} if rest else shown

    @property
    def undelivered(self) -> int:
        """Return how many results are still to be delivered."""
        return self._targets.depth

    @property
    def letters(self) -> int:
        """Return how many letters are kept."""
        return self.store.letters

    def backlogs(self) -> list[Mapping[str, Any]]:
        """Return what waits for each function and target that anything waits for."""
        now = self._clock()
        return [
            {
                "kind": kind,
                "name": lane.name,
                "events": lane.depth,
                "bytes": lane.size,
                "running": lane.running,
                "lag_s": round(lane.lag(now), 3),
                "paused_s": round(max(0.0, lane.paused_until - now), 3),
            }
            for kind, waiting in (("function", self._lanes), ("target", self._targets))
            for lane in waiting
        ]

    # How it goes on

    def _of(self, name: str) -> lanes.Lanes:
        """Return where a lane belongs: targets are ARNs, and no function's name has a colon."""
        return self._targets if ":" in name else self._lanes

    def _counted(self, backlogs: Sequence[rows.Backlog]) -> None:
        for backlog in backlogs:
            self._of(backlog.lane).counted(backlog)

    def _count_evicted(self, count: int) -> None:
        self._evicted += count

    def _pump(self) -> None:
        self.runner.dispatcher.pump()
        self.deliverer.dispatcher.pump()

    def _watch(self) -> None:
        if self._tick is None:
            self._processors.idle()
            self._processors.used()
            self.store.waiting()
            self._tick = self._loop.call_later(pace.TICK_S, self._adapt)

    def _adapt(self) -> None:
        self._tick = None
        waiting, served = self._lanes, self.runner.dispatcher
        # Where the disk is what holds events up, the processors idle too, and more workers would only make it worse.
        starved, served.held_up = waiting.starved and not served.held_up, False
        seen = pace.Seen(
            starved=starved,
            waiting=waiting.waiting,
            senders=self.store.waiting(),
            running=waiting.running,
            received=waiting.added,
            ended=waiting.ended,
            idle=self._processors.idle(),
            used=self._processors.used(),
        )
        self._pace.tick(self._loop.time(), seen)
        self._pump()
        if waiting.waiting or self._pace.flood.likely:
            self._watch()
