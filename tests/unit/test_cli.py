"""The command line: what it asks of the server, what it prints where, how it exits."""

import base64
import io
import json
import os
import platform
import re
import socket
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import click.testing
import lambda_stub
import pytest

from runtime import cli, config, errors
from runtime.cli import client as clients
from runtime.cli import output as outputs
from runtime.cli import package as packages
from runtime.cli import serve as serving
from runtime.pool import diagnosis, isolation

FUNCTIONS = "/2015-03-31/functions"
HELLO = {
    "FunctionName": "hello",
    "Runtime": "python3.12",
    "Handler": "handler.handler",
    "MemorySize": 128,
    "Timeout": 3,
    "CodeSize": 2048,
    "CodeSha256": "old",
    "LastModified": "2026-11-21T10:00:00.000+0000",
    "State": "Active",
    "LastUpdateStatus": "Successful",
}


@pytest.fixture
def server():
    with lambda_stub.running() as stub:
        yield stub


@pytest.fixture
def run(server, monkeypatch):
    """Return a function that runs the command against the stub and returns click's result."""
    for name in list(os.environ):
        if name.startswith(("HOTFORK_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOTFORK_URL", server.url)

    def call(*arguments, stdin=None):
        return click.testing.CliRunner().invoke(cli.main, arguments, input=stdin, prog_name="hotfork")

    return call


def test_help_lists_every_command_in_order(run):
    text = run("--help").stdout
    commands = re.findall(r"^  (\w+)  ", text.partition("Commands:")[2], re.MULTILINE)
    managing = ["versions", "alias", "layer", "concurrency"]
    assert commands == [
        *("serve", "deploy", "dev", "invoke", "ls", "describe", "logs", "events", "rm", *managing, "doctor", "env")
    ]
    assert "Exit codes" in text


def test_client_commands_import_no_sdk_and_no_event_loop():
    code = (
        "import sys\nfrom runtime.cli import main\nmain(['ls', '--url', 'http://127.0.0.1:1'], standalone_mode=False)"
    )
    heavy = ("boto3", "botocore", "asyncio", "uvloop", "msgpack", "sqlite3", "prometheus_client")
    check = f"import atexit, sys; atexit.register(lambda: print([n for n in {heavy!r} if n in sys.modules]))\n"
    done = subprocess.run([sys.executable, "-c", check + code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]"


# ls, describe, rm


def test_ls_follows_the_pages(run, server):
    server.answers[f"GET {FUNCTIONS}/"] = lambda_stub.ok({"Functions": [HELLO], "NextMarker": "a b"})
    second = {**HELLO, "FunctionName": "second"}
    server.answers[f"GET {FUNCTIONS}/?Marker=a%20b"] = lambda_stub.ok({"Functions": [second]})
    result = run("ls")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [HELLO, second]


def test_ls_as_a_table(run, server):
    server.answers[f"GET {FUNCTIONS}/"] = lambda_stub.ok({"Functions": [HELLO, {**HELLO, "MemorySize": 10240}]})
    lines = run("ls", "--output", "table").stdout.splitlines()
    assert lines[0].split()[:3] == ["NAME", "RUNTIME", "HANDLER"]
    assert lines[1].split()[:5] == ["hello", "python3.12", "handler.handler", "128", "3"]
    assert lines[1].index("128") + 3 == lines[2].index("10240") + 5
    assert "2.0 KB" in lines[1]


def test_ls_of_nothing(run, server):
    server.answers[f"GET {FUNCTIONS}/"] = lambda_stub.ok({"Functions": []})
    assert json.loads(run("ls").stdout) == []
    assert run("ls", "--output", "table").stdout.startswith("NAME")


def test_output_is_a_table_on_a_terminal_unless_chosen(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert not outputs.wants_json(None)
    assert outputs.wants_json("json")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert outputs.wants_json(None)
    assert not outputs.wants_json("table")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--output", "table", "ls"),
        ("ls", "--output", "table"),
        ("--output", "json", "ls", "--output", "table"),
    ],
)
def test_the_form_may_be_chosen_before_the_commands_name_or_behind_it(run, server, arguments):
    server.answers[f"GET {FUNCTIONS}/"] = lambda_stub.ok({"Functions": []})
    assert run(*arguments).stdout.startswith("NAME")


def test_the_form_may_come_from_the_environment_but_what_is_typed_goes_before(run, server, monkeypatch):
    server.answers[f"GET {FUNCTIONS}/"] = lambda_stub.ok({"Functions": []})
    monkeypatch.setenv("HOTFORK_OUTPUT", "table")
    assert run("ls").stdout.startswith("NAME")
    assert run("--output", "json", "ls").stdout == "[]\n"
    assert run("ls", "--output", "json").stdout == "[]\n"


def test_a_group_of_commands_takes_the_form_and_the_server_too(run, server, monkeypatch):
    server.answers["GET /_hotfork/events/letters?limit=100"] = lambda_stub.ok({"letters": [], "count": 0, "newest": 0})
    assert run("events", "--output", "table", "list").stdout.startswith("ID")
    monkeypatch.setenv("HOTFORK_URL", "http://127.0.0.1:1")
    assert run("--url", server.url, "events", "--output", "json", "list").stdout == "[]\n"


@pytest.mark.parametrize("command", ["describe", "rm", "invoke", "logs", "versions"])
def test_an_empty_name_is_a_usage_error(run, server, command):
    result = run(command, "")
    assert result.exit_code == 2
    assert "name is empty" in result.stderr
    assert server.seen() == []


def test_rm_deletes_nothing_where_one_name_cannot_be(run, server):
    assert run("rm", "a", "").exit_code == 2
    assert server.seen() == []


def test_describe(run, server):
    answer = {
        "Configuration": {**HELLO, "Environment": {"Variables": {"A": "b"}}, "Layers": [], "Description": ""},
        "Code": {"Location": "http://code"},
        "Tags": {"team": "x"},
    }
    server.answers[f"GET {FUNCTIONS}/hello%3A3"] = lambda_stub.ok(answer)
    assert json.loads(run("describe", "hello:3").stdout) == answer
    lines = dict(line.rsplit("  ", 1) for line in run("describe", "hello:3", "--output", "table").stdout.splitlines())
    fields = {name.strip(): value for name, value in lines.items()}
    assert fields["Environment A"] == "b"
    assert fields["Tag team"] == "x"
    assert fields["Code"] == "http://code"
    assert "Description" not in fields


def test_rm_deletes_all_that_are_named(run, server):
    server.answers[f"DELETE {FUNCTIONS}/a"] = lambda_stub.ok(b"", 204)
    server.answers[f"DELETE {FUNCTIONS}/b"] = lambda_stub.ok(b"", 204)
    assert json.loads(run("rm", "a", "b").stdout) == {"Deleted": ["a", "b"]}
    assert server.seen() == [f"DELETE {FUNCTIONS}/a", f"DELETE {FUNCTIONS}/b"]


def test_a_function_that_does_not_exist_is_the_callers_fault(run):
    result = run("describe", "nope")
    assert result.exit_code == 2
    assert "ResourceNotFoundException: Function not found" in result.stderr
    assert result.stdout == ""


# invoke


def test_invoke_prints_the_payload_as_it_is(run, server):
    server.answers[f"POST {FUNCTIONS}/hello/invocations"] = lambda_stub.ok(b'{"a":1}')
    result = run("invoke", "hello")
    assert (result.exit_code, result.stdout, result.stderr) == (0, '{"a":1}\n', "")
    assert server.requests[0].body == b"{}"
    assert "X-Amz-Log-Type" not in server.requests[0].headers


def test_invoke_sends_and_prints_bytes_untouched(run, server):
    server.answers[f"POST {FUNCTIONS}/hello/invocations"] = lambda_stub.ok(b"\xff\x00")
    result = run("invoke", "hello", "--payload", "-", stdin=b'"\xc3\xbc"')
    assert result.stdout_bytes == b"\xff\x00\n"
    assert server.requests[0].body == b'"\xc3\xbc"'


def test_invoke_reads_the_payload_from_a_file(run, server, tmp_path):
    (tmp_path / "event.json").write_bytes(b"[1]")
    server.answers[f"POST {FUNCTIONS}/hello/invocations"] = lambda_stub.ok(b"null")
    assert run("invoke", "hello", "-p", f"@{tmp_path}/event.json").exit_code == 0
    assert server.requests[0].body == b"[1]"
    result = run("invoke", "hello", "-p", f"@{tmp_path}/nope")
    assert result.exit_code == 2
    assert "nope" in result.stderr


def test_invoke_as_a_table_indents_json_and_leaves_the_rest(run, server):
    path = f"POST {FUNCTIONS}/hello/invocations"
    server.answers[path] = [lambda_stub.ok('{"a":"ü"}'.encode()), lambda_stub.ok(b"plain")]
    assert run("invoke", "hello", "--output", "table").stdout == '{\n  "a": "ü"\n}\n'
    assert run("invoke", "hello", "--output", "table").stdout == "plain\n"


def test_invoke_of_a_function_that_fails_exits_with_1_and_keeps_logs_off_stdout(run, server):
    tail = base64.b64encode(b"START\nREPORT\n").decode()
    failure = b'{"errorMessage": "no", "errorType": "ValueError"}'
    server.answers[f"POST {FUNCTIONS}/hello/invocations"] = lambda_stub.ok(
        failure, X_Amz_Function_Error="Unhandled", X_Amz_Log_Result=tail
    )
    result = run("invoke", "hello", "--log")
    assert result.exit_code == 1
    assert result.stdout.encode() == failure + b"\n"
    assert result.stderr == "START\nREPORT\n"
    assert server.requests[0].headers["X-Amz-Log-Type"] == "Tail"


def test_invoke_refused_by_the_server_exits_with_2(run, server):
    server.answers[f"POST {FUNCTIONS}/hello/invocations"] = lambda_stub.error(
        400, "InvalidRequestContentException", "Could not parse", key="message"
    )
    result = run("invoke", "hello", "-p", "{")
    assert result.exit_code == 2
    assert "InvalidRequestContentException: Could not parse" in result.stderr


def test_a_function_cannot_rule_the_terminal():
    assert outputs.printable("[ERROR] no\rTraceback:\r\xa0 at\r\n") == "[ERROR] no\nTraceback:\n\xa0 at\n"
    assert outputs.printable("\x1b]0;title\x07 \x9b2J ü 🙂\t.") == "\\x1b]0;title\\x07 \\x9b2J ü 🙂\t."


@pytest.mark.parametrize("form", ["json", "table"])
def test_nor_by_what_is_kept_of_it(run, server, form):
    evil = "\x1b[2J\x9b31m\u202e\ud800\nünï 🙂"
    letter = {"id": 1, "function": "f", "ended": "now", "condition": "c", "error_type": evil, "size": 1}
    server.answers["GET /_hotfork/events/letters?limit=100"] = lambda_stub.ok({"letters": [letter], "count": 1})
    tries = [{"at": "then", "durationSeconds": 1.0, "errorType": evil, "errorMessage": evil}]
    shown = {"id": 1, "errorMessage": evil, "payload": evil, "response": evil, "log": evil, "tries": tries}
    server.answers["GET /_hotfork/events/letters/1"] = lambda_stub.ok(shown)
    server.answers[f"GET {FUNCTIONS}/f"] = lambda_stub.ok({"Configuration": {"Description": evil}})
    kept = {
        ("events", "list"): lambda document: document[0]["error_type"],
        ("events", "show", "1"): lambda document: document["log"],
        ("describe", "f"): lambda document: document["Configuration"]["Description"],
    }
    for arguments, field in kept.items():
        result = run(*arguments, "--output", form)
        assert result.exit_code == 0
        assert not set(result.stdout) & set("\x1b\x9b\u202e\ud800")
        assert "ünï 🙂" in result.stdout
        assert form == "table" or field(json.loads(result.stdout)) == evil


def test_dead_letters_beyond_the_limit_are_told(run, server):
    letter = {"id": 1, "function": "f", "ended": "now", "condition": "c", "error_type": "e", "size": 1}
    server.answers["GET /_hotfork/events/letters?limit=1"] = lambda_stub.ok({"letters": [letter], "count": 2000})
    assert run("events", "list", "--limit", "1", "--output", "table").stderr == "1 of 2,000: --limit shows more\n"


def test_dead_letters_that_are_not_there_are_named(run, server):
    server.answers["GET /_hotfork/events/letters?limit=1"] = lambda_stub.ok({"letters": [], "count": 1, "newest": 9})
    server.answers["POST /_hotfork/events/redrive"] = [
        lambda_stub.ok({"redriven": []}),
        lambda_stub.ok({"redriven": [9]}),
        lambda_stub.ok({"redriven": []}),
    ]
    result = run("events", "redrive", "8", "9")
    assert (result.exit_code, json.loads(result.stdout)["redriven"]) == (2, 1)
    assert "There is no dead letter 8." in result.stderr
    server.answers["POST /_hotfork/events/purge"] = lambda_stub.ok({"purged": 0})
    result = run("events", "purge", "7", "7")
    assert (result.exit_code, json.loads(result.stdout)["purged"]) == (2, 0)
    assert "There is no dead letter 7." in result.stderr


# No server


@pytest.mark.parametrize(
    "arguments", [["ls"], ["invoke", "x"], ["describe", "x"], ["logs", "x"], ["rm", "x"], ["logs", "x", "-f"]]
)
def test_no_server_exits_with_3_and_names_cause_and_cure(run, arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        result = run(*arguments, "--url", url)
    assert result.exit_code == 3
    assert f"no hotfork server at {url} (Connection refused): start one with `hotfork serve`" in result.stderr


def test_a_host_without_address_exits_with_3(run):
    assert run("ls", "--url", "http://nothing.invalid:1").exit_code == 3


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ((200, {}, b"<html>"), 3),
        ((502, {}, b"Bad gateway"), 3),
        (lambda_stub.error(500, "ServiceException", "An internal error occurred."), 3),
        (lambda_stub.error(501, "NotImplementedException", "not offered"), 2),
        ((404, {}, b"<html>"), 2),
        (lambda_stub.error(429, "TooManyRequestsException", "Rate Exceeded."), 2),
    ],
)
def test_whose_fault_an_answer_is(run, server, answer, status):
    server.answers[f"GET {FUNCTIONS}/"] = answer
    assert run("ls").exit_code == status


