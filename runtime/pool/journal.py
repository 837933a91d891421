"""What goes into a worker's log stream: the function's output, and the platform's lines about it, in their order.

The platform's lines (INIT_START, START, END, REPORT) are written here, beside the pipes, because only here is their
order with the function's own output known.
"""

import time

import msgspec

from runtime import model, observer
from runtime.pool import fault as faults
from runtime.pool import report


class Journal:
    """The log of one worker, and the tail of the call that it serves."""

    __slots__ = ("_initialization", "_observer", "_tail", "_version", "stream")

    def __init__(self, listener: observer.Observer, version: model.Version, stream: str, *, provisioned: bool) -> None:
        self._observer = listener
        self._version = version
        self._initialization = "provisioned-concurrency" if provisioned else "on-demand"
        self._tail: report.Tail | None = None
        self.stream = stream
        """Name of the log stream."""

    def output(self, data: bytes) -> None:
        """Take what the function wrote."""
        if self._tail is not None:
            self._tail.add(data)
        self._observer.log_written(self._version, self.stream, data)

    def initialising(self, *, restored: bool) -> None:
        """Begin the init, or the restoring of a snapshot."""
        if restored:
            self._write(report.restore_start(self._version, time.time()))
        else:
            kind = self._initialization
            self._write(report.init_start(self._version, time.time(), stream=self.stream, kind=kind))

    def restored(self, duration_s: float) -> None:
        """Tell that a snapshot was restored."""
        self._write(report.restore_report(self._version, time.time(), duration_s=duration_s))

    def initialised(self, duration_s: float) -> None:
        """Tell that an init ended which no call waited for."""
        kind = self._initialization
        self._write(report.init_report(self._version, time.time(), duration_s=duration_s, kind=kind))

    def not_initialised(self, failure: faults.Failure) -> None:
        """Tell that an init failed by the function's own doing."""
        fault = failure.fault
        line = report.init_report(
            self._version,
            time.time(),
            duration_s=failure.init_s,
            status=fault.status if fault else model.Status.ERROR,
            error_type=fault.error_type if fault else failure.error_type,
            kind=self._initialization,
        )
        self._write(line)

    def begin(self, invocation: model.Invocation) -> None:
        """Write the first line of a call."""
        self._tail = report.Tail() if invocation.want_log_tail else None
        self._observer.invocation_started(invocation)
        self._write(report.start(self._version, invocation.request_id, time.time()))

    def end(self, invocation: model.Invocation, outcome: model.Outcome, fault: faults.Fault | None) -> model.Outcome:
        """Write the last lines of a call and return its outcome with the tail of its log."""
        version, request_id, now = self._version, invocation.request_id, time.time()
        if fault is not None:
            self._write(report.failure(version, request_id, fault.status, fault.message, now), whole=True)
        reported = fault.reported_type if fault else None
        self._write(
            report.end(version, request_id, outcome, now)
            + report.report(version, request_id, outcome, now, error_type=reported)
        )
        if self._tail is not None:
            outcome = msgspec.structs.replace(outcome, log_tail=self._tail.value())
            self._tail = None
        self._observer.invocation_finished(invocation, outcome)
        return outcome

    def close(self) -> None:
        """Write no more."""
        self._observer.log_closed(self._version, self.stream)

    def _write(self, lines: bytes, *, whole: bool = False) -> None:
        if lines:
            if self._tail is not None:
                self._tail.add(lines)
            self._observer.log_written(self._version, self.stream, lines, platform=True, whole=whole)
