"""One worker as the supervisor sees it: its slot, its pipes, its process, and the call it serves.

A worker is started for a version, becomes ready, serves calls one at a time and dies; it tells its ``Owner`` (the
pool) of each turn. It owns the deadline: the process is killed when a call runs over its timeout, whatever the
process thinks of it.

Times are seconds on a clock that is passed in: the event loop's own stands still between its turns.
"""

import asyncio
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from runtime import errors, model, observer, wire
from runtime.pool import call as calls
from runtime.pool import fault as faults
from runtime.pool import journal, link, process, report, rules, slot

_log = logging.getLogger(__name__)

EXIT_GRACE = 0.1
"""Seconds between the end of the response pipe and the kill of a worker that may only have closed it."""

START_LIMIT = 60.0
"""Seconds until its sandbox must stand, of which it may spend most in a queue: a thousand may be asked for at once."""

PAYLOAD_LIMIT = wire.PAYLOAD_LIMIT
CONTENT_TYPES = ("application/json", "application/unknown")
"""What AWS's Python runtime gives as the content type of a response; it becomes a header."""
FREEZE_ATTEMPTS = 10
FREEZE_LIMIT_S = 5.0
"""How often, and for how long, a worker may be found running while it should stand still, before it is killed. It stops
when it next has a processor, and on a busy machine it may have to wait for one."""
STREAM_LIMIT = 200 * 1024 * 1024
"""Bytes of a streamed response: docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html."""

_MB = 1024 * 1024


class Owner(Protocol):
    """Hears the turns of a worker's life."""

    def worker_confined(self, worker: "Worker") -> None:
        """Hear that it stands: what is left of its start is its function's own."""

    def worker_ready(self, worker: "Worker") -> None:
        """Hear that it can be given a call, for the first time."""

    def is_awaited(self, worker: "Worker") -> bool:
        """Return whether calls wait that it could serve."""

    def worker_finished(self, worker: "Worker") -> None:
        """Hear that it answered and can be given another call, unless it is draining."""

    def worker_unstarted(self, worker: "Worker", failure: faults.Failure) -> None:
        """Hear that it never became ready."""

    def worker_failed(self, worker: "Worker") -> None:
        """Hear that the call it served ended, and it with the call."""

    def worker_lost(self, worker: "Worker") -> None:
        """Hear that it was idle and had to be killed."""

    def worker_dead(self, worker: "Worker") -> None:
        """Hear that its process is gone and everything held for it given back; the last call."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every worker of a pool shares."""

    loop: asyncio.AbstractEventLoop
    launcher: process.Launcher
    observer: observer.Observer
    owner: Owner
    clock: Callable[[], float]
    new_stream: Callable[[model.Version], str]
    rules: rules.Rules


