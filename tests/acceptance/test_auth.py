"""Authentication and authorisation of users, as AWS's own clients meet them, and each way of failing."""

import base64
import datetime as dt
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from unittest import mock

import boto3
import botocore
import botocore.auth
import botocore.config
import botocore.exceptions
import pytest
from conftest import HOTFORK, ROLE, Server, create, until, zipped

AWS = Path(sys.executable).with_name("aws")
ADMIN, BOB, DENIED = "AKIAADMIN0000000001", "AKIABOB000000000001", "AKIADENIED000000001"
HELLO = "arn:aws:lambda:us-east-1:000000000000:function:hello"
ECHO = "def handler(event, context):\n    return event\n"


def secret(key_id):
    return f"secret-of-{key_id}"


def user(name, key_id, *statements):
    policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    lines = [f'access_key_id = "{key_id}"', f'secret_access_key = "{secret(key_id)}"', f"policy = '{policy}'"]
    return "\n".join([f"[users.{name}]", *lines, ""])


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*", **more):
    return {**allow(action, resource, **more), "Effect": "Deny"}


USERS = "".join(
    [
        user("admin", ADMIN, allow("*")),
        user("bob", BOB, allow(["lambda:InvokeFunction", "lambda:GetFunction"], "arn:aws:lambda:*:*:function:h*")),
        user("denied", DENIED, allow("lambda:*"), deny("lambda:InvokeFunction", HELLO)),
    ]
)


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    path = tmp_path_factory.mktemp("auth") / "credentials.toml"
    path.touch(0o600)
    path.write_text(USERS)
    return path


@pytest.fixture(scope="module")
def signed(credentials, tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("signed") / "state", "--credentials", str(credentials)).start()
    try:
        admin = client(server, ADMIN)
        create(admin, "hello", ECHO)
        create(admin, "other", ECHO)
        yield server
    finally:
        assert server.stop() == 0


def client(server, key_id=ADMIN, secret_key=None, **options):
    config = botocore.config.Config(retries={"total_max_attempts": 1}, **options.pop("config", {}))
    options = {"region_name": "us-east-1", **options}
    return boto3.client(
        "lambda",
        endpoint_url=server.url,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret_key or secret(key_id),
        config=config,
        **options,
    )


def refusal(call, *arguments, **keywords):
    """Return (status, code, message) of a call that must fail."""
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(*arguments, **keywords)
    response = raised.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def not_authorized(who, action, resource, why="because no identity-based policy allows the {action} action"):
    message = f"User: {who} is not authorized to perform: {action} on resource: {resource} {why.format(action=action)}"
    return 403, "AccessDeniedException", message


def arn(name):
    return f"arn:aws:iam::000000000000:user/{name}"


def test_who_may_everything_may(signed):
    admin = client(signed)
    answer = admin.invoke(FunctionName="hello", Payload=b'{"a": 1}')
    assert json.load(answer["Payload"]) == {"a": 1}
    assert [one["FunctionName"] for one in admin.list_functions()["Functions"]] == ["hello", "other"]
    large = json.dumps("x" * 1_000_000).encode()
    assert admin.invoke(FunctionName="hello", Payload=large)["Payload"].read() == large
    assert admin.invoke(FunctionName="hello", InvocationType="Event")["StatusCode"] == 202
    stream = admin.invoke_with_response_stream(FunctionName="hello", Payload=b'"s"')["EventStream"]
    assert b"".join(part["PayloadChunk"]["Payload"] for part in stream if "PayloadChunk" in part) == b'"s"'


def test_who_may_little_may_no_more(signed):
    bob = client(signed, BOB)
    assert bob.invoke(FunctionName="hello")["StatusCode"] == 200
    assert bob.invoke(FunctionName=HELLO, Qualifier="$LATEST")["StatusCode"] == 200
    assert bob.invoke(FunctionName="hello", InvocationType="DryRun")["StatusCode"] == 204
    assert bob.get_function(FunctionName="hello")["Configuration"]["FunctionName"] == "hello"
    other = HELLO.replace("hello", "other")
    assert refusal(bob.invoke, FunctionName="other") == not_authorized(arn("bob"), "lambda:InvokeFunction", other)
    for kind in ("Event", "DryRun"):
        assert refusal(bob.invoke, FunctionName="other", InvocationType=kind)[0] == 403
    assert refusal(bob.invoke_with_response_stream, FunctionName="other")[0] == 403
    assert refusal(bob.invoke_async, FunctionName="hello", InvokeArgs=b"{}") == not_authorized(
        arn("bob"), "lambda:InvokeAsync", HELLO
    )
    assert refusal(bob.list_functions) == not_authorized(arn("bob"), "lambda:ListFunctions", "*")
    assert refusal(bob.delete_function, FunctionName="hello") == not_authorized(
        arn("bob"), "lambda:DeleteFunction", HELLO
    )
    # Whoever may not know of a function does not learn whether there is one.
    assert refusal(bob.invoke, FunctionName="nobodys")[0] == 403


