"""One door for every synchronous call: resolve, admit, run, release.

Callbacks, not coroutines: a call costs no task and no future on its way (see docs/architecture.md, "The warm path").
"""

import asyncio
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

    def withdraw(self, call: calls.Call) -> None:
        """Refuse a call that still waits for a worker, by ``Withdrawn``."""


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

    @property
    def places(self) -> admission.Admission:
        """Return the limits that calls are held to."""
        return self._places

    def resolve(self, function_name: str, qualifier: str | None) -> model.Version:
        """Return the version that one call is to run; raise ResourceNotFound or another ApiError."""
        return router.choose(self._routes.route(function_name, qualifier), self._sample())

    def submit(
        self,
        invocation: model.Invocation,
        on_outcome: Callable[[model.Outcome], None],
        on_refused: Callable[[errors.HotforkError], None],
        on_answer: Callable[[bytes | memoryview, str, str | None], None] | None = None,
    ) -> calls.Call:
        """Run an invocation of a resolved version.

        Exactly one of the callbacks is called, once, later or before this returns. Raises TooManyRequests at once where
        a concurrency limit is reached. ``on_answer`` is called before the first of them, where an answer can be had
        sooner: see ``calls.Call``.
        """
        name, number = invocation.version.function_name, invocation.version.version
        reason = self._places.admit(name, number)
        if reason is not None:
            self._observer.invocation_throttled(name, reason)
            raise errors.TooManyRequests(reason)

        def ended(outcome: model.Outcome) -> None:
            self._places.release(name, number)
            on_outcome(outcome)

        def refused(error: errors.HotforkError) -> None:
            self._places.release(name, number)
            if isinstance(error, errors.TooManyRequests):
                self._observer.invocation_throttled(name, error.reason)
            on_refused(error)

        call = calls.Call(invocation, self._clock(), ended, refused)
        call.on_answer = on_answer
        self._runner.submit(call)
        return call

    def withdraw(self, call: calls.Call) -> None:
        """Hear that nobody waits for a call any more: its place is free unless it runs; then it goes on, as on AWS."""
        self._runner.withdraw(call)

    async def invoke(self, invocation: model.Invocation) -> model.Outcome:
        """Run an invocation and return its outcome; raise what refused it."""
        future: asyncio.Future[model.Outcome] = self._loop.create_future()

        def ended(outcome: model.Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        def refused(error: errors.HotforkError) -> None:
            if not future.done():
                future.set_exception(error)

        call = self.submit(invocation, ended, refused)
        try:
            return await future
        except asyncio.CancelledError:
            self.withdraw(call)
            raise