def test_something_that_does_not_speak_http_exits_with_3(run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        code = f"from runtime.cli import main; main(['ls', '--url', {url!r}])"
        with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as child:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")
            _, stderr = child.communicate(timeout=60)
    assert child.returncode == 3
    assert "is another program on this port?" in stderr


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:3001", "http://x:port"])
def test_a_url_that_is_none_is_a_usage_error(run, url):
    assert run("ls", "--url", url).exit_code == 2


@pytest.mark.parametrize(
    ("given", "environ", "expected"),
    [
        (None, {}, "http://127.0.0.1:3001"),
        ("http://a/", {"HOTFORK_URL": "http://b"}, "http://a"),
        (None, {"HOTFORK_URL": "http://b", "AWS_ENDPOINT_URL_LAMBDA": "http://c"}, "http://b"),
        (None, {"AWS_ENDPOINT_URL_LAMBDA": "http://c"}, "http://c"),
        (None, {"HOTFORK_HOST": "10.0.0.1", "HOTFORK_PORT": "9"}, "http://10.0.0.1:9"),
        (None, {"HOTFORK_HOST": "0.0.0.0"}, "http://127.0.0.1:3001"),
        (None, {"HOTFORK_HOST": "::"}, "http://[::1]:3001"),
    ],
)
def test_where_the_server_is(given, environ, expected):
    assert clients.server_url(given, environ) == expected


# env


def test_env_can_be_evaluated_by_a_shell(run, server):
    shell = subprocess.run(
        ["sh", "-c", f'{run("env").stdout}\necho "$AWS_ENDPOINT_URL_LAMBDA $AWS_ACCESS_KEY_ID $AWS_DEFAULT_REGION"'],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert shell.stdout == f"{server.url} hotfork us-east-1\n"


def test_env_as_json_and_with_credentials_of_ones_own(run, server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    result = run("env", "--output", "json")
    assert json.loads(result.stdout) == {
        "AWS_ENDPOINT_URL_LAMBDA": server.url,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_REGION": "eu-central-1",
    }
    assert "secret" not in result.output


# logs


def event(text, stamp=1_700_000_000_123):
    return {"timestamp": stamp, "stream": "s", "message": text}


def test_logs_reads_all_pages_and_stops(run, server, monkeypatch):
    monkeypatch.setattr("runtime.cli.logs.PAGE", 1)
    base = "GET /_hotfork/logs/hello?after="
    server.answers[f"{base}&limit=1"] = lambda_stub.ok({"events": [event("one\n")], "cursor": "c1", "at_end": False})
    server.answers[f"{base}c1&limit=1"] = lambda_stub.ok({"events": [event("two")], "cursor": "c/2", "at_end": False})
    server.answers[f"{base}c%2F2&limit=1"] = lambda_stub.ok({"events": [], "cursor": "c/2", "at_end": True})
    assert run("logs", "hello").stdout == "2023-11-14T22:13:20.123Z one\n2023-11-14T22:13:20.123Z two\n"
    documents = [json.loads(line) for line in run("logs", "hello", "--output", "json").stdout.splitlines()]
    assert documents == [event("one\n"), event("two")]


def test_logs_follow_asks_the_server_to_wait_and_goes_on(run, server):
    base = "GET /_hotfork/logs/hello?after="
    server.answers[f"{base}&limit=1000&wait=20"] = lambda_stub.ok({"events": [event("one")], "cursor": "c1"})
    server.answers[f"{base}c1&limit=1000&wait=20"] = [
        lambda_stub.ok({"events": [], "cursor": "c1"}),
        lambda_stub.ok({"events": [event("two")], "cursor": "c2"}),
    ]
    # The function is deleted meanwhile: what ends --follow here.
    result = run("logs", "hello", "--follow")
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["one", "two"]
    assert result.exit_code == 2


# Packages


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "shop"
    (root / "lib").mkdir(parents=True)
    (root / "handler.py").write_text("def handler(event, context): return 1\n")
    (root / "lib" / "data.txt").write_text("x")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o750)
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "handler.cpython-312.pyc").write_bytes(b"x")
    (root / "function.toml").write_text('handler = "handler.handler"\nmemory = 256\n[environment]\nA = "1"\nB = "2"\n')
    return root


def test_a_folder_is_zipped_deterministically(folder):
    before = packages.read(folder)
    os.utime(folder / "handler.py", (1, 1))
    (folder / "handler.py").chmod(0o600)
    assert packages.read(folder).zip_file == before.zip_file
    (folder / "handler.py").write_text("def handler(event, context): return 2\n")
    assert packages.read(folder).sha256 != before.sha256
    archive = zipfile.ZipFile(io.BytesIO(before.zip_file))
    assert archive.namelist() == ["handler.py", "run.sh", "lib/data.txt"]
    assert [entry.external_attr >> 16 for entry in archive.infolist()] == [0o100644, 0o100755, 0o100644]


def test_function_toml_speaks_for_the_folder_and_options_go_before_it(folder):
    package = packages.read(folder, overrides={"memory": 512, "timeout": None, "environment": {"B": "3"}})
    assert package.name == "shop"
    assert package.configuration == {
        "Handler": "handler.handler",
        "MemorySize": 512,
        "Environment": {"Variables": {"A": "1", "B": "3"}},
    }


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("memroy = 1\n", "'memroy', the nearest known one is 'memory'"),
        ('memory = "1"\n', "memory must be of type int"),
        ("[environment]\nA = 1\n", "values of environment must be texts"),
        ("handler = \n", "function.toml"),
    ],
)
def test_a_wrong_function_toml_says_so(folder, manifest, message):
    (folder / "function.toml").write_text(manifest)
    with pytest.raises(packages.PackageError, match=message):
        packages.read(folder)


