"""A server started as a user starts it, and AWS's own client led to it."""

import io
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import boto3
import botocore.config
import pytest

ROLE = "arn:aws:iam::000000000000:role/any"
RUNTIME = f"python3.{sys.version_info.minor}"
HOTFORK = Path(sys.executable).with_name("hotfork")


def zipped(files):
    """Return a zip of {name: text or bytes}."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


_RUNNING = set()


class Server:
    """A `hotfork serve` of the test's own."""

    def __init__(self, state_dir, *options, env=None):
        self.state_dir = Path(state_dir)
        self.options = options
        self.env = env or {}
        self.process = None
        self.url = ""

    def start(self):
        command = [
            *(str(HOTFORK), "serve", "--port", "0", "--isolation", "auto", "--state-dir", str(self.state_dir)),
            *self.options,
        ]
        self.log = (self.state_dir.parent / f"{self.state_dir.name}.log").open("ab")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, env={**os.environ, **self.env}, text=True
        )
        line = self.process.stdout.readline()
        if "listens on" not in line:
            self.process.wait(60)
            self._close()
            raise AssertionError(line + Path(self.log.name).read_text())
        self.url = line.split()[-1]
        _RUNNING.add(self)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._close()

    def stop(self):
        """Stop it as an init system does; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self._close()
        return status

    def end(self):
        """Leave nothing of it behind, whatever a test did to it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._close()

    def _close(self):
        _RUNNING.discard(self)
        self.process.stdout.close()
        self.log.close()

    def client(self, **config):
        return boto3.client(
            "lambda",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=botocore.config.Config(
                retries={"max_attempts": 0}, read_timeout=60, max_pool_connections=64, **config
            ),
        )

    def get(self, path):
        """Return (status, body) of a GET."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def metrics(self):
        """Return the lines of /metrics."""
        return self.get("/metrics")[1].decode().splitlines()

    def values(self, name):
        """Return the values of a metric, whatever their labels."""
        return [float(line.split()[-1]) for line in self.metrics() if line.startswith(f"{name}{{")]


def create(client, name, source, **options):
    """Create a function of one module, or of {name: content}, and wait until it is active."""
    files = source if isinstance(source, dict) else {"handler.py": source}
    options = {"Runtime": RUNTIME, "Handler": "handler.handler", "Role": ROLE, **options}
    client.create_function(FunctionName=name, Code={"ZipFile": zipped(files)}, **options)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05})


def until(condition, timeout_s=30):
    """Wait for a condition that other processes bring about."""
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)
    return value


@pytest.fixture(autouse=True)
def _no_server_is_left():
    """End what a test that failed half-way has left running: it would load the machine for hours."""
    before = set(_RUNNING)
    yield
    left = _RUNNING - before
    for one in left:
        one.end()
    assert not left


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("hotfork") / "state").start()
    yield one
    assert one.stop() == 0


@pytest.fixture(scope="session")
def client(server):
    return server.client()
