"""Serves the control plane on a real socket, in a thread with its own event loop, for synchronous clients."""

import asyncio
import base64
import concurrent.futures
import contextlib
import hashlib
import http.client
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import botocore.config
import pytest

from runtime.api import context, control, server
from runtime.registry import code, names, registry, sqlite, unpacking

REGION, ACCOUNT = "us-east-1", "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lambda-role"
RUNTIMES = ("python3.11", "python3.12", "python3.13")


class Served:
    """A control plane that answers on ``url``."""

    def __init__(self, state_dir: Path, **options) -> None:
        self._options = context.Options(interpreters=RUNTIMES, **options)
        self._state_dir = state_dir
        self._started: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self.registry: registry.Registry
        self.changes: list = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self.port = self._started.result(30)
        self.url = f"http://127.0.0.1:{self.port}"

    async def _serve(self) -> None:
        try:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            packages = code.CodeStore(self._state_dir / "code", unpacking.unpack)
            kept = sqlite.SqliteStore(self._state_dir / "hotfork.db")
            self.registry = registry.Registry(kept, packages, names.Site(region=REGION, account_id=ACCOUNT))
            self.registry.subscribe(self.changes.append)
            api = control.Api(self.registry, self._options)
            async with asyncio.TaskGroup() as tasks:
                http_server = server.Server(lambda exchange: tasks.create_task(self._answer(api, exchange)))
                await http_server.listen("127.0.0.1", 0)
                self._started.set_result(http_server.port)
                await self._stop.wait()
                await http_server.drain(5)
                await http_server.close()
            self.registry.close()
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise

    @staticmethod
    async def _answer(api: control.Api, exchange: server.Exchange) -> None:
        reply = await api.handle(exchange.method, exchange.path, exchange.query, exchange.headers, exchange.body)
        exchange.respond(*reply)

    def close(self) -> None:
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def run(self, coroutine):
        """Run a coroutine on the server's event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def client(self, **kwargs):
        """Return a boto3 client that does not retry."""
        return boto3.client(
            "lambda",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=botocore.config.Config(retries={"total_max_attempts": 1}, **kwargs),
        )

    def raw(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        """Send a request without any SDK; return status, headers with lower-case names, and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


@contextlib.contextmanager
def serving(state_dir: Path, **kwargs) -> Iterator[Served]:
    """Serve while the block runs."""
    served = Served(state_dir, **kwargs)
    try:
        yield served
    finally:
        served.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve for a module, which takes this fixture over by its name."""
    with serving(tmp_path_factory.mktemp("state")) as one:
        yield one


@pytest.fixture
def client(served):
    """Give a test a boto3 client, and take away what it leaves."""
    one = served.client()
    yield one
    for function in one.list_functions()["Functions"]:
        one.delete_function(FunctionName=function["FunctionName"])
    for layer in one.list_layers()["Layers"]:
        for version in one.list_layer_versions(LayerName=layer["LayerName"])["LayerVersions"]:
            one.delete_layer_version(LayerName=layer["LayerName"], VersionNumber=version["Version"])


def zipped(files: dict[str, str] | None = None) -> bytes:
    """Return a zip of files; the same files give the same bytes."""
    if files is None:
        files = {"app.py": "def handler(event, context):\n    return event\n"}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def digest(data: bytes) -> str:
    """Return a CodeSha256."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def create(client, name: str = "hello", **kwargs):
    """Create a function and return the answer."""
    arguments = {
        "FunctionName": name,
        "Runtime": "python3.11",
        "Role": ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": zipped()},
        **kwargs,
    }
    return client.create_function(**arguments)