@pytest.mark.parametrize("name", ["lambda_function.py", "handler.py"])
def test_the_usual_handlers_are_found(tmp_path, name):
    (tmp_path / name).write_text("")
    expected = {"lambda_function.py": "lambda_function.lambda_handler", "handler.py": "handler.handler"}[name]
    assert packages.read(tmp_path).configuration == {"Handler": expected}


def test_a_zip_goes_as_it_is(folder, tmp_path):
    archive = tmp_path / "thing.zip"
    archive.write_bytes(packages.read(folder).zip_file)
    package = packages.read(archive, overrides={"memory": 512})
    assert package.name == "thing"
    assert package.zip_file == archive.read_bytes()
    assert package.configuration == {"Handler": "handler.handler", "MemorySize": 512}


def test_what_cannot_be_packed_is_refused(folder, tmp_path):
    text = tmp_path / "text.zip"
    text.write_text("no zip")
    with pytest.raises(packages.PackageError, match="neither a folder nor a zip"):
        packages.read(text)
    (tmp_path / "empty").mkdir()
    with pytest.raises(packages.PackageError, match="no file to deploy"):
        packages.read(tmp_path / "empty")
    (folder / "dangling").symlink_to("/nowhere/at/all")
    with pytest.raises(packages.PackageError, match="dangling is not a regular file"):
        packages.read(folder)
    (folder / "dangling").unlink()
    (folder / "linked").symlink_to(folder / "lib")
    with pytest.raises(packages.PackageError, match="linked is a link to a folder"):
        packages.read(folder)
    (folder / "linked").unlink()
    (folder / os.fsdecode(b"odd\xff")).touch()
    with pytest.raises(packages.PackageError, match="is not UTF-8"):
        packages.read(folder)


