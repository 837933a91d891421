"""The hotfork command against a real server, as a user types it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
HOTFORK = str(BIN / "hotfork")
DEADLINE_S = 60


@pytest.fixture
def environ(server):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOTFORK_", "AWS_"))}
    return {**kept, "HOTFORK_URL": server.url, "PATH": f"{BIN}:{os.environ['PATH']}"}


@pytest.fixture
def run(environ):
    def call(*arguments, **options):
        return subprocess.run(
            [HOTFORK, *arguments],
            env=environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            **options,
        )

    return call


@pytest.fixture
def shop(run, tmp_path):
    """A deployed function, and its folder."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "handler.py").write_text(
        "import os\n"
        "def handler(event, context):\n"
        "    print('serving', event)\n"
        "    if event.get('fail'):\n"
        "        raise KeyError('no such thing')\n"
        "    return {'event': event, 'colour': os.environ['COLOUR'], 'memory': context.memory_limit_in_mb}\n"
    )
    (folder / "function.toml").write_text('memory = 256\n[environment]\nCOLOUR = "red"\n')
    done = run("deploy", str(folder))
    assert done.returncode == 0, done.stderr
    yield folder
    run("rm", "shop")


def test_deploy_list_describe_remove(run, shop):
    listed = {function["FunctionName"]: function for function in json.loads(run("ls").stdout)}
    assert listed["shop"]["MemorySize"] == 256
    assert re.search(
        r"^shop +python3\.\d+ +handler\.handler +256 ", run("ls", "--output", "table").stdout, re.MULTILINE
    )
    assert json.loads(run("describe", "shop").stdout)["Configuration"]["State"] == "Active"
    assert re.search(r"^Environment COLOUR +red$", run("describe", "shop", "--output", "table").stdout, re.MULTILINE)
    assert run("rm", "shop").returncode == 0
    gone = run("describe", "shop")
    assert gone.returncode == 2
    assert "ResourceNotFoundException" in gone.stderr


def test_invoke_separates_payload_from_log(run, shop):
    done = run("invoke", "shop", "--payload", '{"a": "ü"}', "--log")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"event": {"a": "ü"}, "colour": "red", "memory": "256"}
    lines = done.stderr.splitlines()
    assert lines[0].startswith("START RequestId: ") or lines[0].startswith("INIT_START ")
    assert "serving {'a': 'ü'}" in lines
    assert any(line.startswith("REPORT RequestId: ") for line in lines)
    assert run("invoke", "shop", "-p", "-", input="{}").stdout == run("invoke", "shop").stdout


def test_a_function_that_fails_exits_with_1(run, shop):
    done = run("invoke", "shop", "-p", '{"fail": true}')
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "KeyError"


def test_a_payload_that_is_no_json_exits_with_2(run, shop):
    done = run("invoke", "shop", "-p", "{")
    assert done.returncode == 2
    assert "InvalidRequestContentException" in done.stderr


def test_a_second_deployment_changes_what_has_changed(run, shop):
    assert "Nothing has changed" in run("deploy", str(shop)).stderr
    (shop / "handler.py").write_text("def handler(event, context): return 'second'\n")
    again = run("deploy", str(shop), "--timeout", "7")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["Timeout"] == 7
    assert run("invoke", "shop").stdout == '"second"\n'


def test_logs(run, shop):
    run("invoke", "shop", "-p", '{"n": 1}')
    run("invoke", "shop", "-p", '{"n": 2}')
    text = run("logs", "shop").stdout
    assert text.index("serving {'n': 1}") < text.index("serving {'n': 2}")
    events = [json.loads(line) for line in run("logs", "shop", "--output", "json").stdout.splitlines()]
    served = [event["message"].rstrip() for event in events if "serving" in event["message"]]
    # A log outlives its function, as on AWS: earlier tests' shops are in it.
    assert served[-2:] == ["serving {'n': 1}", "serving {'n': 2}"]


