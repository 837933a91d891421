"""Who answers a request: Invoke at once, the control plane and the server's own pages in a task each."""

import functools
import json
import logging
import urllib.parse
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from runtime import errors
from runtime.api import http, invocations, replies, request_ids
from runtime.api.auth import access, gate

Reply: TypeAlias = tuple[int, Sequence[tuple[str, str]], bytes]
Page: TypeAlias = Callable[[str, Mapping[str, str], str], Awaitable[Reply]]
"""From what follows the page's own path, the query and the Accept header to a reply."""
Action: TypeAlias = Callable[[bytes], Awaitable[Reply]]
"""From the body of a POST, a JSON document, to a reply."""

_log = logging.getLogger(__name__)


class ControlPlane(Protocol):
    """Answers every operation of the Lambda API but Invoke."""

    async def handle(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: http.Body,
        caller: access.Caller | None,
        /,
    ) -> Reply:
        """Return the reply to a request; no caller stands for one that may do all."""


class Front:
    """The application behind the HTTP server."""

    def __init__(
        self,
        invoke: invocations.Invocations,
        control: ControlPlane,
        pages: Mapping[str, Page],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        actions: Mapping[str, Action] | None = None,
        *,
        door: gate.Gate,
    ) -> None:
        """``door`` decides who comes in.

        ``pages`` are by path: GET of the path itself, or of what lies below one that ends in a slash.

        ``actions`` are by path: POST of a JSON document to it.
        ``spawn`` runs a coroutine that never raises as a task with a parent.
        """
        self._invoke = invoke
        self._control = control
        self._pages = pages
        self._actions = actions or {}
        self._spawn = spawn
        self._door = door
        self.requests = 0
        """How many came, since the start."""

    def __call__(self, exchange: http.Exchange) -> None:
        """Answer an exchange, now or later."""
        self.requests += 1
        if self._invoke.claims(exchange.method, exchange.path):
            self._door.admit(exchange, self._invoke.handle)
            return
        action = self._actions.get(exchange.path) if exchange.method == "POST" else None
        page = self._page_of(exchange.path)
        if action is not None:
            self._door.admit_page(exchange, functools.partial(self._act, action, exchange))
        elif page is None:
            self._door.admit(exchange, self._ask_control)
        elif exchange.method not in ("GET", "HEAD"):
            exchange.respond(405, [("Allow", "GET, HEAD")], b"")
        else:
            self._door.admit_page(exchange, functools.partial(self._show, *page, exchange))

    def _show(self, page: Page, rest: str, exchange: http.Exchange) -> None:
        query = dict(urllib.parse.parse_qsl(exchange.query))
        accept = exchange.headers.get("accept", "")
        self._spawn(self._answer(exchange, page(urllib.parse.unquote(rest), query, accept)))

    def _act(self, action: Action, exchange: http.Exchange) -> None:
        # A web page that somebody looks at can post to loopback, but not this type without the server's consent
        # (fetch.spec.whatwg.org, "CORS-safelisted request-header").
        if exchange.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            exchange.respond(415, [], b"")
        else:
            self._spawn(self._answer(exchange, action(bytes(exchange.body))))

    def _page_of(self, path: str) -> tuple[Page, str] | None:
        page = self._pages.get(path)
        if page is not None:
            return page, ""
        for prefix, below in self._pages.items():
            if prefix.endswith("/") and path.startswith(prefix):
                return below, path[len(prefix) :]
        return None

    def _ask_control(self, exchange: http.Exchange, caller: access.Caller | None) -> None:
        reply = self._control.handle(
            exchange.method, exchange.path, exchange.query, exchange.headers, exchange.body, caller
        )
        self._spawn(self._answer(exchange, reply))

    async def _answer(self, exchange: http.Exchange, reply: Awaitable[Reply]) -> None:
        try:
            status, headers, body = await reply
        except errors.HotforkError as error:
            status, headers, body = replies.of_error(error, request_ids.new())
        except Exception:  # noqa: BLE001 - one request's bug is not the server's end
            _log.exception("%s %s failed", exchange.method, exchange.path)
            status, headers, body = replies.of_error(errors.ServiceFault(), request_ids.new())
        if not exchange.disconnected:
            exchange.respond(status, headers, body)


def as_json(document: object, status: int = 200) -> Reply:
    """Return a reply that is a JSON document."""
    return status, [("Content-Type", "application/json")], json.dumps(document).encode()
