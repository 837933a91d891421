"""Invoke, the one operation whose speed matters: no task, no service model, no parsing of the payload.

What it takes and gives is AWS's Invoke (docs.aws.amazon.com/lambda/latest/api/API_Invoke.html): the invocation
type, the log type, the client context and the tenant in headers, the qualifier in the query.
"""

import base64
import functools
import urllib.parse
from collections.abc import Callable, Mapping

from runtime import errors, model
from runtime.api import http, invoke_headers, payload, replies, request_ids, streams, tenants
from runtime.api.auth import access
from runtime.invoke import endings, events, invoker, lineage
from runtime.pool import call as calls
from runtime.registry import names

PREFIX = "/2015-03-31/functions/"
SUFFIX = "/invocations"
ASYNC_PREFIX = "/2014-11-13/functions/"
ASYNC_SUFFIX = "/invoke-async"
"""InvokeAsync, which AWS deprecated: docs.aws.amazon.com/lambda/latest/api/API_InvokeAsync.html."""
SYNCHRONOUS_LIMIT = 6 * 1024 * 1024
EVENT_LIMIT = 1024 * 1024
"""docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_TYPES = ("RequestResponse", "Event", "DryRun")
_WISHES = frozenset(("x-amz-client-context", "x-amz-log-type", "x-amz-tenant-id", "x-amzn-trace-id"))
"""Headers without which a call is as most are."""
_INVOKE = "lambda:InvokeFunction"


class Invocations:
    """Answers Invoke."""

    def __init__(
        self,
        calls_: invoker.Invoker,
        queued: events.Events,
        site: names.Site,
        may_loop: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """``may_loop`` tells whether a function may call itself without end."""
        self._invoker = calls_
        self._events = queued
        self._site = site
        self._may_loop = may_loop
        self._reference = functools.lru_cache(maxsize=16384)(self._parse_reference)

    @staticmethod
    def claims(method: str, path: str) -> bool:
        """Return whether a request is an Invoke, or an InvokeAsync."""
        if method != "POST":
            return False
        return (path.startswith(PREFIX) and path.endswith(SUFFIX)) or _is_async(path) or streams.claims(path)

    def handle(self, exchange: http.Exchange, caller: access.Caller | None = None) -> None:
        """Answer an exchange that ``claims`` said yes to, now or later; no caller stands for one that may do all."""
        request_id = request_ids.new()
        try:
            self._start(exchange, request_id, caller)
        except errors.HotforkError as error:
            exchange.respond(*replies.of_error(error, request_id))

    def _start(self, exchange: http.Exchange, request_id: str, caller: access.Caller | None) -> None:
        headers = exchange.headers
        if not exchange.path.startswith(PREFIX):
            if exchange.path.startswith(streams.PREFIX):
                self._stream(exchange, request_id, caller)
            else:
                self._start_async(exchange, request_id, caller)
            return
        kind = headers.get("x-amz-invocation-type", "RequestResponse")
        if kind != "RequestResponse":
            invoke_headers.choice(kind, "invocationType", _TYPES)
        reference, invoked_arn = self._reference(exchange.path, exchange.query)
        if kind == "Event":
            invoke_headers.wants_log_tail(headers)  # an event has none, but what is asked for is checked all the same
            if caller is not None:
                caller.demand(_INVOKE, invoked_arn)
            self._enqueue(exchange, request_id, reference)
            return
        invocation = self._invocation(exchange, request_id, caller, reference, invoked_arn, streaming=False)
        if kind == "DryRun":
            executed = ("X-Amz-Executed-Version", invocation.version.version)
            exchange.respond(204, [("x-amzn-RequestId", request_id), executed], b"")
            return
        _Pending(self._invoker, exchange, invocation)

    def _start_async(self, exchange: http.Exchange, request_id: str, caller: access.Caller | None) -> None:
        """Take an event by InvokeAsync."""
        reference = self._async_reference(exchange.path)
        if caller is not None:
            caller.demand("lambda:InvokeAsync", self._site.function_arn(reference.name, reference.qualifier))
        self._enqueue(exchange, request_id, reference)

    def _stream(self, exchange: http.Exchange, request_id: str, caller: access.Caller | None) -> None:
        """Run an InvokeWithResponseStream."""
        reference, invoked_arn = self._stream_reference(exchange.path, exchange.query)
        invocation = self._invocation(exchange, request_id, caller, reference, invoked_arn, streaming=True)
        streams.Stream(self._invoker, exchange, invocation)

    def _invocation(
        self,
        exchange: http.Exchange,
        request_id: str,
        caller: access.Caller | None,
        reference: names.FunctionRef,
        invoked_arn: str,
        *,
        streaming: bool,
    ) -> model.Invocation:
        """Return the invocation that a synchronous request asks for."""
        headers, body = exchange.headers, exchange.body
        is_plain = _WISHES.isdisjoint(headers)
        want_log_tail = not is_plain and invoke_headers.wants_log_tail(headers)
        if caller is not None:
            caller.demand(_INVOKE, invoked_arn)
        if len(body) > SYNCHRONOUS_LIMIT:
            raise _too_large(SYNCHRONOUS_LIMIT)
        if body:
            payload.demand_json(body)
        version = self._invoker.resolve(reference.name, reference.qualifier)
        if is_plain and not version.tenant_isolation:
            return model.Invocation(
                request_id=request_id,
                version=version,
                payload=body or b"{}",
                invoked_arn=invoked_arn,
                trace_id=lineage.begin(invoke_headers.fresh_trace_id(), version.function_arn),
                streaming=streaming,
            )
        return model.Invocation(
            request_id=request_id,
            version=version,
            payload=body or b"{}",
            invoked_arn=invoked_arn,
            tenant_id=tenants.of_call(headers, version),
            trace_id=self._trace_id(headers, version),
            client_context=invoke_headers.client_context(headers),
            want_log_tail=want_log_tail,
            streaming=streaming,
        )

    def _enqueue(self, exchange: http.Exchange, request_id: str, reference: names.FunctionRef) -> None:
        """Take an event; the caller hears when it is on disk."""
        headers, body = exchange.headers, exchange.body
        if len(body) > EVENT_LIMIT:
            raise _too_large(EVENT_LIMIT)
        if body:
            payload.demand_json(body)
        version = self._invoker.resolve(reference.name, reference.qualifier)
        about = endings.About(
            request_id=request_id,
            qualifier=reference.qualifier,
            trace_id=self._trace_id(headers, version),
            client_context=invoke_headers.client_context(headers),
            tenant_id=tenants.of_call(headers, version),
        )
        self._events.accept(
            reference.name,
            about,
            bytes(body) or b"{}",
            on_accepted=lambda: exchange.respond(
                202, [("x-amzn-RequestId", request_id), ("X-Amzn-Trace-Id", about.trace_id or "")], b""
            ),
            on_refused=lambda error: exchange.respond(*replies.of_error(error, request_id)),
        )

    def _trace_id(self, headers: Mapping[str, str], version: model.Version) -> str:
        """Return the trace header of an invocation; raise RecursiveInvocation where it would be one of a loop."""
        trace_id, before = lineage.extend(invoke_headers.trace_id(headers), version.function_arn)
        if before >= lineage.LIMIT and not self._may_loop(version.function_name):
            raise errors.RecursiveInvocation
        return trace_id

    def _async_reference(self, path: str) -> names.FunctionRef:
        encoded = path[len(ASYNC_PREFIX) :].rstrip("/").removesuffix(ASYNC_SUFFIX)
        return self._site.function(urllib.parse.unquote(encoded))

    def _stream_reference(self, path: str, query: str) -> tuple[names.FunctionRef, str]:
        return self._parse_name(path[len(streams.PREFIX) : -len(streams.SUFFIX)], query)

    def _parse_reference(self, path: str, query: str) -> tuple[names.FunctionRef, str]:
        return self._parse_name(path[len(PREFIX) : -len(SUFFIX)], query)

    def _parse_name(self, encoded: str, query: str) -> tuple[names.FunctionRef, str]:
        """Return the function that a path and query name, and its ARN as the caller addressed it."""
        given = urllib.parse.parse_qs(query).get("Qualifier", [""])[0]
        reference = self._site.function(urllib.parse.unquote(encoded), given)
        return reference, self._site.function_arn(reference.name, reference.qualifier)


class _Pending:
    """An Invoke whose outcome is still to come."""

    __slots__ = ("_call", "_exchange", "_invocation", "_invoker")

    def __init__(self, runner: invoker.Invoker, exchange: http.Exchange, invocation: model.Invocation) -> None:
        self._invoker = runner
        self._exchange = exchange
        self._invocation = invocation
        self._call: calls.Call | None = None
        """None once it ended: it refers to us, and no cycle may keep a payload until garbage is collected."""
        call = runner.submit(invocation, self._ended, self._refused, self._answered)
        if not exchange.done:
            self._call = call
            exchange.on_disconnect = self._withdraw

    def _answered(self, payload: bytes | memoryview, content_type: str, error_type: str | None) -> None:
        self._exchange.respond(200, self._headers(content_type, error_type), payload)

    def _ended(self, outcome: model.Outcome) -> None:
        self._call = None
        if self._exchange.done:
            return  # by _answered
        headers = self._headers(outcome.content_type, outcome.error_type)
        if self._invocation.want_log_tail:
            headers.append(("X-Amz-Log-Result", base64.b64encode(outcome.log_tail).decode()))
        self._exchange.respond(200, headers, outcome.payload)

    def _headers(self, content_type: str, error_type: str | None) -> list[tuple[str, str]]:
        invocation = self._invocation
        headers = [
            ("x-amzn-RequestId", invocation.request_id),
            ("X-Amz-Executed-Version", invocation.version.version),
            ("Content-Type", content_type),
            ("X-Amzn-Trace-Id", invocation.trace_id or ""),
        ]
        if error_type is not None:
            # Always "Unhandled" for Python: docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
            headers.append(("X-Amz-Function-Error", "Unhandled"))
        return headers

    def _refused(self, error: errors.HotforkError) -> None:
        self._call = None
        self._exchange.respond(*replies.of_error(error, self._invocation.request_id))

    def _withdraw(self) -> None:
        if self._call is not None:
            self._invoker.withdraw(self._call)


def _is_async(path: str) -> bool:
    return path.startswith(ASYNC_PREFIX) and path.rstrip("/").endswith(ASYNC_SUFFIX)


def _too_large(limit: int) -> errors.RequestEntityTooLarge:
    return errors.RequestEntityTooLarge(f"Request must be smaller than {limit} bytes for the InvokeFunction operation")
