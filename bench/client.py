"""The calls of the Lambda API that a bench needs, over http.client."""

import base64
import http.client
import io
import json
import time
import urllib.parse
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FUNCTIONS = "/2015-03-31/functions"
BENCH_FUNCTIONS = Path(__file__).parent / "functions"


class Refused(Exception):
    """The server answered with an error."""


def invoke_path(function: str) -> str:
    """Return the path of Invoke."""
    return f"{FUNCTIONS}/{urllib.parse.quote(function, safe='')}/invocations"


def package(files: Mapping[str, str | bytes]) -> bytes:
    """Return a zip of files; the same for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, text)
    return buffer.getvalue()


def bench_function(name: str) -> dict[str, str]:
    """Return the files of one of bench/functions."""
    return {"handler.py": (BENCH_FUNCTIONS / name / "handler.py").read_text(encoding="utf-8")}


class Client:
    """Speaks to one server."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=120)

    def call(self, method: str, path: str, document: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send a document and return the one that comes back, None for an empty one; raise Refused on an error."""
        status, body = self.raw(method, path, None if document is None else json.dumps(document).encode(), headers)
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise Refused(f"{method} {path}: {status} {body.decode(errors='replace')[:500]}")
        return json.loads(body) if body.strip() else None

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send bytes and return status and body; raise OSError where there is no server."""
        try:
            return self._once(method, path, body, headers)
        except http.client.RemoteDisconnected:
            if method != "GET":
                raise
            # The connection was idle for too long.
            return self._once(method, path, body, headers)

    def _once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None) -> tuple[int, bytes]:
        try:
            self._connection.request(method, path, body, dict(headers or {}))
            response = self._connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            self._connection.close()
            if isinstance(error, OSError):
                raise
            raise ConnectionError(f"{method} {path}: {error!r}") from error
        except OSError:
            self._connection.close()
            raise

    def create(self, name: str, files: Mapping[str, str | bytes], runtime: str, **configuration: Any) -> None:
        """Create a function and wait until it can be invoked."""
        code = base64.b64encode(package(files)).decode()
        document = {
            "FunctionName": name,
            "Runtime": runtime,
            "Role": "arn:aws:iam::000000000000:role/bench",
            "Handler": "handler.handler",
            "Code": {"ZipFile": code},
            "MemorySize": 256,
            "Timeout": 30,
            **configuration,
        }
        created = self.call("POST", FUNCTIONS, document)
        deadline, pause = time.monotonic() + 60, 0.001
        while created.get("State", "Active") == "Pending":
            if time.monotonic() > deadline:
                raise Refused(f"{name} is not active after a minute")
            time.sleep(pause)
            pause = min(pause * 2, 0.1)
            created = self.call("GET", f"{FUNCTIONS}/{name}/configuration")

    def delete(self, name: str) -> None:
        """Delete a function."""
        self.call("DELETE", f"{FUNCTIONS}/{name}")

    def invoke(self, name: str, event: object = None) -> Any:
        """Invoke a function and return what it returned; raise Refused where it failed."""
        return self.call("POST", invoke_path(name), {} if event is None else event)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