def test_an_explicit_deny_wins(signed):
    denied = client(signed, DENIED)
    assert denied.invoke(FunctionName="other")["StatusCode"] == 200
    expected = not_authorized(
        arn("denied"), "lambda:InvokeFunction", HELLO, "with an explicit deny in an identity-based policy"
    )
    assert refusal(denied.invoke, FunctionName="hello") == expected


def test_a_functions_own_policy_lets_in_whom_it_names(signed):
    admin, bob, denied = client(signed), client(signed, BOB), client(signed, DENIED)
    grant = {"StatementId": "bob", "Action": "lambda:InvokeFunction"}
    admin.add_permission(FunctionName="other", Principal=arn("bob"), **grant)
    try:
        assert bob.invoke(FunctionName="other")["StatusCode"] == 200
        assert refusal(bob.invoke, FunctionName="other", Qualifier="$LATEST")[0] == 403, "the policy is of the function"
    finally:
        admin.remove_permission(FunctionName="other", StatementId="bob")
    assert refusal(bob.invoke, FunctionName="other")[0] == 403
    admin.add_permission(FunctionName="hello", Principal=arn("denied"), **grant)
    try:
        assert refusal(denied.invoke, FunctionName="hello")[0] == 403
    finally:
        admin.remove_permission(FunctionName="hello", StatementId="bob")


def test_to_give_a_function_a_role_takes_the_right_to_pass_it(signed):
    denied = client(signed, DENIED)
    code = {"ZipFile": zipped({"handler.py": ECHO})}
    arguments = {"FunctionName": "new", "Runtime": "python3.11", "Handler": "handler.handler", "Code": code}
    expected = not_authorized(arn("denied"), "iam:PassRole", ROLE)
    assert refusal(denied.create_function, Role=ROLE, **arguments) == expected
    assert refusal(denied.update_function_configuration, FunctionName="other", Role=ROLE) == expected
    assert denied.update_function_configuration(FunctionName="other", Description="d")["Description"] == "d"
    stored = {"S3Bucket": "bucket", "S3Key": "key.zip"}
    assert refusal(denied.update_function_code, FunctionName="other", **stored) == not_authorized(
        arn("denied"), "s3:GetObject", "arn:aws:s3:::bucket/key.zip"
    )


INVALID_TOKEN = (403, "UnrecognizedClientException", "The security token included in the request is invalid.")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"config": {"signature_version": botocore.UNSIGNED}}, "MissingAuthenticationTokenException", "Missing"),
        ({"secret_key": "x" * 40}, "InvalidSignatureException", "The request signature we calculated does not match"),
        ({"key_id": "AKIANOBODY000000001"}, "UnrecognizedClientException", "The security token included"),
        ({"aws_session_token": "token"}, "UnrecognizedClientException", "The security token included"),
        ({"region_name": "eu-west-1"}, "InvalidSignatureException", "scoped to a valid region, not 'eu-west-1'"),
    ],
    ids=str,
)
def test_who_does_not_sign_well_is_not_let_in(signed, options, code, message):
    one = client(signed, **options)
    for call in (one.list_functions, lambda: one.invoke(FunctionName="hello"), lambda: one.invoke(FunctionName="gone")):
        status, found, text = refusal(call)
        assert (status, found) == (403, code)
        assert message in text


@pytest.mark.parametrize(("minutes", "message"), [(-16, "Signature expired"), (16, "Signature not yet current")])
def test_clocks_may_differ_by_a_quarter_of_an_hour(signed, minutes, message):
    then = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(minutes=minutes)
    admin = client(signed)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=then):
        assert message in refusal(admin.list_functions)[2]
    near = then - dt.timedelta(minutes=minutes / 8)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=near):
        assert admin.list_functions()["Functions"]


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_body_that_was_changed_on_the_way_is_refused(signed, size):
    admin = client(signed)

    def change(request, **_):
        request.body = request.body[:-2] + b'y"'

    admin.meta.events.register("before-send.lambda.Invoke", change)
    status, code, _ = refusal(admin.invoke, FunctionName="hello", Payload=json.dumps("x" * size).encode())
    assert (status, code) == (403, "InvalidSignatureException")


