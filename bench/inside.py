"""Calls a server from inside its process, without HTTP: ``python -m bench.inside < order.json > taken.json``.

The server is the real one, built by ``runtime.supervisor`` with logs, metrics and limits; its Invoker is caught as it
is made. A call is timed from the name of its function to its outcome, on the server's own event loop. Cold calls go to
functions that have no worker, one call each.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bench import client, histogram, machine
from bench.order import Order, Taken
from runtime import config, errors, model, supervisor
from runtime.invoke import invoker

clock = time.perf_counter_ns


class _Caught(invoker.Invoker):
    """The server's Invoker."""

    made: "_Caught"

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        _Caught.made = self


class _Calls:
    """Keeps calls in flight until the time is up, then ends the server."""

    def __init__(self, order: Order, confinement: str) -> None:
        self._order = order
        self._confinement = confinement
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._in_flight = 0
        self._warm, self._cold = histogram.Recorder(), histogram.Recorder()
        self._phases = {name: histogram.Recorder() for name in ("queue", "fork", "sandbox", "assign", "init")}
        self._starts: dict[str, int] = {}
        self._failed = 0
        self._begun = self._end = self._last = 0

    def start(self) -> None:
        """Begin."""
        self._next_cold(0)

    def _submit(self, function: str, ended: Callable[[model.Outcome], None]) -> None:
        self._number += 1
        version = _Caught.made.resolve(function, None)
        invocation = model.Invocation(
            request_id=f"{self._number:08x}-0000-4000-8000-000000000000",
            version=version,
            payload=b"{}",
            invoked_arn=version.function_arn,
        )
        _Caught.made.submit(invocation, ended, self._refused)

    def _next_cold(self, number: int) -> None:
        if number == self._order.cold:
            # One call more, so that all workers are there.
            self._warm_up(self._order.in_flight * 20)
            return
        began = clock()

        def ended(outcome: model.Outcome) -> None:
            self._cold.record(clock() - began)
            self._failed += outcome.failed
            self._starts[outcome.start.value] = self._starts.get(outcome.start.value, 0) + 1
            for name, recorder in self._phases.items():
                recorder.record(round(getattr(outcome.phases, name) * 1e9))
            self._loop.call_soon(self._next_cold, number + 1)

        self._submit(f"cold-{number}", ended)

    def _warm_up(self, left: int) -> None:
        waiting = self._order.in_flight

        def ended(_: model.Outcome) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                self._loop.call_soon(self._warm_up, left - self._order.in_flight)

        if left > 0:
            for _ in range(waiting):
                self._submit("hello", ended)
            return
        self._begun = self._last = clock()
        self._end = self._begun + round(self._order.warm_s * 1e9)
        for _ in range(self._order.in_flight):
            self._in_flight += 1
            self._loop.call_soon(self._next_warm)

    def _next_warm(self) -> None:
        if clock() >= self._end:
            self._in_flight -= 1
            if not self._in_flight:
                self._finish()
            return
        began = clock()

        def ended(outcome: model.Outcome) -> None:
            self._last = clock()
            self._warm.record(self._last - began)
            self._failed += outcome.failed
            self._loop.call_soon(self._next_warm)

        self._submit("hello", ended)

    def _refused(self, error: errors.HotforkError) -> None:
        sys.exit(f"bench.inside: refused: {error.message}")

    def _finish(self) -> None:
        warm = self._warm.finish()
        taken = Taken(
            warm=warm,
            warm_rate=warm.count / max(self._last - self._begun, 1) * 1e9,
            cold=self._cold.finish(),
            phases={name: recorder.finish() for name, recorder in self._phases.items()},
            starts=self._starts,
            failed=self._failed,
            confinement=self._confinement,
        )
        sys.stdout.buffer.write(msgspec.json.encode(taken))
        sys.stdout.buffer.flush()
        os.kill(os.getpid(), signal.SIGTERM)


def _creations(order: Order) -> list[Mapping[str, Any]]:
    names = ["hello", *(f"cold-{number}" for number in range(order.cold))]
    code = client.package(client.bench_function("hello"))
    common = {
        "Runtime": machine.runtime_name(),
        "Role": "arn:aws:iam::000000000000:role/bench",
        "Handler": "handler.handler",
        "Code": {"ZipFile": code},
        "MemorySize": 256,
    }
    return [{"FunctionName": name, **common} for name in names]


def main() -> None:
    """Read an order from stdin, follow it, write what it took to stdout."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    flags = {"isolation": order.isolation, "state_dir": order.state_dir, "port": 0}
    invoker.Invoker = _Caught  # type: ignore[misc]
    try:
        settings = config.load(flags, {}, None, is_root=os.geteuid() == 0)
        sys.exit(
            supervisor.main(settings, _creations(order), lambda _, confinement: _Calls(order, confinement).start())
        )
    except errors.HotforkError as error:
        sys.exit(f"bench.inside: {error.message}")


if __name__ == "__main__":
    main()