class Worker:
    """A worker process, from the request to fork it until it is gone."""

    __slots__ = (
        "_around",
        "_asked",
        "_cause",
        "_confined",
        "_deadline",
        "_evasions",
        "_forked",
        "_frozen",
        "_gone",
        "_journal",
        "_link",
        "_process",
        "_sealed",
        "_served",
        "_single",
        "_started_call",
        "_streamed",
        "_timer",
        "_told_to_stop",
        "call",
        "init_limit_s",
        "init_s",
        "key",
        "last_s",
        "peak_bytes",
        "phases",
        "provisioned",
        "slot",
        "version",
    )

    def __init__(
        self,
        around: Surroundings,
        slot_id: int,
        key: model.WorkerKey,
        version: model.Version,
        init_limit_s: float,
        *,
        provisioned: bool = False,
    ) -> None:
        """Ask for the process; raise WorkerLost where that cannot even be tried.

        ``provisioned``: it is held ready, whoever calls; see ``provisioned``.
        """
        self._around = around
        self.provisioned = provisioned
        self.slot = slot.Slot(slot_id)
        self.key = key
        self.version = version
        self.call: calls.Call | None = None
        self.phases = model.Phases()
        self.init_limit_s = init_limit_s
        self.init_s = 0.0
        self._served = 0
        self._single = False
        """Whether the call it serves is the only one it may ever serve."""
        self._frozen = False
        self._evasions = 0
        self._told_to_stop = 0.0
        self._sealed = False
        """Whether the sandbox stands: from then on it is the function that speaks."""
        self._gone = False
        """Whether it ended: where that is heard before it was ready, all that counts is why it failed."""
        self._cause = ""
        self._asked = self._forked = self._confined = around.clock()
        self._started_call = 0.0
        self._streamed = 0
        self.last_s = 0.0
        """How long its last call took."""
        self.peak_bytes = 0
        """The most memory it had used at the end of its last call."""
        self._process = around.launcher.launch(version, self, copied=not provisioned)
        # All that the process need not wait for comes now that it is on its way.
        self._journal = journal.Journal(around.observer, version, around.new_stream(version), provisioned=provisioned)
        # Read when the sandbox stands: then it need not ask us.
        assign = around.launcher.assign(version, self._journal.stream, self.kind)
        fds, output = self._process.fds, self._journal.output
        self._link = link.Link(around.loop, fds, self._heard, output, self._broken, first=assign)
        self._timer: asyncio.TimerHandle | None = around.loop.call_later(START_LIMIT, self._start_expired)
        self._deadline = math.inf
        """Of its call, in the loop's time."""
        around.observer.worker_moved(version, "", self.slot.state.value)

    @property
    def kind(self) -> model.StartKind:
        """Return how it came to be."""
        return model.StartKind.PROVISIONED if self.provisioned else self._process.kind

    def outlived(self, grace_s: float) -> bool:
        """Return whether it is older than a worker is to be, by more than ``grace_s``."""
        born = self._asked if self._process.born is None else self._process.born
        return self._around.clock() - born > self._around.rules.max_age_s + grace_s

    @property
    def served(self) -> int:
        """Return how many calls it has been given."""
        return self._served

    # What the pool asks of it

    def serve(self, call: calls.Call) -> None:
        """Give it a call; it must be idle."""
        self._move(slot.Event.ASSIGN)
        if self._frozen:
            self._frozen = False
            self._process.thaw()
        self.call = call
        call.resume = self._link.resume
        self._streamed = 0
        self._served += 1
        self._single = call.invocation.version.isolates_calls(self._around.rules.isolation)
        around, version, invocation = self._around, self.version, call.invocation
        self._started_call = around.clock()
        self._journal.begin(invocation)
        # No timer a call: the one of an earlier call rings before this deadline, and is then wound up to it.
        self._deadline = around.loop.time() + version.timeout_s
        if self._timer is None:
            self._timer = around.loop.call_at(self._deadline, self._ring)
        self._link.invoke(
            invocation.request_id,
            int((time.time() + version.timeout_s) * 1000),
            invocation.invoked_arn,
            invocation.trace_id,
            invocation.client_context,
            invocation.cognito_identity,
            invocation.tenant_id,
            invocation.streaming,
            invocation.payload,
        )

    def freeze(self) -> bool:
        """Stop it until its next call, if it is idle: nothing of a function runs between invocations, as on AWS.

        Returns whether there is no more to do: a worker that will not stand still is killed after some attempts.
        """
        if self.slot.state is not slot.State.IDLE:
            return True
        if not self._frozen:
            self._frozen = True
            self._evasions = 0
            self._told_to_stop = self._around.clock()
        if self._process.freeze():
            return True
        self._evasions += 1
        if self._evasions <= FREEZE_ATTEMPTS or self._around.clock() - self._told_to_stop < FREEZE_LIMIT_S:
            return False
        _log.warning("%s: a worker runs on after its invocation, and will not be stopped: killed", self.key)
        self.kill("protocol")
        self._around.owner.worker_lost(self)
        return True

    def bind(self, processors: Iterable[int]) -> bool:
        """Let it run on these processors alone; return whether that could be done."""
        return self._process.bind(processors)

    def drain(self) -> None:
        """Let it finish what it serves, and die; at once where it serves nothing."""
        if self._move(slot.Event.DRAIN) is slot.State.STOPPING:
            self._end_process()

    def kill(self, cause: str = "") -> None:
        """Kill it now; ``cause`` is reported where it ended by its own fault."""
        self._cause = self._cause or cause
        self._move(slot.Event.KILL)
        self._end_process()

    # What it hears from its pipes

    def _heard(self, message: Any) -> None:
        """Act on a message of the worker's; one that is out of turn is a broken protocol."""
        state = self.slot.state
        if state is slot.State.STOPPING:
            return
        in_turn = self._starts(message) if state is slot.State.STARTING else self._answers(message)
        if not in_turn:
            self._broken(f"{type(message).__name__} out of turn")

    def _starts(self, message: Any) -> bool:
        """Act on what a worker says before it serves; return whether it may say that."""
        match message:
            case wire.Confined() if not self._sealed:
                self._initialising(message)
            case wire.Ready() if self._sealed:
                if not self._gone:
                    self._ready(message.import_us * 1e-6)
            case wire.InitError() if self._sealed and faults.is_document(message.payload):
                error_type = link.printable(message.error_type)
                failure = faults.Failure(error_type=error_type, payload=message.payload, init_s=self._init_so_far())
                self._unstarted(failure, "init")
            case wire.Refused() if not self._sealed:
                self._refused(link.printable(message.step), link.printable(message.reason))
            case _:
                return False
        return True

    def _answers(self, message: Any) -> bool:
        """Act on what a worker says of the call it serves; return whether it may say that."""
        call = self.call
        if call is None or getattr(message, "request_id", None) != call.invocation.request_id:
            return False
        match message:
            case wire.Response() if message.content_type in CONTENT_TYPES and len(message.payload) <= PAYLOAD_LIMIT:
                self._finish(model.Status.SUCCESS, message.payload, message.content_type, None)
            case wire.HandlerError() if faults.is_document(message.payload):
                self._finish(
                    model.Status.ERROR, message.payload, "application/json", link.printable(message.error_type)
                )
            case wire.Chunk() if message.payload:
                self._stream(call, message.payload)
            case wire.End() if call.on_chunk is not None and (
                not message.payload or faults.is_document(message.payload)
            ):
                status = model.Status.ERROR if message.error_type else model.Status.SUCCESS
                self._finish(status, message.payload, "application/json", link.printable(message.error_type) or None)
            case _:
                return False
        return True

    def _stream(self, call: calls.Call, payload: bytes) -> None:
        self._streamed += len(payload)
        if call.on_chunk is None:
            self._broken("a stream that nobody asked for")
        elif self._streamed > STREAM_LIMIT:
            self._fail(faults.stream_too_large())
        elif not call.on_chunk(payload):
            self._link.pause()

    def _initialising(self, confined: wire.Confined) -> None:
        flaw = self._process.flaw()
        if flaw:
            self._refused("snapshot", flaw)
            return
        self._gone = self._gone or flaw is None
        self._sealed = True
        self._stop_timer()
        self._timer = self._around.loop.call_later(self.init_limit_s, self._init_expired)
        self._confined = self._around.clock()
        self._process.missing.update(confined.missing)
        self._process.confined()
        self._journal.initialising(restored=self._process.kind is model.StartKind.SNAPSHOT)
        self._around.owner.worker_confined(self)

    def _ready(self, import_s: float) -> None:
        self._stop_timer()
        self.init_s = self._init_so_far()
        import_s = min(max(0.0, import_s), self.init_s)
        self.phases = model.Phases(
            # The zygote's news may come after the worker's own.
            fork=min(self._forked, self._confined) - self._asked,
            sandbox=max(0.0, self._confined - self._forked),
            assign=self.init_s - import_s,
            init=import_s,
        )
        self._link.drain_log()
        if self._process.kind is model.StartKind.SNAPSHOT:
            self._journal.restored(self.phases.start)
        elif self.provisioned:
            self._journal.initialised(self.init_s)
        self._move(slot.Event.READY)
        self._around.owner.worker_ready(self)
        self._process.initialised()  # behind the first call, which need not wait for that

    def _broken(self, reason: str) -> None:
        """End a worker that broke the protocol, or whose response pipe ended."""
        state = self.slot.state
        if state in (slot.State.STOPPING, slot.State.DEAD):
            return
        if reason != link.ENDED:
            _log.warning("%s: a worker broke the protocol and is killed: %s", self.key, link.printable(reason))
        if state is slot.State.IDLE:
            self.kill("exit" if reason == link.ENDED else "protocol")
            self._around.owner.worker_lost(self)
        elif reason == link.ENDED:
            # Most likely it is dying, and its exit will say how. Should it only have closed the pipe, it is killed.
            self._around.loop.call_later(EXIT_GRACE, self._kill_unless_dead)
        elif state is slot.State.STARTING:
            self._unstarted(faults.Failure(fault=faults.broke_protocol(), init_s=self._init_so_far()), "protocol")
        else:
            self._fail(faults.broke_protocol())

    def _kill_unless_dead(self) -> None:
        """Kill the process, and leave the rest to the news of its exit: it may have exited by itself meanwhile."""
        if self.slot.state not in (slot.State.STOPPING, slot.State.DEAD):
            self._cause = "protocol"
            self._process.kill()

    # What it hears from its process

    def process_forked(self) -> None:
        """Hear that the process exists."""
        self._forked = self._around.clock()

    def process_doomed(self, reason: str) -> None:
        """Hear that the process is about to end: it is given no call any more."""
        match self.slot.state:
            case slot.State.STARTING:
                self._refused("snapshot", reason)
            case slot.State.IDLE:
                self.kill("signal")
                self._around.owner.worker_lost(self)
            case slot.State.BUSY:
                self._move(slot.Event.DRAIN)

    def process_exited(self, wait_status: int) -> None:
        """Hear that the process is gone: what it served, or was to serve, ends with AWS's error.

        Unless it answered before: then the answer is in the pipe already.
        """
        self._gone = True
        if self.slot.state is slot.State.BUSY:
            self._move(slot.Event.DRAIN)
        self._link.drain()
        self._link.drain_log()
        state = self.slot.state
        fault = faults.exited(wait_status, out_of_memory=self._process.ran_out_of_memory())
        if state is slot.State.STARTING:
            self._unstarted(faults.Failure(fault=fault, init_s=self._init_so_far()), fault.cause)
        elif self.call is not None:
            self._fail(fault)
        elif state is slot.State.IDLE:
            self._cause = self._cause or fault.cause
        self._dead()

    def process_failed(self, step: str, reason: str) -> None:
        """Hear that there is no process, and will be none."""
        if self.slot.state is slot.State.STARTING:
            self._refused(step, reason)
        self._dead()

    def _refused(self, step: str, reason: str) -> None:
        error = errors.WorkerLost(f"a worker could not be started: {step}: {reason}")
        self._unstarted(faults.Failure(error=error), "start")

    # Deadlines

    def _start_expired(self) -> None:
        self._refused("start", f"its sandbox did not stand within {START_LIMIT:.0f} seconds")

    def _init_expired(self) -> None:
        self._unstarted(
            faults.Failure(fault=faults.timeout(self.version.timeout_s), init_expired=True, init_s=self._init_so_far()),
            "timeout",
        )

    def _ring(self) -> None:
        self._timer = None
        if self._around.loop.time() >= self._deadline:
            self._fail(faults.timeout(self.version.timeout_s))
        elif self._deadline < math.inf:
            self._timer = self._around.loop.call_at(self._deadline, self._ring)

    # How calls and workers end

    def _finish(
        self, status: model.Status, payload: bytes | memoryview, content_type: str, error_type: str | None
    ) -> None:
        call, owner = self.call, self._around.owner
        assert call is not None
        ended = self._around.clock()
        self._deadline = math.inf
        try:
            # While the caller takes the answer in, all else is done that the call leaves to do, before any other event.
            # Where calls wait for this worker, it gets the next one first.
            if call.on_answer is not None and not call.invocation.want_log_tail and not owner.is_awaited(self):
                call.on_answer(payload, content_type, error_type)
        finally:
            self._link.drain_log()
            if self._served == 1:
                self._process.served()
            outcome = self._conclude(status, payload, content_type, error_type, ended=ended)
            if self._move(slot.Event.FINISH) is slot.State.STOPPING:
                self._end_process()
            elif self._is_spent():
                self.drain()
            # First the worker is free again, then the outcome is told: who calls again at once finds it warm.
            owner.worker_finished(self)
            call.on_outcome(outcome)

    def _is_spent(self) -> bool:
        """Return whether it is to be replaced."""
        limits = self._around.rules
        too_large = 0 < limits.max_memory_mb * _MB <= self.peak_bytes
        return self._single or self._served == limits.max_invocations or too_large or self.outlived(0.0)

    def _fail(self, fault: faults.Fault) -> None:
        """End the call and the worker together."""
        call = self.call
        assert call is not None
        self._stop_timer()
        if self.slot.state is not slot.State.STOPPING:
            self.kill(fault.cause)
        self._link.drain_log()
        document = fault.document(call.invocation.request_id)
        ended = self._around.clock()
        outcome = self._conclude(fault.status, document, "application/json", fault.error_type, fault, ended=ended)
        self._around.owner.worker_failed(self)
        call.on_outcome(outcome)

    def _conclude(
        self,
        status: model.Status,
        payload: bytes | memoryview,
        content_type: str,
        error_type: str | None,
        fault: faults.Fault | None = None,
        *,
        ended: float,
    ) -> model.Outcome:
        """Measure the call, which ``ended`` at that time, write its last lines, and part with it."""
        call = self.call
        assert call is not None
        self.call = None
        duration = ended - self._started_call
        if status is model.Status.TIMEOUT:
            duration = self.version.timeout_s
        self.last_s = duration
        self.peak_bytes = self._process.memory_peak()
        cold = self._served == 1 and not (self.provisioned and call.arrived >= self._asked + self.phases.start)
        restored = cold and self._process.kind is model.StartKind.SNAPSHOT
        init_s = self.init_s if cold and not (restored or self.provisioned) else None
        outcome = model.Outcome(
            status=status,
            payload=payload,
            content_type=content_type,
            error_type=error_type,
            executed_version=self.version.version,
            duration_s=duration,
            billed_ms=report.billed_ms(duration, init_s),
            init_s=init_s,
            restore_s=self.phases.start if restored else None,
            max_memory_mb=min(self.version.memory_mb, -(-self.peak_bytes // _MB)),
            start=self.kind if cold else model.StartKind.WARM,
            phases=self._phases_of(call) if cold else _NO_PHASES,
        )
        return self._journal.end(call.invocation, outcome, fault)

    def settle(self, call: calls.Call, failure: faults.Failure) -> None:
        """End a call that waited for this worker with what kept the worker from starting."""
        invocation = call.invocation
        if failure.error is not None:
            call.on_refused(failure.error)
            return
        self._journal.begin(invocation)
        outcome = failure.outcome(invocation.request_id, self.version.version, self._process.kind)
        call.on_outcome(self._journal.end(invocation, outcome, failure.fault))

    def _phases_of(self, call: calls.Call) -> model.Phases:
        return dataclasses.replace(self.phases, queue=max(0.0, self._asked - call.arrived))

    def _unstarted(self, failure: faults.Failure, cause: str) -> None:
        self.kill(cause)
        self._link.drain_log()
        if failure.error is None:
            self._journal.not_initialised(failure)
        self._around.owner.worker_unstarted(self, failure)

    def _init_so_far(self) -> float:
        return max(0.0, self._around.clock() - self._confined)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_process(self) -> None:
        self._stop_timer()
        self._process.kill()

    def _dead(self) -> None:
        self._stop_timer()
        self._move(slot.Event.EXIT)
        self._link.close()
        self._process.release()
        if self._cause:
            self._around.observer.worker_failed(self.version, self._cause)
        self._journal.close()
        self._around.owner.worker_dead(self)

    def _move(self, event: slot.Event) -> slot.State:
        old = self.slot.state
        new = self.slot.apply(event)
        if new is not old:
            self._around.observer.worker_moved(self.version, _NAMES[old], _NAMES[new])
        return new


_NAMES = {state: state.value for state in slot.State}
_NO_PHASES = model.Phases()
