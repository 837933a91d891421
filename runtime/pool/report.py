"""The platform's own lines in a function's log, as AWS writes them. Pure: times are passed in.

In text mode (docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html; fields are parted by tabs, and a
REPORT of a success ends in one):

    INIT_START Runtime Version: python:3.13.v1    Runtime Version ARN: arn:aws:lambda:us-east-1::runtime:<64 hex>
    START RequestId: <id> Version: $LATEST
    END RequestId: <id>
    REPORT RequestId: <id>    Duration: 1.23 ms    Billed Duration: 99 ms    Memory Size: 128 MB    Max Memory ...
    INIT_REPORT Init Duration: 229.04 ms    Phase: init    Status: error    Error Type: Runtime.ImportModuleError

In JSON mode each is one record of the Telemetry API (.../dg/telemetry-schema-reference.html), and the function's system
log level chooses among them (.../dg/monitoring-cloudwatchlogs-log-level.html): a record that the level hides is
``b""``. Text mode has no levels.

Every function returns one log event, newline and all. A function can print the same words: readers tell the
platform's lines by the mark that the log store gives to them, never by their text.
"""

import collections
import datetime as dt
import hashlib
import json
import math
from typing import Any

from runtime import model

TAIL_LIMIT = 4096
"""Bytes of log that a caller can ask for: docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, LogResult."""

_RANKS = {"DEBUG": 0, "INFO": 1, "WARN": 2}
_PLATFORM_ERRORS = ("Runtime.", "Sandbox.", "Function.", "Extension.")
_OWN_ERROR = "Runtime.Unknown"
"""What the platform's records call a function's own exception, whose name they never repeat."""


