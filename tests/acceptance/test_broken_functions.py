"""What functions do wrong, and what their callers hear: AWS's words, and the next call is served."""

import base64
import json
import re

import pytest
from conftest import create

FAULTS = {
    "import os, sys\ndef handler(event, context):\n    os._exit(0)": (
        "Runtime.ExitError",
        "Runtime exited without providing a reason",
    ),
    "import os, sys\ndef handler(event, context):\n    os._exit(7)": (
        "Runtime.ExitError",
        "Runtime exited with error: exit status 7",
    ),
    "import sys\ndef handler(event, context):\n    sys.exit(3)": (
        "Runtime.ExitError",
        "Runtime exited with error: exit status 3",
    ),
    "import sys\nsys.exit(4)\ndef handler(event, context):\n    pass": (
        "Runtime.ExitError",
        "Runtime exited with error: exit status 4",
    ),
    "import ctypes\ndef handler(event, context):\n    ctypes.string_at(0)": (
        "Runtime.ExitError",
        "Runtime exited with error: signal: segmentation fault",
    ),
    "import os, signal\ndef handler(event, context):\n    os.kill(os.getpid(), signal.SIGKILL)\n    while True: pass": (
        "Sandbox.Timedout",  # the kernel shields pid 1 of a namespace from its own SIGKILL, as on AWS
        "Task timed out after 2.00 seconds",
    ),
    "def handler(event, context):\n    while True: pass": (
        "Sandbox.Timedout",
        "Task timed out after 2.00 seconds",
    ),
    "import signal, time\nfor n in set(range(1, 65)) - {9, 19, 32, 33}:\n    signal.signal(n, signal.SIG_IGN)\n"
    "def handler(event, context):\n    time.sleep(60)": (
        "Sandbox.Timedout",
        "Task timed out after 2.00 seconds",
    ),
    # Held for a while: where there are no cgroups, memory is looked at ten times a second.
    "import time\ndef handler(event, context):\n    block = bytearray(400 << 20)\n    time.sleep(60)": (
        "Runtime.ExitError",
        "Runtime exited with error: signal: killed",
    ),
    "import os\ndef handler(event, context):\n    for fd in range(3, 64):\n"
    "        try: os.write(fd, b'\\x00\\x00\\x00\\x02nonsense')\n        except OSError: pass\n    import time; time.sleep(60)": (
        "Runtime.ExitError",
        "Runtime exited with error: signal: killed",
    ),
    "import os\ndef handler(event, context):\n    for fd in range(3, 64):\n"
    "        try: os.close(fd)\n        except OSError: pass\n    import time; time.sleep(60)": (
        "Runtime.ExitError",
        "Runtime exited with error: signal: killed",
    ),
}


@pytest.mark.parametrize(("source", "expected"), FAULTS.items())
def test_a_worker_that_breaks_ends_its_call_as_on_aws_and_no_other(client, source, expected):
    name = f"fault-{abs(hash(source))}"
    error_type, message = expected
    create(client, name, source, Timeout=2)
    for _ in range(2):
        answer = client.invoke(FunctionName=name, Payload=b"{}", LogType="Tail")
        request_id = answer["ResponseMetadata"]["RequestId"]
        assert answer["FunctionError"] == "Unhandled"
        assert json.load(answer["Payload"]) == {
            "errorType": error_type,
            "errorMessage": f"RequestId: {request_id} Error: {message}",
        }
        log = base64.b64decode(answer["LogResult"]).decode()
        assert re.search(rf"^REPORT RequestId: {request_id}\t.*Status: (error|timeout)", log, re.MULTILINE)
    client.delete_function(FunctionName=name)


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "message"),
    [
        ({"handler.py": "import nothing_of_this_name"}, "handler.handler", "Runtime.ImportModuleError",
         "Unable to import module 'handler': No module named 'nothing_of_this_name'"),
        ({"other.py": ""}, "handler.handler", "Runtime.ImportModuleError",
         "Unable to import module 'handler': No module named 'handler'"),
        ({"handler.py": "def other(): pass"}, "handler.handler", "Runtime.HandlerNotFound",
         "Handler 'handler' missing on module 'handler'"),
        ({"handler.py": "def handler(:"}, "handler.handler", "Runtime.UserCodeSyntaxError",
         "Syntax error in module 'handler': invalid syntax (handler.py, line 1)"),
        ({"handler.py": ""}, "handler", "Runtime.MalformedHandlerName",
         "Bad handler 'handler': not enough values to unpack (expected 2, got 1)"),
        ({"handler.py": "def handler(e, c): return {1, 2}"}, "handler.handler", "Runtime.MarshalError",
         "Unable to marshal response: Object of type set is not JSON serializable"),
        ({"handler.py": "def handler(e, c): raise ValueError('wrong')"}, "handler.handler", "ValueError", "wrong"),
    ],
)  # fmt: skip
def test_the_runtimes_own_errors(client, files, handler, error_type, message):
    create(client, "runtime-error", files, Handler=handler)
    answer = client.invoke(FunctionName="runtime-error", Payload=b"{}")
    document = json.load(answer["Payload"])
    client.delete_function(FunctionName="runtime-error")
    assert answer["FunctionError"] == "Unhandled"
    assert (document["errorType"], document["errorMessage"]) == (error_type, message)
    assert "runtime/worker" not in json.dumps(document)


