"""What functions may do at the API: what their roles allow, with credentials of their own, in each network mode."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import ROLE, Server, create
from test_auth import ADMIN, USERS, client, not_authorized

from runtime.pool.network import nftables

SOURCE = '''
import http.client, json, os, socket, urllib.parse

ENDPOINT = os.environ.get("AWS_ENDPOINT_URL_LAMBDA", "")


def handler(event, context):
    return globals()[event.pop("do")](**event)


def echo(**event):
    return event


def variables(names):
    return {name: os.environ.get(name) for name in names}


def call(operation, keys=None, **arguments):
    import boto3, botocore.config, botocore.exceptions
    config = botocore.config.Config(retries={"total_max_attempts": 1})
    client = boto3.client("lambda", config=config, **(keys or {}))
    try:
        answer = getattr(client, operation)(**arguments)
    except botocore.exceptions.ClientError as error:
        return [error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"],
                error.response["Error"]["Message"]]
    if "Payload" in answer:
        return json.load(answer["Payload"])
    return answer["ResponseMetadata"]["HTTPStatusCode"]


def unsigned(url=None, method="GET", path="/2015-03-31/functions/", body=None):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url or ENDPOINT).netloc, timeout=5)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return [response.status, response.getheader("x-amzn-ErrorType")]
    except OSError as error:
        return type(error).__name__


def fire_and_forget(url):
    """Send a request and be gone before anybody can look who it was."""
    parts = urllib.parse.urlsplit(url)
    for _ in range(50):
        with socket.create_connection((parts.hostname, parts.port), 5) as client:
            client.sendall(b"PUT /2017-10-31/functions/target/concurrency HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n"
                           b"Content-Length: 35\\r\\n\\r\\n" + b'{"ReservedConcurrentExecutions": 1}')


def loop(left):
    if not left:
        return 0
    result = call("invoke", FunctionName="looping", Payload=json.dumps({"do": "loop", "left": left - 1}))
    return result + 1 if isinstance(result, int) else result


def ping(left):
    if not left:
        return 0
    import boto3
    me = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    other = {"ping": "pong", "pong": "ping"}[me]
    result = call("invoke", FunctionName=other, Payload=json.dumps({"do": "ping", "left": left - 1}))
    return result + 1 if isinstance(result, int) else result
'''
LISTER = "arn:aws:iam::000000000000:role/lister"
POLICY = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "lambda:ListFunctions", "Resource": "*"}}

root = os.geteuid() == 0
MODES = [
    pytest.param({"HOTFORK_SANDBOX_NETWORK": "none"}, id="none"),
    pytest.param(
        {"HOTFORK_SANDBOX_NETWORK": "egress"},
        id="router",
        marks=pytest.mark.skipif(
            not shutil.which("pasta", path=nftables.SEARCH) or not os.access("/dev/net/tun", os.R_OK | os.W_OK),
            reason="needs pasta, and /dev/net/tun open to us",
        ),
    ),
    pytest.param(
        # A PATH without pasta leaves the rules on uids.
        {"HOTFORK_SANDBOX_NETWORK": "egress", "PATH": "/nonexistent"},
        id="rules",
        marks=pytest.mark.skipif(not root or not shutil.which("nft", path=nftables.SEARCH), reason="needs root, nft"),
    ),
    pytest.param(
        {"HOTFORK_SANDBOX_NETWORK": "host"}, id="host", marks=pytest.mark.skipif(not root, reason="needs root")
    ),
]
# Rules of other servers on this machine are about the uids of their functions.
UID_BASE = {"HOTFORK_SANDBOX_UID_BASE": str(1_700_000_000 + os.getpid() * 16 % 100_000_000)}


@contextlib.contextmanager
def serving(folder, *options, **env):
    server = Server(folder / "state", *options, env={**UID_BASE, "HOTFORK_SANDBOX_UID_COUNT": "1000", **env}).start()
    try:
        yield server
    finally:
        assert server.stop() == 0


def functions(one, *names, **options):
    for name in names:
        create(one, name, SOURCE, Timeout=60, MemorySize=256, **options)


def ask(one, name, do, **event):
    answer = one.invoke(FunctionName=name, Payload=json.dumps({"do": do, **event}))
    payload = json.load(answer["Payload"])
    assert "FunctionError" not in answer, payload
    return payload


@pytest.fixture(scope="module", params=MODES)
def opened(request, tmp_path_factory):
    """An open server in one network mode."""
    folder = tmp_path_factory.mktemp("functions")
    roles = folder / "roles.toml"
    roles.write_text(f"[roles.\"{LISTER}\"]\npolicy = '{json.dumps(POLICY)}'\n")
    with serving(folder, **request.param, HOTFORK_AUTH_ROLES=str(roles)) as server:
        functions(server.client(), "caller", "target")
        functions(server.client(), "lister", Role=LISTER)
        yield server


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """An open server as it is without any settings; it may be that functions do not reach it."""
    with serving(tmp_path_factory.mktemp("usual")) as server:
        functions(server.client(), "caller", "target", "looping", "ping", "pong")
        if not ask(server.client(), "caller", "variables", names=["AWS_ENDPOINT_URL_LAMBDA"])[
            "AWS_ENDPOINT_URL_LAMBDA"
        ]:
            pytest.skip("functions do not reach the API here")
        yield server


def test_functions_call_functions(opened):
    one = opened.client()
    event = json.dumps({"do": "echo", "a": 1})
    assert ask(one, "caller", "call", operation="invoke", FunctionName="target", Payload=event) == {"a": 1}
    names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
    mine, others = (ask(one, name, "variables", names=names) for name in ("caller", "target"))
    assert mine["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert all(mine[name] != others[name] for name in names)


def test_functions_may_do_nothing_else(opened):
    one = opened.client()
    me = "arn:aws:sts::000000000000:assumed-role/any/caller"
    target = "arn:aws:lambda:us-east-1:000000000000:function:target"
    for operation, action, resource, arguments in (
        ("list_functions", "lambda:ListFunctions", "*", {}),
        ("get_function", "lambda:GetFunction", target, {"FunctionName": "target"}),
        ("delete_function", "lambda:DeleteFunction", target, {"FunctionName": "target"}),
        (
            "put_function_concurrency",
            "lambda:PutFunctionConcurrency",
            target,
            {"FunctionName": "target", "ReservedConcurrentExecutions": 1},
        ),
    ):
        found = ask(one, "caller", "call", operation=operation, **arguments)
        assert tuple(found) == not_authorized(me, action, resource)


def test_a_role_says_what_its_functions_may(opened):
    one = opened.client()
    assert ask(one, "lister", "call", operation="list_functions") == 200
    me = "arn:aws:sts::000000000000:assumed-role/lister/lister"
    target = "arn:aws:lambda:us-east-1:000000000000:function:target"
    found = ask(one, "lister", "call", operation="invoke", FunctionName="target")
    assert tuple(found) == not_authorized(me, "lambda:InvokeFunction", target)


def test_functions_must_sign_wherever_they_knock(opened):
    """The API is open to this machine's users; a function that does not sign is nobody at every address it reaches."""
    one = opened.client()
    missing = [403, "MissingAuthenticationTokenException"]
    assert ask(one, "caller", "unsigned") == missing
    for method, path in (("POST", "/2015-03-31/functions/target/invocations"), ("GET", "/metrics"), ("GET", "/readyz")):
        assert ask(one, "caller", "unsigned", method=method, path=path)[0] in (403, 404)
    port = opened.url.rsplit(":", 1)[1]
    for host in ("127.0.0.1", "localhost", "0.0.0.0", "198.19.255.254"):
        found = ask(one, "caller", "unsigned", url=f"http://{host}:{port}")
        assert found == missing or isinstance(found, str), (host, found)
    # The control: the same request of a user is answered.
    assert opened.get("/2015-03-31/functions/")[0] == 200