def billed_ms(duration_s: float, init_s: float | None = None) -> int:
    """Return the milliseconds billed: run time and, since August 2025, init, rounded up once, at least 1."""
    # Rounded to microseconds first: 0.003 s must not become 4 ms by the last bit of a float.
    microseconds = int((duration_s + (init_s or 0.0)) * 1e6 + 0.5)
    return -(-microseconds // 1000) or 1


def runtime_version(runtime: str) -> str:
    """Return what INIT_START calls a runtime: "python:3.13.v1" for "python3.13"."""
    return f"{runtime[:6]}:{runtime[6:]}.v1" if runtime.startswith("python") else f"{runtime}.v1"


def runtime_version_arn(runtime: str, partition: str, region: str) -> str:
    """Return the ARN of the one version that a runtime has here."""
    digest = hashlib.sha256(runtime_version(runtime).encode()).hexdigest()
    return f"arn:{partition}:lambda:{region}::runtime:{digest}"


def init_start(version: model.Version, now: float, *, stream: str = "", kind: str = "on-demand") -> bytes:
    """Return INIT_START. ``kind`` is AWS_LAMBDA_INITIALIZATION_TYPE; times are Unix time in seconds."""
    _, partition, _, region, *_ = version.function_arn.split(":")
    arn = runtime_version_arn(version.runtime, partition, region)
    if not version.json_logs:
        return f"INIT_START Runtime Version: {runtime_version(version.runtime)}\tRuntime Version ARN: {arn}\n".encode()
    record = {
        "initializationType": kind,
        "phase": "init",
        "runtimeVersion": runtime_version(version.runtime),
        "runtimeVersionArn": arn,
        "functionName": version.function_name,
        "functionVersion": version.version,
        "instanceId": stream,
        "instanceMaxMemory": version.memory_mb * 1024 * 1024,
    }
    return _record(version, "INFO", "platform.initStart", record, now)


def init_report(
    version: model.Version,
    now: float,
    *,
    duration_s: float,
    status: model.Status = model.Status.SUCCESS,
    error_type: str | None = None,
    phase: str = "init",
    kind: str = "on-demand",
) -> bytes:
    """Return INIT_REPORT; ``b""`` for an on-demand init that went well, which AWS's text logs don't report."""
    failed = status is not model.Status.SUCCESS
    if not version.json_logs:
        if not failed and kind == "on-demand":
            return b""
        text = f"INIT_REPORT Init Duration: {duration_s * 1000:.2f} ms\tPhase: {phase}"
        return f"{text}{_status(status, error_type) or chr(9)}\n".encode()
    level = "WARN" if failed else "DEBUG" if kind == "on-demand" else "INFO"
    record = {
        "initializationType": kind,
        "phase": phase,
        **_verdict(status, error_type),
        "metrics": {"durationMs": _ms(duration_s)},
    }
    return _record(version, level, "platform.initReport", record, now)


def restore_start(version: model.Version, now: float) -> bytes:
    """Return RESTORE_START: docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html."""
    _, partition, _, region, *_ = version.function_arn.split(":")
    arn = runtime_version_arn(version.runtime, partition, region)
    name = runtime_version(version.runtime)
    if not version.json_logs:
        return f"RESTORE_START Runtime Version: {name}\tRuntime Version ARN: {arn}\n".encode()
    record = {
        "runtimeVersion": name,
        "runtimeVersionArn": arn,
        "functionName": version.function_name,
        "functionVersion": version.version,
    }
    return _record(version, "INFO", "platform.restoreStart", record, now)


def restore_report(version: model.Version, now: float, *, duration_s: float) -> bytes:
    """Return RESTORE_REPORT."""
    if not version.json_logs:
        return f"RESTORE_REPORT Restore Duration: {duration_s * 1000:.2f} ms\n".encode()
    record = {"status": "success", "metrics": {"durationMs": _ms(duration_s)}}
    return _record(version, "INFO", "platform.restoreReport", record, now)


def start(version: model.Version, request_id: str, now: float) -> bytes:
    """Return START."""
    if not version.json_logs:
        return f"START RequestId: {request_id} Version: {version.version}\n".encode()
    record = {"requestId": request_id, "functionArn": version.function_arn, "version": version.version}
    return _record(version, "INFO", "platform.start", record, now)


def failure(version: model.Version, request_id: str, status: model.Status, message: str, now: float) -> bytes:
    """Return the line that says how a worker, rather than its handler, ended an invocation.

    "<time> <id> Task timed out after 1.00 seconds", or "RequestId: <id> Error: Runtime exited with error: exit status
    1" and the error's type. AWS's older text form, kept because alarms and people look for it; newer accounts see only
    the Status of REPORT. ``b""`` in JSON mode, where runtimeDone says it.
    """
    if version.json_logs:
        return b""
    if status is model.Status.TIMEOUT:
        return f"{timestamp(now)} {request_id} {message}\n\n".encode()
    return f"RequestId: {request_id} Error: {message}\nRuntime.ExitError\n".encode()


def end(version: model.Version, request_id: str, outcome: model.Outcome, now: float) -> bytes:
    """Return END, or in JSON mode platform.runtimeDone."""
    if not version.json_logs:
        return f"END RequestId: {request_id}\n".encode()
    record = {
        "requestId": request_id,
        **_verdict(outcome.status, outcome.error_type),
        "metrics": {"durationMs": _ms(outcome.duration_s), "producedBytes": len(outcome.payload)},
    }
    level = "DEBUG" if outcome.status is model.Status.SUCCESS else "WARN"
    return _record(version, level, "platform.runtimeDone", record, now)


def report(
    version: model.Version, request_id: str, outcome: model.Outcome, now: float, *, error_type: str | None = None
) -> bytes:
    """Return REPORT. ``error_type`` overrides the outcome's: AWS says Runtime.OutOfMemory here and nowhere else.

    In text mode a function's own exception leaves no Status: only timeouts and the platform's errors do.
    """
    cause = error_type or outcome.error_type
    if not version.json_logs:
        init = "" if outcome.init_s is None else f"\tInit Duration: {outcome.init_s * 1000:.2f} ms"
        if outcome.restore_s is not None:
            restore_ms = outcome.restore_s * 1000
            init = (
                f"\tRestore Duration: {restore_ms:.2f} ms\tBilled Restore Duration: {billed_ms(outcome.restore_s)} ms"
            )
        return (
            f"REPORT RequestId: {request_id}\tDuration: {outcome.duration_s * 1000:.2f} ms\t"
            f"Billed Duration: {outcome.billed_ms} ms\tMemory Size: {version.memory_mb} MB\t"
            f"Max Memory Used: {outcome.max_memory_mb} MB{init}{_status(outcome.status, cause) or chr(9)}\n"
        ).encode()
    metrics: dict[str, float] = {
        "durationMs": _ms(outcome.duration_s),
        "billedDurationMs": outcome.billed_ms,
        "memorySizeMB": version.memory_mb,
        "maxMemoryUsedMB": outcome.max_memory_mb,
    }
    if outcome.init_s is not None:
        metrics["initDurationMs"] = _ms(outcome.init_s)
    if outcome.restore_s is not None:
        metrics["restoreDurationMs"] = _ms(outcome.restore_s)
        metrics["billedRestoreDurationMs"] = billed_ms(outcome.restore_s)
    record = {"requestId": request_id, "metrics": metrics, **_verdict(outcome.status, cause)}
    level = "INFO" if outcome.status is model.Status.SUCCESS else "WARN"
    return _record(version, level, "platform.report", record, now)


def logs_dropped(*, dropped_bytes: int, dropped_records: int, reason: str, now: float, as_json: bool) -> bytes:
    """Return the line that stands where a function's output was dropped; AWS's text logs have no form of it."""
    if not as_json:
        text = f"LOGS_DROPPED Dropped Bytes: {dropped_bytes}\tDropped Records: {dropped_records}\tReason: {reason}\n"
        return text.encode()
    record = {"droppedBytes": dropped_bytes, "droppedRecords": dropped_records, "reason": reason}
    return _document("platform.logsDropped", record, now)


def timestamp(now: float) -> str:
    """Return a Unix time as AWS writes it: 2026-11-21T19:00:00.123Z."""
    # Down to whole milliseconds: rounding could name a time that has not come yet.
    time = dt.datetime.fromtimestamp(math.floor(now * 1000) / 1000, dt.UTC)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{round(time.microsecond / 1000):03d}Z"


class Tail:
    """The last 4 KB of one invocation's log, START to REPORT; holds the chunks it is given, no copies."""

    __slots__ = ("_chunks", "_size")

    def __init__(self) -> None:
        self._chunks: collections.deque[bytes] = collections.deque()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Add what was written; what it pushes out is let go."""
        chunks = self._chunks
        chunks.append(data)
        self._size += len(data)
        while self._size - len(chunks[0]) >= TAIL_LIMIT:
            self._size -= len(chunks.popleft())

    def value(self) -> bytes:
        """Return the last 4096 bytes, or all where there are fewer."""
        return b"".join(self._chunks)[-TAIL_LIMIT:]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _status(status: model.Status, error_type: str | None) -> str:
    if status is model.Status.TIMEOUT:
        return "\tStatus: timeout"
    if status is model.Status.ERROR and error_type is not None and error_type.startswith(_PLATFORM_ERRORS):
        return f"\tStatus: error\tError Type: {error_type}"
    return ""


def _verdict(status: model.Status, error_type: str | None) -> dict[str, str]:
    if status is not model.Status.ERROR:
        return {"status": status.value}
    known = error_type is not None and error_type.startswith(_PLATFORM_ERRORS)
    return {"status": "error", "errorType": error_type if known and error_type else _OWN_ERROR}


def _record(version: model.Version, level: str, kind: str, record: dict[str, Any], now: float) -> bytes:
    if _RANKS[level] < _RANKS.get(version.system_log_level, 1):
        return b""
    return _document(kind, record, now)


def _document(kind: str, record: dict[str, Any], now: float) -> bytes:
    document = {"time": timestamp(now), "type": kind, "record": record}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
