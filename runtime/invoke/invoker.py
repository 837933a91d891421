"""One door for every synchronous call: resolve, admit, run, release.

Callbacks, not coroutines: a call costs no task and no future on its way (see docs/architecture.md, "The warm path").
"""

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import Protocol

from runtime import errors, model, observer
from runtime.invoke import admission, router
from runtime.pool import call as calls
from runtime.registry import registry


class Routes(Protocol):
    """Knows where the calls of a function go."""

    def route(self, function_name: str, qualifier: str | None) -> registry.Route:
        """Return where the calls of a function's qualifier go (None: unqualified); raise ResourceNotFound."""


class Runner(Protocol):
    """Runs calls; the pool."""

    def submit(self, call: calls.Call) -> None:
        """Run a call."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A call as its caller put it."""

    request_id: str
    function_name: str
    qualifier: str | None
    invoked_arn: str
    payload: bytes
    trace_id: str | None = None
    client_context: bytes | None = None
    cognito_identity: bytes | None = None
    tenant_id: str | None = None
    want_log_tail: bool = False
    streaming: bool = False


class Invoker:
    """Runs requests."""

    def __init__(
        self,
        routes: Routes,
        places: admission.Admission,
        runner: Runner,
        listener: observer.Observer,
        *,
        sample: Callable[[], float],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Bind to the running event loop.

        ``sample`` draws uniformly from [0, 1), for weighted aliases; ``clock`` is the pool's.
        """
        self._routes = routes
        self._places = places
        self._runner = runner
        self._observer = listener
        self._sample = sample
        self._clock = clock
        self._loop = asyncio.get_running_loop()

    def resolve(self, function_name: str, qualifier: str | None) -> model.Version:
        """Return the version that a call would run; raises as ``submit`` does."""
        return router.choose(self._routes.route(function_name, qualifier), self._sample())

    def submit(
        self,
        request: Request,
        on_outcome: Callable[[model.Outcome], None],
        on_refused: Callable[[errors.HotforkError], None],
    ) -> calls.Call:
        """Run a request; exactly one of the callbacks is called, once, later or before this returns.

        Raises an ApiError at once where the function does not exist or a concurrency limit is reached. Setting
        ``cancelled`` on the returned call withdraws it while it waits for a worker.
        """
        version = self.resolve(request.function_name, request.qualifier)
        name = version.function_name
        reason = self._places.admit(name)
        if reason is not None:
            self._observer.invocation_throttled(name, reason)
            raise errors.TooManyRequests(reason)

        def ended(outcome: model.Outcome) -> None:
            self._places.release(name)
            on_outcome(outcome)

        def refused(error: errors.HotforkError) -> None:
            self._places.release(name)
            if isinstance(error, errors.TooManyRequests):
                self._observer.invocation_throttled(name, error.reason)
            on_refused(error)

        call = calls.Call(
            model.Invocation(
                request_id=request.request_id,
                version=version,
                payload=request.payload,
                invoked_arn=request.invoked_arn,
                trace_id=request.trace_id,
                client_context=request.client_context,
                cognito_identity=request.cognito_identity,
                tenant_id=request.tenant_id,
                want_log_tail=request.want_log_tail,
                streaming=request.streaming,
            ),
            self._clock(),
            ended,
            refused,
        )
        self._runner.submit(call)
        return call

    async def invoke(self, request: Request) -> model.Outcome:
        """Run a request and return its outcome; raise what refused it."""
        future: asyncio.Future[model.Outcome] = self._loop.create_future()

        def ended(outcome: model.Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        def refused(error: errors.HotforkError) -> None:
            if not future.done():
                future.set_exception(error)

        call = self.submit(request, ended, refused)
        try:
            return await future
        except asyncio.CancelledError:
            call.cancelled = True
            raise