def test_a_response_over_the_limit(client):
    create(client, "large", "def handler(event, context):\n    return 'x' * event['size']")
    fits = client.invoke(FunctionName="large", Payload=b'{"size": 6000000}')
    assert len(fits["Payload"].read()) == 6000002
    answer = client.invoke(FunctionName="large", Payload=b'{"size": 6291600}')
    assert json.load(answer["Payload"]) == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    assert client.invoke(FunctionName="large", Payload=b'{"size": 1}')["Payload"].read() == b'"x"'


def test_a_request_over_the_limit(client):
    create(client, "echo", "def handler(event, context):\n    return len(event)")
    body = json.dumps("x" * (6 * 1024 * 1024 - 2)).encode()
    assert client.invoke(FunctionName="echo", Payload=body)["Payload"].read() == b"6291454"
    with pytest.raises(client.exceptions.ClientError) as caught:
        client.invoke(FunctionName="echo", Payload=body + b" ")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert caught.value.response["Error"] == {
        "Code": "RequestEntityTooLargeException",
        "Message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
    }


@pytest.mark.parametrize("module", ["runtime", "wire", "msgpack", "botocore", "simplejson", "bootstrap", "handler2"])
def test_a_function_that_brings_a_name_of_ours_gets_its_own(client, module):
    files = {
        "handler.py": f"import {module}\ndef handler(event, context):\n    return [{module}.MARK, {module}.__file__]",
        f"{module}.py": f"MARK = 'mine: {module}'",
    }
    create(client, "own-names", files)
    result = json.load(client.invoke(FunctionName="own-names", Payload=b"{}")["Payload"])
    client.delete_function(FunctionName="own-names")
    assert result == [f"mine: {module}", f"/var/task/{module}.py"]


@pytest.mark.parametrize(
    "module", ["runtime", "runtime.wire", "msgpack", "uvloop", "httptools", "click", "psutil", "pip"]
)
def test_functions_see_none_of_our_packages(client, module):
    create(client, "no-names", f"import {module}\ndef handler(event, context):\n    return {module}.__file__")
    answer = client.invoke(FunctionName="no-names", Payload=b"{}")
    client.delete_function(FunctionName="no-names")
    assert json.load(answer["Payload"])["errorMessage"].endswith(f"No module named '{module.split('.')[0]}'")


def test_the_last_line_before_a_kill_is_in_the_log(client):
    source = "import os\ndef handler(event, context):\n    print('last line', end='', flush=True)\n    os._exit(1)"
    create(client, "last-line", source)
    answer = client.invoke(FunctionName="last-line", Payload=b"{}", LogType="Tail")
    assert b"last line" in base64.b64decode(answer["LogResult"])


def test_bad_input_gets_awss_error(client, server):
    create(client, "bad-input", "def handler(event, context):\n    return 1")
    with pytest.raises(
        client.exceptions.InvalidRequestContentException, match="Could not parse request body into json"
    ):
        client.invoke(FunctionName="bad-input", Payload=b"{not json")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Function not found: arn:aws:lambda:"):
        client.invoke(FunctionName="nobody", Payload=b"{}")
    with pytest.raises(client.exceptions.ClientError, match="RequestResponse"):
        client.invoke(FunctionName="bad-input", InvocationType="Sideways")
    assert client.invoke(FunctionName="bad-input", InvocationType="DryRun")["StatusCode"] == 204
