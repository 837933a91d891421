"""Delivers what came of events, in lanes of their targets: one target that is away holds up no other.

A target that cannot be reached, or says that it has no time, is left alone for a while, longer each time; a message
that a target refuses is tried again alone. What could not be delivered for too long is kept as a letter.
"""

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from runtime import errors, observer
from runtime.invoke import endings, retry, runs
from runtime.invoke.destinations import aws
from runtime.invoke.queue import dispatcher, lanes, rows

_log = logging.getLogger(__name__)

REFUSED_LIMIT = 3
"""Times that a target may refuse one message."""


class Intake(Protocol):
    """Takes events for functions of our own; ``events.Events``."""

    def passed_on(self, ending: endings.Ending, payload: bytes) -> rows.Row:
        """Return the row of an event for the function that is an ending's target; raise ApiError."""

    def written(self, row: rows.Row, error: Exception | None) -> None:
        """Hear that this row is written, or cannot be."""


class Deliverer:
    """Runs the rows of targets' lanes; implements ``dispatcher.Runner`` and ``runs.Ended``."""

    def __init__(
        self,
        sender: aws.Sender,
        intake: Intake,
        listener: observer.Observer,
        *,
        threads: int,
        rules: retry.Rules,
        clock: Callable[[], float],
        new_id: Callable[[], int],
    ) -> None:
        """``rules`` say how long is tried; ``new_id`` gives unused ids of rows and letters."""
        self._sender = sender
        self._intake = intake
        self._observer = listener
        self._threads = threads
        self._rules = rules
        self._clock = clock
        self._new_id = new_id
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._loop = asyncio.get_running_loop()
        self.dispatcher: dispatcher.Dispatcher

    # runs.Ended

    def outgoing(self, ending: endings.Ending, payload: bytes, targets: Sequence[tuple[str, bool]]) -> list[rows.Row]:
        """Return rows that deliver an ending to targets."""
        now, outgoing = self._clock(), []
        for target, queue in targets:
            about = ending.to(target, queue=queue).encode()
            row = rows.Row(self._new_id(), target, now, len(payload) + len(about), now, 0, about, payload)
            self.dispatcher.lanes.announce(row)
            outgoing.append(row)
        return outgoing

    def written(self, outgoing: Sequence[rows.Row], error: Exception | None) -> None:
        """Hear that these rows are written; the dispatcher's ``pump`` sends them on."""
        for row in outgoing:
            if error is None:
                self.dispatcher.lanes.add(row)
            else:
                self.dispatcher.lanes.withdraw(row)

    # dispatcher.Runner

    def limit(self, lane: lanes.Lane) -> int:  # noqa: ARG002 - all targets are alike
        """Return how many deliveries to a target may be under way: never more than others could still get."""
        return max(1, self._threads - self.dispatcher.lanes.running)

    def width(self) -> int:
        """Return how many deliveries may be under way."""
        return self._threads

    def may_begin(self) -> bool:
        """Return True: deliveries are few."""
        return True

    def starved(self) -> None:
        """Do nothing: there are no more threads."""

    def start(self, lane: lanes.Lane, row: rows.Row) -> None:
        """Try a delivery once."""
        ending = endings.Ending.decode(row.about)
        if is_function(lane.name):
            self._pass_on(lane, row, ending)
            return
        if self._pool is None:
            self._pool = concurrent.futures.ThreadPoolExecutor(self._threads, thread_name_prefix="deliver")
        sending = self._loop.run_in_executor(self._pool, self._sender.send, ending, row.body)
        sending.add_done_callback(lambda sent: self._sent(lane, row, ending, sent))

    async def close(self) -> None:
        """Wait for the deliveries that are under way; their ends may not be written any more."""
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def _pass_on(self, lane: lanes.Lane, row: rows.Row, ending: endings.Ending) -> None:
        """Turn a delivery to a function of ours into an event, in one step."""
        try:
            event = self._intake.passed_on(ending, row.body)
        except errors.ApiError as error:
            looped = isinstance(error, errors.RecursiveInvocation)
            self._failed(lane, row, ending, aws.Undelivered(f"{error.code}: {error.message}", refused=looped))
            return
        self.dispatcher.lanes.resume(lane)

        def written(error: Exception | None) -> None:
            self.dispatcher.lanes.forget(row)
            self._intake.written(event, error)

        self.dispatcher.finished(lane, rows.Change(written, drop=(row.id,), put=(event,), keep=True))

    def _sent(self, lane: lanes.Lane, row: rows.Row, ending: endings.Ending, sent: "asyncio.Future[None]") -> None:
        if sent.cancelled():
            return
        error = sent.exception()
        if error is None:
            self.dispatcher.lanes.resume(lane)
            self.dispatcher.finished(lane, rows.Change(self._gone(row), drop=(row.id,), keep=True))
        elif isinstance(error, aws.Undelivered):
            self._failed(lane, row, ending, error)
        else:
            self._failed(lane, row, ending, aws.Undelivered(repr(error), refused=True))
        self.dispatcher.pump()

    def _failed(self, lane: lanes.Lane, row: rows.Row, ending: endings.Ending, error: aws.Undelivered) -> None:
        """Try again later: the message, where that was refused, else everything for this target."""
        self._observer.event_undelivered(ending.function, queue=ending.queue)
        now = self._clock()
        if error.refused:
            tries = row.tries + 1
            due = retry.after_refusal(tries, row.accepted, now, self._rules)
            if tries >= REFUSED_LIMIT or isinstance(due, retry.Condition):
                self._give_up(lane, row, ending, error)
                return
            move = rows.Move(due, tries, row.about, row.id)
            self.dispatcher.finished(lane, rows.Change(self._moved(row, due), move=(move,), keep=True))
            return
        if now >= lane.paused_until:
            lane.refusals += 1
            _log.warning("results for %s cannot be delivered: %s", lane.name, error)
        due = retry.after_refusal(lane.refusals, row.accepted, now, self._rules)
        if isinstance(due, retry.Condition):
            self.dispatcher.lanes.pause(lane, now + retry.pause(lane.refusals, self._rules.base_delay_s))
            self._give_up(lane, row, ending, error)
        else:
            self.dispatcher.lanes.refused(lane, row, due)

    def _give_up(self, lane: lanes.Lane, row: rows.Row, ending: endings.Ending, error: aws.Undelivered) -> None:
        """Keep what nobody takes."""
        self._observer.event_buried(ending.function)
        letter = runs.letter(self._new_id(), ending.left(error.message), row.body)
        change = rows.Change(self._gone(row), drop=(row.id,), bury=(letter,), keep=True)
        self.dispatcher.finished(lane, change)

    def _gone(self, row: rows.Row) -> Callable[[Exception | None], None]:
        return lambda _error: self.dispatcher.lanes.forget(row)

    def _moved(self, row: rows.Row, due: float) -> Callable[[Exception | None], None]:
        return lambda _error: self.dispatcher.lanes.defer(row, due)


def is_function(target: str) -> bool:
    """Return whether a target is a function, not a service's."""
    return target.split(":", 3)[2] == "lambda"