def test_a_file_that_goes_away_meanwhile_is_told(folder, monkeypatch):
    def vanishing(root):
        yield root / "handler.py"
        yield root / "gone"

    monkeypatch.setattr(packages, "_files", vanishing)
    with pytest.raises(packages.PackageError, match=r"cannot read .*gone: No such file"):
        packages.read(folder)


def test_links_to_files_are_followed(folder):
    (folder / "link.txt").symlink_to(folder / "lib" / "data.txt")
    archive = zipfile.ZipFile(io.BytesIO(packages.read(folder).zip_file))
    assert archive.read("link.txt") == b"x"


def test_the_examples_are_packages():
    examples = {example.name: example for example in packages.examples()}
    assert {"hello", "http", "fails"} <= set(examples)
    request = examples["http"].creation("python3.11")
    assert request["Runtime"] == "python3.11"
    assert request["Environment"] == {"Variables": {"GREETING": "Hello"}}
    assert zipfile.ZipFile(io.BytesIO(request["Code"]["ZipFile"])).namelist() == ["handler.py"]


# deploy

CONFIGURATION = f"{FUNCTIONS}/shop/configuration"


def test_deploy_creates_and_waits_until_active(run, server, folder):
    pending = {**HELLO, "State": "Pending"}
    server.answers[f"POST {FUNCTIONS}"] = lambda_stub.ok(pending, 201)
    server.answers[f"GET {CONFIGURATION}"] = [
        lambda_stub.error(404, "ResourceNotFoundException", "Function not found"),
        lambda_stub.ok(pending),
        lambda_stub.ok(HELLO),
    ]
    result = run("deploy", str(folder), "--timeout", "9", "--env", "C=4=5")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == HELLO
    assert "Packed 3 files" in result.stderr
    assert "shop is Active" in result.stderr
    assert server.seen() == [f"GET {CONFIGURATION}", f"POST {FUNCTIONS}", *[f"GET {CONFIGURATION}"] * 2]
    sent = server.requests[1].document
    code = base64.b64decode(sent.pop("Code")["ZipFile"])
    assert code == packages.read(folder).zip_file
    assert sent == {
        "FunctionName": "shop",
        "Role": packages.ROLE,
        "Runtime": f"python3.{sys.version_info.minor}",
        "Handler": "handler.handler",
        "MemorySize": 256,
        "Timeout": 9,
        "Environment": {"Variables": {"A": "1", "B": "2", "C": "4=5"}},
    }


