"""``hotfork dev``: a folder, edited while it is called."""

import json
import os
import signal
import socket
import subprocess
import threading

import psutil
import pytest
from conftest import HOTFORK, until

SOURCE = """
import helper
def handler(event, context):
    print("called")
    return helper.NUMBER
"""


class Dev:
    """A `hotfork dev` of the test's own."""

    def __init__(self, folder, *options, **env):
        self.lines = []
        command = [str(HOTFORK), "dev", str(folder), *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **env}
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def said(self, text, count=1):
        return sum(text in line for line in self.lines) >= count

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        try:
            status = self.process.wait(60)
        finally:
            self.process.kill()
        self.reader.join()
        self.process.stdout.close()
        return status


@pytest.fixture
def folder(tmp_path):
    code = tmp_path / "edited"
    code.mkdir()
    (code / "handler.py").write_text(SOURCE)
    (code / "helper.py").write_text("NUMBER = 0")
    return code


def invoked(client):
    answer = client.invoke(FunctionName="edited")
    return answer.get("FunctionError"), json.load(answer["Payload"])


def test_edits_under_load_lose_no_call_and_leave_no_old_code(server, client, folder):
    dev = Dev(folder, "--url", server.url)
    results, ended = [], threading.Event()

    def call():
        while not ended.is_set():
            results.append(invoked(client))

    try:
        until(lambda: dev.said("is served at"))
        callers = [threading.Thread(target=call) for _ in range(3)]
        for caller in callers:
            caller.start()
        for number in range(1, 9):
            (folder / "helper.py").write_text(f"NUMBER = {number}")
            until(lambda number=number: dev.said("Ready after", number))
            assert invoked(client) == (None, number)
        ended.set()
        for caller in callers:
            caller.join()
        until(lambda: dev.said("called"))
    finally:
        ended.set()
        assert dev.stop() == 128 + signal.SIGINT
    assert {error for error, _ in results} == {None}
    assert {number for _, number in results} <= set(range(9))
    client.delete_function(FunctionName="edited")


def test_without_a_server_it_starts_one_and_shows_what_cannot_be_compiled(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    dev = Dev(folder, HOTFORK_PORT=port)
    url = f"http://127.0.0.1:{port}"
    command = [str(HOTFORK), "invoke", "edited", "--url", url]
    try:
        until(lambda: dev.said(f"is served at {url}"))
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "0"
        (folder / "sub").mkdir()
        until(lambda: dev.said("Ready after"))
        (folder / "sub" / "__init__.py").write_text("NUMBER = 7")
        (folder / "helper.py").write_text("from sub import NUMBER")
        until(lambda: subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "7")
        (folder / "handler.py").write_text("def handler(event, context)\n    return 1")
        until(lambda: dev.said("SyntaxError: expected ':'"))
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        assert answer.returncode == 1
        assert json.loads(answer.stdout)["errorType"] == "Runtime.UserCodeSyntaxError"
        (folder / "handler.py").write_text(SOURCE)
        until(lambda: subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "7")
        until(lambda: dev.said("called"))
    finally:
        assert dev.stop(signal.SIGTERM) == 128 + signal.SIGTERM
    with socket.socket() as gone, pytest.raises(ConnectionRefusedError):
        gone.connect(("127.0.0.1", int(port)))


def test_its_server_goes_with_it_even_when_it_is_killed(folder, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    scratch.chmod(0o755)
    dev = Dev(folder, HOTFORK_PORT="0", TMPDIR=str(scratch))
    until(lambda: dev.said("is served at"))
    server = psutil.Process(dev.process.pid).children()[0]
    family = [server, *server.children(recursive=True)]
    assert len(family) > 2
    assert len(list(scratch.iterdir())) == 1
    assert dev.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family))
    assert not list(scratch.iterdir())


def test_a_server_that_was_named_and_is_not_there_is_not_replaced(folder):
    command = [str(HOTFORK), "dev", str(folder), "--url", "http://127.0.0.1:1"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 3
    assert "no hotfork server" in answer.stderr
