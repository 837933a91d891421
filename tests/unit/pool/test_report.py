"""The platform's lines, against lines that AWS wrote (from public logs, ids shortened)."""

import dataclasses
import json

import msgspec
import pytest

from runtime import model
from runtime.pool import report

ID = "1e5c8abd-3d36-461b-8c0f-a56b952715b3"
NOW = 1756861433.0724
TEXT = model.Version(
    function_name="gemini",
    version="$LATEST",
    function_arn="arn:aws:lambda:ap-east-2:000000000000:function:gemini",
    runtime="python3.13",
    handler="app.handler",
    code_sha256="",
    code_path="/x",
    log_group="/aws/lambda/gemini",
    generation="1",
)
JSON = dataclasses.replace(TEXT, json_logs=True)
DEBUG = dataclasses.replace(JSON, system_log_level="DEBUG")
WARN = dataclasses.replace(JSON, system_log_level="WARN")
OK = model.Outcome(
    status=model.Status.SUCCESS, payload=b"null", duration_s=1.23396, billed_ms=1698, init_s=0.463512, max_memory_mb=123
)
TIMEOUT = model.Outcome(
    status=model.Status.TIMEOUT,
    payload=b"",
    error_type="Sandbox.Timedout",
    duration_s=3,
    billed_ms=3000,
    max_memory_mb=35,
)
IMPORT = model.Outcome(
    status=model.Status.ERROR,
    payload=b"{}",
    error_type="Runtime.ImportModuleError",
    duration_s=0.09578,
    billed_ms=96,
    max_memory_mb=39,
)
RAISED = msgspec.structs.replace(IMPORT, error_type="KeyError")


def document(line):
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line)


def test_text_lines_of_a_cold_success():
    assert report.start(TEXT, ID, NOW) == f"START RequestId: {ID} Version: $LATEST\n".encode()
    assert report.end(TEXT, ID, OK, NOW) == f"END RequestId: {ID}\n".encode()
    assert (
        report.report(TEXT, ID, OK, NOW)
        == (
            f"REPORT RequestId: {ID}\tDuration: 1233.96 ms\tBilled Duration: 1698 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 123 MB\tInit Duration: 463.51 ms\t\n"
        ).encode()
    )


def test_a_warm_report_has_no_init_duration():
    line = report.report(TEXT, ID, msgspec.structs.replace(OK, init_s=None), NOW)
    assert line.endswith(b"\tMax Memory Used: 123 MB\t\n")


def test_a_report_of_a_timeout():
    assert (
        report.report(TEXT, ID, TIMEOUT, NOW)
        == (
            f"REPORT RequestId: {ID}\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 35 MB\tStatus: timeout\n"
        ).encode()
    )


def test_a_report_of_a_failed_import_and_of_running_out_of_memory():
    assert report.report(TEXT, ID, IMPORT, NOW).endswith(
        b"\tMax Memory Used: 39 MB\tStatus: error\tError Type: Runtime.ImportModuleError\n"
    )
    killed = msgspec.structs.replace(IMPORT, error_type="Runtime.ExitError")
    assert report.report(TEXT, ID, killed, NOW, error_type="Runtime.OutOfMemory").endswith(
        b"\tStatus: error\tError Type: Runtime.OutOfMemory\n"
    )


def test_an_exception_of_the_function_leaves_no_status_in_text_and_no_name_in_json():
    assert report.report(TEXT, ID, RAISED, NOW).endswith(b"\tMax Memory Used: 39 MB\t\n")
    record = document(report.report(JSON, ID, RAISED, NOW))["record"]
    assert (record["status"], record["errorType"]) == ("error", "Runtime.Unknown")


def test_init_lines_in_text():
    arn = report.runtime_version_arn(TEXT.runtime, "aws", TEXT.function_arn.split(":")[3])
    assert arn.startswith("arn:aws:lambda:ap-east-2::runtime:")
    assert len(arn.rsplit(":", 1)[1]) == 64
    assert report.init_start(TEXT, NOW) == (
        f"INIT_START Runtime Version: python:3.13.v1\tRuntime Version ARN: {arn}\n".encode()
    )
    assert report.init_report(TEXT, NOW, duration_s=0.1) == b""
    failed = {"status": model.Status.ERROR, "error_type": "Runtime.ImportModuleError"}
    assert report.init_report(TEXT, NOW, duration_s=0.22904, **failed) == (
        b"INIT_REPORT Init Duration: 229.04 ms\tPhase: init\tStatus: error\tError Type: Runtime.ImportModuleError\n"
    )
    assert report.init_report(TEXT, NOW, duration_s=3.00383, status=model.Status.TIMEOUT, phase="invoke") == (
        b"INIT_REPORT Init Duration: 3003.83 ms\tPhase: invoke\tStatus: timeout\n"
    )