def test_deploy_updates_what_has_changed(run, server, folder):
    server.answers[f"GET {CONFIGURATION}"] = lambda_stub.ok({**HELLO, "Environment": {"Variables": {"A": "1"}}})
    server.answers[f"PUT {CONFIGURATION}"] = lambda_stub.ok(HELLO)
    server.answers[f"PUT {FUNCTIONS}/shop/code"] = lambda_stub.ok(HELLO)
    result = run("deploy", str(folder))
    assert result.exit_code == 0, result.output
    changes = [request.document for request in server.requests if request.method == "PUT"]
    assert changes[0] == {"MemorySize": 256, "Environment": {"Variables": {"A": "1", "B": "2"}}}
    assert base64.b64decode(changes[1]["ZipFile"]) == packages.read(folder).zip_file


def test_deploy_without_change_changes_nothing(run, server, folder):
    package = packages.read(folder)
    server.answers[f"GET {CONFIGURATION}"] = lambda_stub.ok(
        {**HELLO, **package.configuration, "CodeSha256": package.sha256}
    )
    result = run("deploy", str(folder), "--output", "table")
    assert result.exit_code == 0, result.output
    assert {request.method for request in server.requests} == {"GET"}
    assert "Nothing has changed" in result.stderr
    assert result.stdout == "Try: hotfork invoke shop --log\n"