def test_logs_follow_shows_what_comes_and_ends_on_interrupt(run, shop, environ):
    run("invoke", "shop", "-p", '{"n": "before"}')
    command = [HOTFORK, "logs", "shop", "--follow"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        try:
            assert any("before" in line for line in follower.stdout)
            run("invoke", "shop", "-p", '{"n": "after"}')
            assert any("after" in line for line in follower.stdout)
            follower.send_signal(signal.SIGINT)
            _, stderr = follower.communicate(timeout=DEADLINE_S)
        finally:
            follower.kill()
    assert follower.returncode == 130
    assert stderr == ""


def test_env_leads_awss_own_command_line_here(environ, shop):
    script = (
        'eval "$(hotfork env)" && aws lambda list-functions --query "Functions[].FunctionName" --output json'
        " && aws lambda invoke --function-name shop /dev/stdout"
    )
    done = subprocess.run(
        ["sh", "-c", script], env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"shop"' in done.stdout
    assert '"colour": "red"' in done.stdout


def test_no_server_exits_with_3(run):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        done = run("ls", "--url", f"http://127.0.0.1:{free.getsockname()[1]}")
    assert done.returncode == 3
    assert "start one with `hotfork serve`" in done.stderr


@pytest.mark.parametrize("command", ["ls", "describe", "invoke", "logs", "rm", "env"])
def test_client_commands_import_nothing_heavy(command):
    # What keeps `hotfork ls` under 100 ms of CPU time; a test of the time itself would test the machine.
    program = (
        "import sys; from runtime.cli import main\n"
        f"try: main([{command!r}, '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'boto3', 'botocore', 'asyncio', 'uvloop', 'msgpack', 'psutil', 'sqlite3', 'prometheus_client'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: []\n")


def test_doctor_explains_each_control(run):
    done = run("doctor")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["level"] in range(4)
    assert len(report["controls"]) > 5
    assert all(control["engaged"] or control["why"] for control in report["controls"])
    table = run("doctor", "--output", "table").stdout
    assert all(control["name"] in table for control in report["controls"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "/nowhere/hotfork.toml"], "/nowhere/hotfork.toml"),
        (["--port", "70000"], "port is 70000"),
        (["--isolation", "weak"], "weak"),
    ],
)
def test_serve_refuses_wrong_settings(run, tmp_path, arguments, message):
    done = run("serve", "--state-dir", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_serve_refuses_a_port_that_is_taken(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run("serve", "--isolation", "auto", "--state-dir", str(tmp_path), "--port", port)
    assert done.returncode in {1, 2}
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_make_serve_prints_lines_that_work(environ, tmp_path):
    """The first minute: what `make serve` tells one to try is tried, as it was printed."""
    venv = BIN.parent
    command = ["make", f"--old-file={venv}/.installed", "serve", f"VENV={venv}", f"STATE={tmp_path}/state"]
    command.append("ARGS=--port 0")
    del environ["HOTFORK_URL"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as serving:
        try:
            printed = []
            for line in serving.stdout:
                printed.append(line.strip())
                if "import boto3" in line:
                    break
            listening = next(i for i, line in enumerate(printed) if "listens on" in line)
            url = printed[listening].split()[-1]
            assert "solation" in printed[listening + 1]
            curl, evaluation, aws, boto3 = (
                next(line for line in printed if line.startswith(start) or start in line)
                for start in ("curl", "eval", "aws lambda", "import boto3")
            )

            def shell(script):
                return subprocess.run(
                    ["sh", "-c", script],
                    cwd=ROOT,
                    env=environ,
                    capture_output=True,
                    text=True,
                    timeout=DEADLINE_S,
                    check=True,
                ).stdout

            assert json.loads(shell(curl))["message"] == "Hello, you!"
            assert "Hello, world!" in shell(f"{evaluation}\n{aws}")
            assert "Hello, world!" in shell(f"{evaluation}\n{boto3}")
            with urllib.request.urlopen(f"{url}/readyz", timeout=DEADLINE_S) as ready:
                assert ready.status == 200
        finally:
            os.killpg(serving.pid, signal.SIGINT)
            serving.communicate(timeout=DEADLINE_S)
