"""What AWS reports when a worker, rather than its handler, ends an invocation. Pure.

The texts are those of recorded answers of AWS Lambda: a timeout is ``Sandbox.Timedout``, a process that went away
``Runtime.ExitError`` with Go's words for the status, as AWS's runtime supervisor is written in Go.
"""

import dataclasses
import json
import os
import signal

import msgspec

from runtime import errors, model, wire
from runtime.pool import report

_SIGNAL_WORDS = {
    # go/src/syscall/zerrors_linux_amd64.go, "Signal table"
    signal.SIGHUP: "hangup",
    signal.SIGINT: "interrupt",
    signal.SIGQUIT: "quit",
    signal.SIGILL: "illegal instruction",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGKILL: "killed",
    signal.SIGUSR1: "user defined signal 1",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGUSR2: "user defined signal 2",
    signal.SIGPIPE: "broken pipe",
    signal.SIGALRM: "alarm clock",
    signal.SIGTERM: "terminated",
    signal.SIGSYS: "bad system call",
}

_read = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why an invocation has no answer of its handler's."""

    status: model.Status
    error_type: str
    message: str
    cause: str
    """Of the closed set that ``Observer.worker_failed`` names."""

    @property
    def reported_type(self) -> str:
        """Return the error type in the REPORT line: only there AWS says Runtime.OutOfMemory."""
        return "Runtime.OutOfMemory" if self.cause == "oom" else self.error_type

    def document(self, request_id: str) -> bytes:
        """Return AWS's error document for one request."""
        text = f"RequestId: {request_id} Error: {self.message}"
        return json.dumps({"errorType": self.error_type, "errorMessage": text}, separators=(",", ":")).encode()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a worker never became ready: what the function did, or (``error``) what the service could not do."""

    fault: Fault | None = None
    error_type: str = ""
    payload: bytes = b""
    error: errors.HotforkError | None = None
    init_expired: bool = False
    init_s: float = 0.0

    def outcome(self, request_id: str, executed_version: str, start: model.StartKind) -> model.Outcome:
        """Return the outcome of the call that waited for the worker; only where ``error`` is None."""
        fault = self.fault
        return model.Outcome(
            status=fault.status if fault else model.Status.ERROR,
            payload=fault.document(request_id) if fault else self.payload,
            error_type=fault.error_type if fault else self.error_type,
            executed_version=executed_version,
            init_s=self.init_s,
            billed_ms=report.billed_ms(0.0, self.init_s),
            start=start,
        )


def timeout(seconds: float) -> Fault:
    """Return the fault of a function that ran over its timeout."""
    return Fault(
        status=model.Status.TIMEOUT,
        error_type="Sandbox.Timedout",
        message=f"Task timed out after {seconds:.2f} seconds",
        cause="timeout",
    )


def exited(wait_status: int, *, out_of_memory: bool) -> Fault:
    """Return the fault of a worker process that ended; ``wait_status`` is as waitpid(2) gives it."""
    code = os.waitstatus_to_exitcode(wait_status)
    if code < 0:
        number = -code
        try:
            words = _SIGNAL_WORDS[signal.Signals(number)]
        except (KeyError, ValueError):
            words = f"signal {number}"
        message, cause = f"Runtime exited with error: signal: {words}", "oom" if out_of_memory else "signal"
    elif code > 0:
        message, cause = f"Runtime exited with error: exit status {code}", "exit"
    else:
        message, cause = "Runtime exited without providing a reason", "exit"
    return Fault(status=model.Status.ERROR, error_type="Runtime.ExitError", message=message, cause=cause)


def is_document(payload: bytes) -> bool:
    """Return whether what a worker says of an error can go to its caller: JSON, and no more than a response may be."""
    if len(payload) > wire.PAYLOAD_LIMIT:
        return False
    try:
        payload.decode()
        _read(payload)
    except (ValueError, RecursionError):
        return False
    return True


def stream_too_large() -> Fault:
    """Return the fault of a function that streamed more than a response may hold."""
    return Fault(
        status=model.Status.ERROR,
        error_type="Function.ResponseSizeTooLarge",
        message="Response payload size exceeded maximum allowed payload size (209715200 bytes).",
        cause="protocol",
    )


def broke_protocol() -> Fault:
    """Return the fault of a worker that was killed for what it wrote to its response pipe."""
    return dataclasses.replace(exited(signal.SIGKILL, out_of_memory=False), cause="protocol")
