"""Runs events on their functions, and decides what becomes of them: done, tried again, or ended.

Which version serves an event is found out for each try, so an alias that moved, and its weights, count at once. A
function that is refused a worker or a place is left alone for a while; other functions go on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from runtime import errors, model, observer
from runtime.invoke import endings, invoker, pace, retry
from runtime.invoke.queue import dispatcher, lanes, rows

RESPONSE_LIMIT = 1024 * 1024
"""Bytes of a response that go into a record: as many as an event may have."""


class Functions(Protocol):
    """Knows how functions are configured."""

    def event_config(self, function_name: str, qualifier: str | None) -> Mapping[str, Any] | None:
        """Return a function's FunctionEventInvokeConfig for a qualifier."""

    def dead_letter_queue(self, function_name: str, qualifier: str | None) -> str | None:
        """Return the ARN of a function's dead-letter queue."""

    def function_arn(self, function_name: str, qualifier: str | None) -> str:
        """Return a function's ARN."""

    def target(self, arn: str) -> tuple[str, str | None]:
        """Return the name and the qualifier in the ARN of a function; raise ApiError where there is none."""

    def may_loop(self, function_name: str) -> bool:
        """Return whether a function may be invoked in a loop without end."""


class Ended(Protocol):
    """Takes over events that ended."""

    def outgoing(self, ending: endings.Ending, payload: bytes, targets: Sequence[tuple[str, bool]]) -> list[rows.Row]:
        """Return rows that deliver an ending to targets, each with whether it is a dead-letter queue; they count."""

    def written(self, outgoing: Sequence[rows.Row], error: Exception | None) -> None:
        """Hear that these rows are written, or that they cannot be."""


class FunctionRunner:
    """Runs the rows of functions' lanes; implements ``dispatcher.Runner``."""

    def __init__(
        self,
        calls: invoker.Invoker,
        functions: Functions,
        ended: Ended,
        listener: observer.Observer,
        *,
        speed: pace.Pace,
        base_delay_s: float,
        clock: Callable[[], float],
        new_id: Callable[[], int],
    ) -> None:
        """``clock`` gives Unix time; ``new_id`` unused ids of letters."""
        self.calls = calls
        self.functions = functions
        self.ended = ended
        self.observer = listener
        self.clock = clock
        self.new_id = new_id
        self._places = calls.places
        self.pace = speed
        self._base_delay_s = base_delay_s
        self.handed_back = False
        """Set at the very end: what is cut short now will run again after the next start."""
        self.on_starved: Callable[[], None] = lambda: None
        self.dispatcher: dispatcher.Dispatcher

    def limit(self, lane: lanes.Lane) -> int:
        """Return how many events of a function may run: what is reserved for it, else as many as it leaves free."""
        reserved = self._places.reserved(lane.name)
        # Never more than others could still get: docs/architecture.md, "Asynchronous events".
        return max(1, self._places.free if reserved is None else reserved)

    def width(self) -> int:
        """Return how many events may run at once."""
        return self.pace.width

    def may_begin(self) -> bool:
        """Return whether an event may begin now."""
        return self.pace.flood.may_begin(self.dispatcher.lanes.added)

    def starved(self) -> None:
        """See whether more might run."""
        self.on_starved()

    def start(self, lane: lanes.Lane, row: rows.Row) -> None:
        """Run an event once."""
        self.pace.flood.begun()
        run = _Run(self, lane, row)
        now = self.clock()
        if retry.too_old(row.accepted, now, run.rules):
            run.end(retry.Condition.EVENT_AGE_EXCEEDED)
        elif self._places.reserved(lane.name) == 0:
            run.end(retry.Condition.ZERO_RESERVED_CONCURRENCY)
        else:
            run.submit(now)

    def rest(self, lane: lanes.Lane) -> None:
        """End the events of a paused lane that would be too old when it goes on."""
        while lane.window:
            run = _Run(self, lane, lane.window[0])
            if not retry.too_old(run.row.accepted, lane.paused_until, run.rules):
                return
            self.dispatcher.lanes.take(lane)
            run.end(retry.Condition.EVENT_AGE_EXCEEDED)
        if lane.more:
            lane.paused_until = 0.0  # for the others that may be too old
            self.dispatcher.lanes.enlist(lane)

    def rules(self, function_name: str, about: endings.About) -> retry.Rules:
        """Return what an event is held to."""
        configured = self.functions.event_config(function_name, about.qualifier)
        return retry.rules(configured, base_delay_s=self._base_delay_s)