def test_deploy_reports_a_function_that_failed(run, server, folder):
    server.answers[f"POST {FUNCTIONS}"] = lambda_stub.ok(HELLO, 201)
    server.answers[f"GET {CONFIGURATION}"] = [
        lambda_stub.error(404, "ResourceNotFoundException", "Function not found"),
        lambda_stub.ok({**HELLO, "State": "Failed", "StateReason": "the zip is damaged"}),
    ]
    result = run("deploy", str(folder))
    assert result.exit_code == 1
    assert "shop failed: the zip is damaged" in result.stderr


def test_deploy_wants_a_handler(run, server, folder):
    (folder / "function.toml").unlink()
    (folder / "handler.py").rename(folder / "app.py")
    result = run("deploy", str(folder))
    assert result.exit_code == 2
    assert "--handler MODULE.FUNCTION" in result.stderr
    assert {request.method for request in server.requests} == {"GET"}


@pytest.mark.parametrize("arguments", [["nowhere"], ["{folder}", "--env", "A"], ["{folder}", "--memory", "much"], []])
def test_deploy_usage_errors(run, folder, arguments):
    assert run("deploy", *[argument.format(folder=folder) for argument in arguments]).exit_code == 2


# serve


@pytest.fixture
def started(monkeypatch):
    """Replace the server; return what it was started with."""
    calls = []

    def main(settings, functions, on_ready):
        calls.append((settings, functions))
        on_ready("http://127.0.0.1:3001", "Isolation 3 of 3 (strong): everything is confined")
        return 0

    supervisor = type(sys)("runtime.supervisor")
    supervisor.main = main
    monkeypatch.setitem(sys.modules, "runtime.supervisor", supervisor)
    monkeypatch.setattr("runtime.supervisor", supervisor, raising=False)
    return calls


