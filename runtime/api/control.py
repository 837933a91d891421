"""The control plane: one request of the Lambda REST API in, one response out."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from runtime import errors
from runtime.api import (
    aliases,
    concurrency,
    context,
    downloads,
    event_invoke,
    functions,
    http,
    layers,
    modes,
    permissions,
    replies,
    request_ids,
    routes,
    shapes,
    tags,
    uploads,
    versions,
)
from runtime.api.auth import access, actions
from runtime.registry import registry

_log = logging.getLogger(__name__)

Response = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers, body."""

BODY_LIMIT = 70_167_211
"""Bytes of a request: as AWS's own error message says."""

HANDLERS: Mapping[str, context.Handler] = {
    name: handler
    for module in (aliases, concurrency, event_invoke, functions, layers, modes, permissions, tags, versions)
    for name, handler in module.OPERATIONS.items()
}


class Api:
    """Answers every request but Invoke's."""

    def __init__(
        self,
        functions_: registry.Registry,
        options: context.Options,
        *,
        clock: Callable[[], float] = time.time,
        links: downloads.Links | None = None,
        operations: Mapping[str, context.Handler] | None = None,
    ) -> None:
        """``operations`` come beside those of this room, or in their place: those of triggers, say."""
        self._registry = functions_
        self._options = options
        self._clock = clock
        self._links = links or downloads.Links()
        self._handlers = {**HANDLERS, **(operations or {})}
        routes.find("GET", "/", "")  # loads the service model now rather than with the first request

    async def handle(
        self,
        method: str,
        raw_path: str,
        query: str,
        headers: Mapping[str, str],
        body: http.Body,
        caller: access.Caller | None = None,
    ) -> Response:
        """Answer one request. ``headers`` have lower-case names; path and query are as on the wire.

        No caller stands for one that may do all.
        """
        request_id = request_ids.new()
        try:
            if raw_path.startswith(downloads.PREFIX):
                return await self._download(method, raw_path, query)
            status, out, document = await self._perform(method, raw_path, query, headers, body, caller)
        except errors.HotforkError as error:
            return replies.of_error(error, request_id)
        except Exception:  # noqa: BLE001 - a bug of ours: the caller gets 500, the log the traceback
            _log.exception("%s %s failed", method, raw_path)
            return replies.of_error(errors.ServiceFault(), request_id)
        return status, [*out, ("x-amzn-RequestId", request_id)], document

    async def _perform(
        self,
        method: str,
        raw_path: str,
        query: str,
        headers: Mapping[str, str],
        body: http.Body,
        caller: access.Caller | None,
    ) -> Response:
        match = routes.find(method, raw_path, query)
        if match is None:
            raise errors.UnknownOperation
        if len(body) > BODY_LIMIT:
            raise errors.RequestEntityTooLarge(
                f"Request must be smaller than {BODY_LIMIT} bytes for the {match.operation} operation"
            )
        handler = self._handlers.get(match.operation)
        if handler is None:
            raise errors.NotBuilt(f"hotfork does not offer the operation {match.operation}")
        body, lifted = await uploads.lift(body)
        request = shapes.parse(match.operation, match.labels, query, headers, body, lifted)
        call = context.Context(
            registry=self._registry,
            options=self._options,
            links=self._links,
            base_url=f"http://{headers.get('host', 'localhost')}",
            now=self._clock(),
        )
        try:
            if caller is not None:
                for need in actions.needs(match.operation, request, self._registry.site):
                    caller.demand(*need)
            return shapes.serialise(match.operation, await handler(request, call))
        except errors.ForeignAccount as error:
            who = None if caller is None else caller.arn
            raise error.asked(actions.action_of(match.operation), who) from None

    async def _download(self, method: str, raw_path: str, query: str) -> Response:
        sha256 = self._links.package(raw_path, query, self._clock())
        if method != "GET" or sha256 is None:
            raise errors.AccessDenied("The link is not valid, or not any more")
        try:
            data = await asyncio.to_thread(self._registry.code.zip_of(sha256).read_bytes)
        except FileNotFoundError:
            raise errors.ResourceNotFound("The package is gone") from None
        return 200, [("Content-Type", "application/zip")], data