def fetch(url, method="GET", headers=None, body=None):
    """Return (status, headers, body)."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_presigned_urls_are_good_for_a_while(signed):
    bob = client(signed, BOB)
    url = bob.generate_presigned_url("get_function", {"FunctionName": "hello"}, ExpiresIn=60)
    status, _, body = fetch(url)
    assert (status, json.loads(body)["Configuration"]["FunctionName"]) == (200, "hello")
    for changed in (url.replace("hello", "other"), url.replace("Expires=60", "Expires=600"), url + "&Qualifier=1"):
        status, headers, _ = fetch(changed)
        assert (status, headers["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")
    past = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(seconds=61)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=past):
        url = bob.generate_presigned_url("get_function", {"FunctionName": "hello"}, ExpiresIn=60)
    status, _, body = fetch(url)
    assert status == 403
    assert "Signature expired" in json.loads(body)["message"]


def test_links_to_code_need_no_further_signature(signed):
    link = client(signed, BOB).get_function(FunctionName="hello")["Code"]["Location"]
    assert fetch(link)[0] == 200
    assert fetch(link[:-1] + ("0" if link[-1] != "0" else "1"))[0] == 403
    assert fetch(re.sub(r"\?.*", "", link))[0] == 403


@pytest.fixture
def run(signed, tmp_path):
    """Run one of AWS's or our own commands as a user."""

    def run(program, *arguments, key_id=BOB, secret_key=None):
        keys = {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret_key or secret(key_id)} if key_id else {}
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL_LAMBDA": signed.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            **keys,
        }
        command = [str(program), *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_the_aws_cli_signs(run):
    done = run(AWS, "lambda", "invoke", "--function-name", "hello", "--payload", '"1"', "/dev/stdout")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('"1"')
    done = run(AWS, "lambda", "delete-function", "--function-name", "hello")
    assert "AccessDeniedException" in done.stderr
    assert "user/bob is not authorized to perform: lambda:DeleteFunction" in done.stderr
    done = run(AWS, "lambda", "list-functions", secret_key="x" * 40)
    assert "InvalidSignatureException" in done.stderr


def test_our_own_command_line_signs(run):
    assert json.loads(run(HOTFORK, "invoke", "hello", "--payload", '{"a": [1]}').stdout) == {"a": [1]}
    assert {one["FunctionName"] for one in json.loads(run(HOTFORK, "ls", key_id=ADMIN).stdout)} == {"hello", "other"}
    assert run(HOTFORK, "logs", "hello", key_id=ADMIN).returncode == 0
    for key_id, error in ((BOB, "AccessDeniedException"), (None, "MissingAuthenticationTokenException")):
        done = run(HOTFORK, "ls", key_id=key_id)
        assert done.returncode == 2
        assert error in done.stderr
    assert "set AWS_ACCESS_KEY_ID" in run(HOTFORK, "ls", key_id=None).stderr
    assert "logs:FilterLogEvents" in run(HOTFORK, "logs", "hello").stderr


def basic(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_pages_ask_as_the_api_does_but_for_health(signed):
    assert fetch(signed.url + "/healthz")[0] == 200
    assert fetch(signed.url + "/readyz")[0] == 200
    status, headers, body = fetch(signed.url + "/metrics")
    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="hotfork", charset="UTF-8"')
    assert json.loads(body) == {"message": "Missing Authentication Token"}
    status, _, body = fetch(signed.url + "/metrics", headers=basic(ADMIN, secret(ADMIN)))
    assert status == 200
    assert b"hotfork_invocations_total" in body
    for name, password in ((BOB, secret(BOB)), (ADMIN, "wrong"), ("nobody", "x"), (ADMIN, "")):
        status, headers, _ = fetch(signed.url + "/metrics", headers=basic(name, password))
        assert status == 403, name
    for header in ("Basic", "Basic !", "Basic /////w==", "Bearer x"):
        assert fetch(signed.url + "/metrics", headers={"Authorization": header})[0] in (401, 403)
    assert fetch(signed.url + "/2015-03-31/functions/", headers=basic(ADMIN, secret(ADMIN)))[0] == 403


def test_no_secret_is_shown_anywhere(signed):
    for path in ("/readyz", "/healthz"):
        assert secret(ADMIN).encode() not in fetch(signed.url + path)[2]
    state = signed.state_dir
    text = "".join(path.read_text(errors="replace") for path in state.rglob("*") if path.is_file())
    text += Path(signed.log.name).read_text()
    assert "hello" in text
    for key_id in (ADMIN, BOB, DENIED):
        assert secret(key_id) not in text


def test_a_file_that_changes_is_read_again(tmp_path):
    path = tmp_path / "credentials.toml"
    path.touch(0o600)
    path.write_text(user("admin", ADMIN, allow("*")))
    server = Server(tmp_path / "state", "--credentials", str(path)).start()
    try:
        assert client(server).list_functions()["Functions"] == []
        path.write_text(user("bob", BOB, allow("*")))
        until(lambda: lists(client(server, BOB)))
        assert refusal(client(server).list_functions) == INVALID_TOKEN
        path.write_text("nonsense")
        path.chmod(0o644)
        until(lambda: lists(client(server, BOB)) and "what was read before stands" in Path(server.log.name).read_text())
    finally:
        assert server.stop() == 0


def lists(one):
    try:
        return one.list_functions()["Functions"] == []
    except botocore.exceptions.ClientError:
        return False


def refused_start(tmp_path, *options, **env):
    with pytest.raises(AssertionError) as raised:
        Server(tmp_path / "state", *options, env=env).start()
    return str(raised.value)


def test_the_server_does_not_start_with_keys_that_others_can_read(tmp_path, credentials):
    path = tmp_path / "credentials.toml"
    path.write_text(credentials.read_text())
    path.chmod(0o640)
    printed = refused_start(tmp_path, "--credentials", str(path))
    assert f"chmod 600 {path}" in printed
    assert "secret-of" not in printed
    assert "cannot be read" in refused_start(tmp_path, "--credentials", str(tmp_path / "absent.toml"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_the_server_does_not_start_open_on_other_addresses(tmp_path, host):
    printed = refused_start(tmp_path, "--host", host)
    assert "--credentials FILE" in printed
    assert "--insecure" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("options", [("--insecure",), ("--credentials",)])
def test_it_does_where_that_is_wanted(tmp_path, credentials, options):
    if options == ("--credentials",):
        options = (*options, str(credentials))
    server = Server(tmp_path / "state", "--host", "0.0.0.0", *options).start()
    notice = [server.process.stdout.readline() for _ in range(2)][1]
    try:
        assert ("whoever reaches this address" in notice) is (options == ("--insecure",))
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert client(server).list_functions()["Functions"] == []
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HOTFORK_AUTH_METRICS": "open", "HOTFORK_AUTH_HEALTH": "signed"}, {"/metrics": 200, "/healthz": 401}),
        ({"HOTFORK_AUTH_METRICS": "off", "HOTFORK_AUTH_HEALTH": "off"}, {"/metrics": 404, "/readyz": 404}),
    ],
    ids=str,
)
def test_pages_have_switches_of_their_own(tmp_path, credentials, variables, expected):
    server = Server(tmp_path / "state", "--credentials", str(credentials), env=variables).start()
    try:
        assert {path: fetch(server.url + path)[0] for path in expected} == expected
    finally:
        assert server.stop() == 0


def test_an_open_server_is_open_to_its_machine_and_not_to_pages_that_somebody_looks_at(server):
    url = server.url + "/2015-03-31/functions/"
    port = url.split(":")[2].split("/")[0]
    assert fetch(url)[0] == 200
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", "127.0.0.1", f"[::1]:{port}", "x.localhost"):
        assert fetch(url, headers={"Host": host})[0] == 200, host
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "192.0.2.1",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
    ):
        assert fetch(url, headers={"Host": host})[0] == 403, host
    for path in ("/metrics", "/readyz"):
        assert fetch(server.url + path, headers={"Host": "evil.example"})[0] == 403
    for origin in ("http://evil.example", "null", "http://localhost:1", "http://evil.example/127.0.0.1"):
        status, headers, _ = fetch(url, "POST", {"Origin": origin, "Content-Type": "text/plain"}, b"{}")
        assert (status, headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException"), origin
    assert fetch(url, headers={"Origin": server.url})[0] == 200