def test_serve_takes_flags_over_variables_over_the_file(run, started, tmp_path, monkeypatch):
    monkeypatch.delenv("HOTFORK_URL")
    monkeypatch.setenv("HOTFORK_PORT", "2")
    monkeypatch.setenv("HOTFORK_HOST", "127.0.0.2")
    file = tmp_path / "hotfork.toml"
    file.write_text('port = 1\nregion = "eu-west-1"\n')
    result = run("serve", "--config", str(file), "--port", "3", "--state-dir", str(tmp_path))
    assert result.exit_code == 0, result.output
    settings, functions = started[0]
    assert settings == config.Settings(host="127.0.0.2", port=3, region="eu-west-1", state_dir=tmp_path)
    assert functions == []
    assert result.stdout.splitlines() == [
        "hotfork listens on http://127.0.0.1:3001",
        "Isolation 3 of 3 (strong): everything is confined",
    ]


def test_serve_hands_over_the_examples_and_prints_what_to_try(run, started):
    result = run("serve", "--examples", "--isolation", "auto")
    assert result.exit_code == 0, result.output
    settings, functions = started[0]
    assert settings.isolation == "auto"
    assert {request["FunctionName"] for request in functions} >= {"hello", "http", "fails"}
    assert "curl -d" in result.stdout
    assert "aws lambda invoke" in result.stdout
    assert "boto3" in result.stdout