class _Run:
    """One run of one event."""

    __slots__ = ("_about", "_lane", "_runner", "_started", "row", "rules")

    def __init__(self, runner: FunctionRunner, lane: lanes.Lane, row: rows.Row) -> None:
        self._runner = runner
        self._lane = lane
        self._about = endings.About.decode(row.about)
        self._started = 0.0
        self.row = row
        self.rules = runner.rules(row.lane, self._about)

    def submit(self, now: float) -> None:
        """Resolve, and run if there is a place."""
        runner, row, about = self._runner, self.row, self._about
        self._started = now
        try:
            version = runner.calls.resolve(row.lane, about.qualifier)
        except errors.ApiError as error:
            self.end(retry.Condition.RETRIES_EXHAUSTED, error=error)
            return
        invocation = model.Invocation(
            request_id=about.request_id,
            version=version,
            payload=row.body,
            invoked_arn=runner.functions.function_arn(row.lane, about.qualifier),
            trace_id=about.trace_id,
            client_context=about.client_context,
            tenant_id=about.tenant_id,
            want_log_tail=True,
        )
        try:
            runner.calls.submit(invocation, self._ran, self._refused)
        except errors.TooManyRequests as error:
            self._refused(error)
        else:
            runner.observer.event_tried(row.lane, now - row.accepted)

    def _ran(self, outcome: model.Outcome) -> None:
        """Decide what comes after a run."""
        runner, row = self._runner, self.row
        if runner.handed_back:
            return
        runner.pace.flood.ended(outcome.duration_s)
        runner.dispatcher.lanes.resume(self._lane)
        if not outcome.failed:
            self.end(retry.Condition.SUCCESS, outcome)
            runner.dispatcher.pump()
            return
        tries, now = row.tries + 1, runner.clock()
        failed = endings.Try(
            at=self._started,
            duration_s=outcome.duration_s,
            error_type=outcome.error_type or "",
            message=endings.message_of(bytes(outcome.payload)),
        )
        self._about = self._about.after(failed, outcome.log_tail)
        due = retry.after_error(tries, row.accepted, now, self.rules)
        if isinstance(due, retry.Condition):
            self.end(due, outcome)
        else:
            runner.observer.event_retried(row.lane, "error")
            move = rows.Move(due, tries, self._about.encode(), row.id)
            runner.dispatcher.finished(self._lane, rows.Change(self._moved(due), move=(move,), keep=True))
        runner.dispatcher.pump()

    def _moved(self, due: float) -> Callable[[Exception | None], None]:
        return lambda _error: self._runner.dispatcher.lanes.defer(self.row, due)

    def _refused(self, error: errors.HotforkError) -> None:
        """Leave the function alone for a while, or end the event if that would be too long for it."""
        runner, lane, row = self._runner, self._lane, self.row
        if runner.handed_back:
            return
        now = runner.clock()
        throttled = isinstance(error, errors.TooManyRequests)
        if now >= lane.paused_until:  # else others were refused together with this one
            lane.refusals += 1
        due = retry.after_refusal(lane.refusals, row.accepted, now, self.rules)
        if isinstance(due, retry.Condition):
            runner.dispatcher.lanes.pause(lane, now + retry.pause(lane.refusals, self.rules.base_delay_s))
            self.end(due, error=error, status=429 if throttled else 500)
        else:
            runner.observer.event_retried(row.lane, "throttle" if throttled else "fault")
            runner.dispatcher.lanes.refused(lane, row, due)
        runner.rest(lane)
        runner.dispatcher.pump()

    def end(
        self,
        condition: retry.Condition,
        outcome: model.Outcome | None = None,
        *,
        error: errors.HotforkError | None = None,
        status: int = 200,
    ) -> None:
        """Let the event be gone, and what came of it go where it is wanted, in one step."""
        runner, row = self._runner, self.row
        success = condition is retry.Condition.SUCCESS
        targets = self._targets(success=success)
        put: list[rows.Row] = []
        bury: list[rows.Letter] = []
        if targets or not success:
            ending = self._ending(condition, outcome, error, status)
            put = runner.ended.outgoing(ending, row.body, targets)
            if not put:
                bury = [letter(runner.new_id(), ending, row.body)]
        runner.observer.event_ended(row.lane, condition.value)
        if bury:
            runner.observer.event_buried(row.lane)

        def written(error: Exception | None) -> None:
            runner.dispatcher.lanes.forget(row)
            runner.ended.written(put, error)

        change = rows.Change(written, drop=(row.id,), put=put, bury=bury, keep=True, lazy=not put and not bury)
        runner.dispatcher.finished(self._lane, change)

    def _targets(self, *, success: bool) -> list[tuple[str, bool]]:
        """Return where the result goes, each with whether it is a dead-letter queue. AWS serves both kinds."""
        functions, name, qualifier = self._runner.functions, self.row.lane, self._about.qualifier
        configured = functions.event_config(name, qualifier) or {}
        wanted = configured.get("DestinationConfig", {}).get("OnSuccess" if success else "OnFailure", {})
        targets = [(wanted["Destination"], False)] if wanted.get("Destination") else []
        queue = None if success else functions.dead_letter_queue(name, qualifier)
        return [*targets, (queue, True)] if queue else targets

    def _ending(
        self,
        condition: retry.Condition,
        outcome: model.Outcome | None,
        error: errors.HotforkError | None,
        status: int,
    ) -> endings.Ending:
        row, about = self.row, self._about
        last = about.tries[-1] if about.tries else None
        response = outcome.payload if outcome is not None else None
        return endings.Ending(
            function=row.lane,
            function_arn=self._runner.functions.function_arn(row.lane, about.qualifier or model.LATEST),
            about=about,
            condition=condition,
            accepted=row.accepted,
            ended=self._runner.clock(),
            invoke_count=row.tries + (outcome is not None),
            status=status,
            executed_version=outcome.executed_version if outcome is not None else None,
            response=bytes(response) if response is not None and len(response) <= RESPONSE_LIMIT else None,
            failed=outcome is not None and outcome.failed,
            error_type=_kind(error) if error is not None else last.error_type if last else "",
            error_message=error.message[: endings.MESSAGE_LIMIT] if error is not None else last.message if last else "",
        )


def letter(number: int, ending: endings.Ending, payload: bytes) -> rows.Letter:
    """Return an ending as it is kept where nobody takes it."""
    about = ending.encode()
    size = len(payload) + len(about)
    return rows.Letter(
        number, ending.function, ending.ended, ending.condition.value, ending.error_type, size, about, payload
    )


def _kind(error: errors.HotforkError) -> str:
    return error.code if isinstance(error, errors.ApiError) else "ServiceException"
