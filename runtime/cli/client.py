"""A small client of the Lambda REST API: plain JSON over http.client.

Requests are signed where the variables of AWS's tools name a key. boto3 would take half a second to import; this
takes 30 ms.
"""

import dataclasses
import http.client
import json
import os
import urllib.parse
from collections.abc import Mapping
from typing import Any

import click

from runtime.cli import signing

FUNCTIONS = "/2015-03-31/functions"


class Unreachable(click.ClickException):
    """No server answers."""

    exit_code = 3


class Refused(click.ClickException):
    """The server says no: a function that does not exist, a value out of range."""

    exit_code = 2

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.status = status
        self.code = code


class Broken(Refused):
    """The server failed, not the command."""

    exit_code = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response with its whole body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def server_url(given: str | None, environ: Mapping[str, str]) -> str:
    """Return the server's URL: as given, or of the variables that also lead boto3 and ``serve`` there."""
    url = given or environ.get("HOTFORK_URL") or environ.get("AWS_ENDPOINT_URL_LAMBDA")
    if not url:
        host = environ.get("HOTFORK_HOST", "127.0.0.1")
        # A server that listens everywhere is reached here.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        host = f"[{host}]" if ":" in host else host
        url = f"http://{host}:{environ.get('HOTFORK_PORT', '3001')}"
    return url.rstrip("/")


class Client:
    """Speaks to one server, one request at a time."""

    def __init__(self, url: str | None = None) -> None:
        self.url = server_url(url, os.environ)
        try:
            parts = urllib.parse.urlsplit(self.url)
            port = parts.port
        except ValueError:
            parts, port = urllib.parse.urlsplit(""), None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise click.UsageError(f"{self.url!r} is not a URL such as http://127.0.0.1:3001")
        self._secure = parts.scheme == "https"
        self._host, self._port, self._prefix = parts.hostname, port, parts.path
        self._authority = parts.netloc.rpartition("@")[2]
        self._signer = signing.Signer.of(os.environ)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 60,
    ) -> Answer:
        """Send one request and return the answer whatever its status; raise Unreachable where none comes."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=timeout_s)
        target, sent = self._prefix + path, dict(headers or {})
        if self._signer is not None:
            sent = self._signer.sign(method, self._authority, target, body, sent)
        try:
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except TimeoutError:
            raise Unreachable(f"{self.url} did not answer within {timeout_s:g} s") from None
        except http.client.HTTPException as error:
            raise Unreachable(
                f"{self.url} does not speak HTTP as a hotfork server does ({type(error).__name__}): "
                "is another program on this port?"
            ) from None
        except OSError as error:
            raise Unreachable(
                f"no hotfork server at {self.url} ({error.strerror or error}): start one with `hotfork serve`, "
                "or name another with --url"
            ) from None
        finally:
            connection.close()

    def call(self, method: str, path: str, document: Any = None, *, timeout_s: float = 60) -> Any:
        """Send a JSON document and return the one that comes back; raise Refused on an error of the API."""
        body = None if document is None else json.dumps(document).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        answer = self.request(method, path, body, headers, timeout_s=timeout_s)
        check(answer)
        if not answer.body:
            return None
        try:
            return json.loads(answer.body)
        except ValueError:
            raise Unreachable(f"{self.url} is not a hotfork server: its answer is not JSON") from None

    def listed(self, path: str, key: str) -> list[dict[str, Any]]:
        """Return all entries under a key of a listing, page by page."""
        found: list[dict[str, Any]] = []
        marker = ""
        while True:
            page = self.call("GET", path + (f"{'&' if '?' in path else '?'}Marker={quote(marker)}" if marker else ""))
            found += page[key]
            marker = page.get("NextMarker")
            if not marker:
                return found


def check(answer: Answer) -> None:
    """Raise Refused if an answer is an error of the API, Broken if the server itself failed."""
    if answer.status < http.client.BAD_REQUEST:
        return
    code = answer.headers.get("x-amzn-ErrorType") or f"HTTP {answer.status}"
    try:
        document = json.loads(answer.body)
        message = str(document.get("message") or document.get("Message") or "")
    except (ValueError, AttributeError):
        message = ""
    if code.startswith("MissingAuthenticationToken"):
        message += ": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key of the server's credentials file"
    # 501 says that an operation is not offered: to ask for it was the mistake.
    failed = answer.status >= http.client.INTERNAL_SERVER_ERROR and answer.status != http.client.NOT_IMPLEMENTED
    raise (Broken if failed else Refused)(answer.status, code.partition(":")[0], message)


def quote(text: str) -> str:
    """Return a text as one segment of a path, or a value in a query."""
    return urllib.parse.quote(text, safe="")


def function_path(name: str, *rest: str) -> str:
    """Return the path of a function, given as name, name:qualifier or ARN; raise UsageError where it is empty."""
    if not name:
        raise click.UsageError("the function's name is empty")
    return "/".join((FUNCTIONS, quote(name), *rest))
