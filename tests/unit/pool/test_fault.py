import json
import signal

import pytest

from runtime.pool import fault


@pytest.mark.parametrize(
    ("status", "message", "cause"),
    [
        (0, "Runtime exited without providing a reason", "exit"),
        (3 << 8, "Runtime exited with error: exit status 3", "exit"),
        (signal.SIGKILL, "Runtime exited with error: signal: killed", "signal"),
        (signal.SIGSEGV, "Runtime exited with error: signal: segmentation fault", "signal"),
        (signal.SIGSEGV | 0x80, "Runtime exited with error: signal: segmentation fault", "signal"),
        (35, "Runtime exited with error: signal: signal 35", "signal"),
    ],
)
def test_an_exit_reads_as_on_aws(status, message, cause):
    found = fault.exited(status, out_of_memory=False)
    assert (found.error_type, found.message, found.cause) == ("Runtime.ExitError", message, cause)


def test_an_oom_kill_reads_as_a_kill_and_is_counted_as_oom():
    found = fault.exited(signal.SIGKILL, out_of_memory=True)
    assert (found.message, found.cause) == ("Runtime exited with error: signal: killed", "oom")


def test_the_documents_of_timeouts_and_exits():
    assert json.loads(fault.timeout(1).document("r-1")) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "RequestId: r-1 Error: Task timed out after 1.00 seconds",
    }
    assert json.loads(fault.exited(256, out_of_memory=False).document("r-2")) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": "RequestId: r-2 Error: Runtime exited with error: exit status 1",
    }