def test_serve_names_what_is_wrong_with_the_settings(run, started, monkeypatch):
    monkeypatch.setenv("HOTFORK_PROT", "1")
    result = run("serve")
    assert result.exit_code == 2
    assert "HOTFORK_PROT" in result.stderr
    assert not started


def test_serve_names_what_is_missing_for_strong_isolation(run, started, monkeypatch):
    def refuse(*_):
        raise errors.IsolationError("no user namespaces: sysctl kernel.unprivileged_userns_clone=1")

    monkeypatch.setattr(sys.modules["runtime.supervisor"], "main", refuse)
    result = run("serve")
    assert result.exit_code == 1
    assert "no user namespaces" in result.stderr


def test_programs_are_printed_as_one_types_them(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "/usr/bin:/opt/bin")
    monkeypatch.chdir(tmp_path)
    assert serving._typed("/opt/bin/hotfork") == "hotfork"
    assert serving._typed(str(tmp_path / ".venv/bin/hotfork")) == ".venv/bin/hotfork"
    assert serving._typed("/elsewhere/hotfork") == "/elsewhere/hotfork"
    assert Path(serving._typed(sys.executable)).name == Path(sys.executable).name


# doctor


def report(*controls, level=2):
    return isolation.Report(level=level, mode="root", cgroups="v1", controls=controls)


def test_doctor_says_what_is_missing_why_and_what_to_do(run, monkeypatch):
    controls = (
        diagnosis.Control(name="pid", engaged=True),
        diagnosis.Control(name="cgroup_memory", engaged=False, why="not delegated", cure="use Delegate=yes"),
        diagnosis.Control(name="egress", engaged=False, why="no nftables"),
    )
    monkeypatch.setattr(isolation, "probe", lambda: report(*controls))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    assert json.loads(run("doctor").stdout) == {
        "level": 2,
        "mode": "root",
        "cgroups": "v1",
        "controls": [
            {"name": "pid", "engaged": True, "why": "", "cure": ""},
            {"name": "cgroup_memory", "engaged": False, "why": "not delegated", "cure": "use Delegate=yes"},
            {"name": "egress", "engaged": False, "why": "no nftables", "cure": ""},
        ],
        "interpreter": {"version": platform.python_version(), "optimised": True},
    }
    lines = run("doctor", "--output", "table").stdout.splitlines()
    assert lines[0].startswith("Isolation: level 2 of 3 (namespaced)")
    assert [line.strip() for line in lines[1:]] == [
        "pid            engaged",
        "cgroup_memory  MISSING: not delegated",
        "to do: use Delegate=yes",
        "egress         MISSING: no nftables",
    ]


@pytest.mark.parametrize(
    ("prefix", "options", "optimised"),
    [
        ("/usr", "--prefix=/usr", True),
        ("/opt/python", "'--enable-optimizations' '--with-lto'", True),
        ("/opt/python", "--enable-shared", False),
        ("/opt/python", None, False),
    ],
)
def test_doctor_says_where_the_interpreter_is_slow(run, monkeypatch, prefix, options, optimised):
    monkeypatch.setattr(isolation, "probe", lambda: report(diagnosis.Control(name="pid", engaged=True)))
    monkeypatch.setattr(sys, "base_prefix", prefix)
    monkeypatch.setattr(sysconfig, "get_config_var", {"CONFIG_ARGS": options}.get)
    assert json.loads(run("doctor").stdout)["interpreter"]["optimised"] is optimised
    assert ("--enable-optimizations" in run("doctor", "--output", "table").stdout) is not optimised


def test_doctor_on_a_machine_without_any_sandbox(run, monkeypatch):
    def fail():
        raise errors.IsolationError("no worker can be confined here")

    monkeypatch.setattr(isolation, "probe", fail)
    result = run("doctor")
    assert result.exit_code == 1
    assert "no worker can be confined here" in result.stderr