def test_a_function_that_is_gone_before_it_is_looked_at_did_nothing(opened):
    one = opened.client()
    answer = one.invoke(FunctionName="caller", Payload=json.dumps({"do": "fire_and_forget", "url": opened.url}))
    answer["Payload"].read()
    assert "ReservedConcurrentExecutions" not in one.get_function_concurrency(FunctionName="target")


def test_what_others_were_given_is_good_and_what_is_made_up_is_refused(usual):
    one = usual.client()
    names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
    mine = ask(one, "target", "variables", names=names)
    keys = dict(zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), mine.values(), strict=True))
    arguments = {"operation": "invoke", "FunctionName": "target", "Payload": '{"do": "echo"}'}
    assert ask(one, "caller", "call", keys=keys, **arguments) == {}, "bearer credentials, as on AWS"
    for changed, code in (
        ({"aws_secret_access_key": "x" * 40}, "InvalidSignatureException"),
        ({"aws_session_token": keys["aws_session_token"][:-4] + "AAA="}, "UnrecognizedClientException"),
        ({"aws_access_key_id": "ASIAOTHER00000000000"}, "UnrecognizedClientException"),
        ({"aws_access_key_id": "test", "aws_secret_access_key": "test", "aws_session_token": None}, "Unrecognized"),
    ):
        found = ask(one, "caller", "call", keys={**keys, **changed}, **arguments)
        assert found[0] == 403
        assert code in found[1]


def test_a_function_that_calls_itself_is_stopped_after_sixteen_times(usual):
    one = usual.client()
    assert ask(one, "looping", "loop", left=15) == 15
    message = (
        "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services resources "
        "and stopped your function's invocation."
    )
    stopped = [400, "RecursiveInvocationException", message]
    assert ask(one, "looping", "loop", left=16) == stopped
    one.put_function_recursion_config(FunctionName="looping", RecursiveLoop="Allow")
    try:
        assert ask(one, "looping", "loop", left=18) == 18
    finally:
        one.put_function_recursion_config(FunctionName="looping", RecursiveLoop="Terminate")
    assert ask(one, "looping", "loop", left=16) == stopped
    # Of two functions that call each other, each counts for itself.
    assert ask(one, "ping", "ping", left=31) == 31
    assert ask(one, "ping", "ping", left=32) == stopped


def test_on_a_server_that_asks_users_too_functions_are_known_as_well(tmp_path):
    credentials = Path(tmp_path / "credentials.toml")
    credentials.touch(0o600)
    credentials.write_text(USERS)
    with serving(tmp_path, "--credentials", str(credentials)) as server:
        one = client(server, ADMIN)
        functions(one, "caller", "target")
        if ask(one, "caller", "variables", names=["AWS_ENDPOINT_URL_LAMBDA"])["AWS_ENDPOINT_URL_LAMBDA"] is None:
            pytest.skip("functions do not reach the API here")
        event = json.dumps({"do": "echo", "a": 1})
        assert ask(one, "caller", "call", operation="invoke", FunctionName="target", Payload=event) == {"a": 1}
        one.add_permission(FunctionName="target", StatementId="s", Action="lambda:GetFunction", Principal=ROLE)
        assert ask(one, "caller", "call", operation="get_function", FunctionName="target") == 200, "by its own policy"
        keys = {"aws_access_key_id": ADMIN, "aws_secret_access_key": f"secret-of-{ADMIN}", "aws_session_token": ""}
        assert ask(one, "caller", "call", operation="list_functions", keys=keys) == 200, "with a user's own keys"
