"""InvokeWithResponseStream: the parts of a response as the handler yields them, framed as AWS's SDKs read them.

docs.aws.amazon.com/lambda/latest/api/API_InvokeWithResponseStream.html. Lambda's own Python runtime cannot stream; here
a handler that returns a generator, or any iterator of bytes or text, does.

Back-pressure goes end to end: a client that reads slowly fills our socket, we stop to read the worker's pipe, and the
worker waits in its write.
"""

import base64
import json

from runtime import errors, model
from runtime.api import event_stream, http, replies
from runtime.invoke import invoker

PREFIX = "/2021-11-15/functions/"
SUFFIX = "/response-streaming-invocations"


def claims(path: str) -> bool:
    """Return whether a POST to a path is an InvokeWithResponseStream."""
    return path.startswith(PREFIX) and path.endswith(SUFFIX)


class Stream:
    """One streamed response."""

    __slots__ = ("_call", "_exchange", "_invocation", "_invoker", "_started")

    def __init__(self, runner: invoker.Invoker, exchange: http.Exchange, invocation: model.Invocation) -> None:
        """Submit the invocation; raises what the invoker raises."""
        self._invoker = runner
        self._exchange = exchange
        self._invocation = invocation
        self._started = False
        self._call = runner.submit(invocation, self._ended, self._refused)
        self._call.on_chunk = self._part
        exchange.on_drain = self._go_on
        exchange.on_disconnect = self._left

    def _start(self) -> None:
        if not self._started:
            self._started = True
            invocation = self._invocation
            headers = [
                ("Content-Type", event_stream.CONTENT_TYPE),
                ("x-amzn-RequestId", invocation.request_id),
                ("X-Amz-Executed-Version", invocation.version.version),
                ("X-Amzn-Trace-Id", invocation.trace_id or ""),
            ]
            self._exchange.start(200, headers)

    def _part(self, payload: bytes) -> bool:
        exchange = self._exchange
        if exchange.disconnected:
            return True  # nobody listens: let the function come to its end
        self._start()
        exchange.write(event_stream.event("PayloadChunk", "application/octet-stream", payload))
        return exchange.writable

    def _go_on(self) -> None:
        self._call.resume()

    def _left(self) -> None:
        self._call.resume()
        self._invoker.withdraw(self._call)

    def _ended(self, outcome: model.Outcome) -> None:
        if self._exchange.disconnected:
            return
        self._start()
        document: dict[str, str] = {}
        if outcome.failed:
            document = {"ErrorCode": outcome.error_type or "", "ErrorDetails": str(outcome.payload, errors="replace")}
        if self._invocation.want_log_tail:
            document["LogResult"] = base64.b64encode(outcome.log_tail).decode()
        body = json.dumps(document).encode()
        self._exchange.write(event_stream.event("InvokeComplete", "application/json", body))
        self._exchange.finish()

    def _refused(self, error: errors.HotforkError) -> None:
        if not self._exchange.disconnected:
            self._exchange.respond(*replies.of_error(error, self._invocation.request_id))