def test_failure_lines():
    timed_out = report.failure(TEXT, ID, model.Status.TIMEOUT, "Task timed out after 3.00 seconds", NOW)
    assert timed_out == f"2025-09-03T01:03:53.072Z {ID} Task timed out after 3.00 seconds\n\n".encode()
    killed = report.failure(TEXT, ID, model.Status.ERROR, "Runtime exited with error: signal: killed", NOW)
    assert killed == (f"RequestId: {ID} Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n".encode())
    assert report.failure(JSON, ID, model.Status.TIMEOUT, "Task timed out", NOW) == b""


def test_json_records_key_by_key():
    assert document(report.start(JSON, ID, NOW)) == {
        "time": "2025-09-03T01:03:53.072Z",
        "type": "platform.start",
        "record": {"requestId": ID, "functionArn": TEXT.function_arn, "version": "$LATEST"},
    }
    assert document(report.report(JSON, ID, OK, NOW))["record"] == {
        "requestId": ID,
        "metrics": {
            "durationMs": 1233.96,
            "billedDurationMs": 1698,
            "memorySizeMB": 128,
            "maxMemoryUsedMB": 123,
            "initDurationMs": 463.512,
        },
        "status": "success",
    }
    assert document(report.end(DEBUG, ID, OK, NOW))["record"] == {
        "requestId": ID,
        "status": "success",
        "metrics": {"durationMs": 1233.96, "producedBytes": 4},
    }
    assert document(report.init_start(JSON, NOW, stream="s"))["record"] == {
        "initializationType": "on-demand",
        "phase": "init",
        "runtimeVersion": "python:3.13.v1",
        "runtimeVersionArn": report.runtime_version_arn(JSON.runtime, "aws", JSON.function_arn.split(":")[3]),
        "functionName": "gemini",
        "functionVersion": "$LATEST",
        "instanceId": "s",
        "instanceMaxMemory": 134217728,
    }
    assert document(report.init_report(DEBUG, NOW, duration_s=0.125))["record"] == {
        "initializationType": "on-demand",
        "phase": "init",
        "status": "success",
        "metrics": {"durationMs": 125.0},
    }


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        (DEBUG, ["initStart", "initReport", "start", "runtimeDone", "report"]),
        (JSON, ["initStart", "start", "report"]),
        (WARN, []),
    ],
)
def test_the_system_log_level_chooses_the_records_of_a_success(version, shown):
    lines = [
        report.init_start(version, NOW),
        report.init_report(version, NOW, duration_s=0.1),
        report.start(version, ID, NOW),
        report.end(version, ID, OK, NOW),
        report.report(version, ID, OK, NOW),
    ]
    assert [json.loads(line)["type"].removeprefix("platform.") for line in lines if line] == shown


def test_failures_are_warnings():
    for outcome in (TIMEOUT, IMPORT):
        assert document(report.report(WARN, ID, outcome, NOW))["record"]["status"] == outcome.status.value
        assert document(report.end(WARN, ID, outcome, NOW))["type"] == "platform.runtimeDone"


def test_text_mode_has_no_levels():
    assert report.start(dataclasses.replace(TEXT, system_log_level="WARN"), ID, NOW)


@pytest.mark.parametrize(
    ("duration_s", "init_s", "billed"),
    # The last two are AWS's: 1233.96 + 463.512 ms, 3000 + 402.04 ms.
    [
        (0, None, 1),
        (0.003, None, 3),
        (0.003001, None, 4),
        (0.0000001, None, 1),
        (1.23396, 0.463512, 1698),
        (3, 0.40204, 3403),
    ],
)
def test_billed_duration_is_rounded_up_and_includes_init(duration_s, init_s, billed):
    assert report.billed_ms(duration_s, init_s) == billed


def test_a_timestamp_never_lies_ahead():
    assert report.timestamp(0.9999) == "1970-01-01T00:00:00.999Z"
    assert report.timestamp(1793000000) == "2026-10-26T07:33:20.000Z"


def test_the_tail_keeps_the_last_4096_bytes():
    tail = report.Tail()
    assert tail.value() == b""
    written = b""
    for i in range(300):
        chunk = bytes([65 + i % 26]) * (i * 7 % 97)
        tail.add(chunk)
        written += chunk
        assert tail.value() == written[-4096:]
    tail.add(b"x" * 100_000)
    assert tail.value() == b"x" * 4096


def test_the_tail_lets_go_of_what_it_pushed_out():
    tail = report.Tail()
    for _ in range(1000):
        tail.add(b"x" * 1000)
    assert len(tail._chunks) <= 6
