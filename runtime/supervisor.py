"""The composition root: builds the rooms in their order, runs them under one TaskGroup, and takes them down.

Up: the state folder (locked: one supervisor each), the probe of the sandbox, the registry, the zygotes and the pool,
the invoker, the API, the socket. Down, on SIGTERM or SIGINT: stop accepting, let calls in flight finish for at most
``pool.drain_timeout_s``; then kill workers and zygotes, flush the logs, close the store. A second signal skips the
wait.
"""

import asyncio
import base64
import contextlib
import gc
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import uvloop

from runtime import config, errors, model, premises, staff
from runtime.api import (
    context,
    control,
    event_pages,
    front,
    invocations,
    pages,
    refusals,
    request_ids,
    server,
    walled,
)
from runtime.api.auth import guard
from runtime.invoke import admission, configured, dead_letters, events, invoker, provisions
from runtime.invoke.destinations import aws
from runtime.invoke.queue import sqlite as queue
from runtime.pool import cgroups, isolation, pool, time_slice
from runtime.pool.network import modes
from runtime.registry import code, ledger, names, registry, sqlite, sweeper, unpacking
from runtime.telemetry import families, telemetry

Announce = Callable[[str, str], None]
"""Called once the server listens, with its URL and lines about what is confined and who may call."""

_SWITCH_INTERVAL_S = 0.0005
"""How long a thread (logs, stores) may keep the event loop from the interpreter; Python's default is ten times that."""
_COLLECT_AFTER = 2_500, 4, 100
"""New objects after which the collector looks for cycles among these, and how often until it looks at those that were
left, and at all: an invocation makes none, but many objects. To look at one takes up to a microsecond, and who calls
meanwhile waits."""

_LOOKED_AT = 100
"""Functions whose runtimes are made ready at start: to look at all might take as long as to start."""

_MB = 1024 * 1024
_FUNCTIONS = "/2015-03-31/functions"
_FUNCTIONS_CONNECTIONS = 4096
_FUNCTIONS_BYTES = 256 * _MB
"""Connections that functions may have to the API, and the bytes of their requests at once."""


def main(settings: config.Settings, examples: Sequence[Mapping[str, Any]], announce: Announce) -> int:
    """Run the server until it is told to stop; return the exit status.

    ``examples`` are inputs of CreateFunction, for functions that are made where their names are free. Raises
    HotforkError where the server cannot start.
    """
    premises.raise_descriptor_limit()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_Supervisor(settings).run(examples, announce))
        except BaseExceptionGroup as group:
            expected, bugs = group.split(errors.HotforkError)
            if expected is None or bugs is not None:
                raise
            raise _first(expected) from None


def _first(group: BaseExceptionGroup[errors.HotforkError]) -> errors.HotforkError:
    """Return the error that a task group wrapped."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


class _Supervisor:
    """One server, from its start to its end; what is built first is taken down last."""

    def __init__(self, settings: config.Settings) -> None:
        self._settings = settings
        self._up = contextlib.AsyncExitStack()
        self._tasks: asyncio.TaskGroup
        self._running: set[asyncio.Task[None]] = set()
        self._wall: walled.Walled | None = None

    async def run(self, examples: Sequence[Mapping[str, Any]], announce: Announce) -> int:
        """Serve until told to stop."""
        settings = self._settings
        stop = _Signals()
        async with self._up:
            premises.own(settings.state_dir, self._up)
            report = await asyncio.to_thread(isolation.probe, settings.isolation)
            functions_ = await self._registry()
            keeper = guard.Guard(settings, functions_, self._spawn)
            listener = telemetry.Telemetry(settings)
            listener.start()
            self._up.callback(listener.close)
            self._tasks = await self._up.enter_async_context(asyncio.TaskGroup())
            self._up.callback(self._cancel_tasks)
            network = premises.network(settings, report)
            if report.cgroups == "v1":
                self._up.callback(cgroups.take_precedence())
            workers, starts, forks = await staff.assemble(
                settings, self._up, self._spawn, report=report, network=network, listener=listener, keeper=keeper
            )
            places, provided = self._admission(functions_, workers, listener)
            self._up.callback(sweeper.Sweeper(functions_, workers.folders, self._spawn).close)
            runner = invoker.Invoker(functions_, places, workers, listener, sample=random.random)
            options = context.Options(
                interpreters=tuple(forks.runtimes),
                account_concurrency=settings.pool.account_concurrency,
                provisioned=provided.allocation,
                snapshots=lambda name, number: starts.templates.state(functions_.version(name, number)),
                source=premises.code_source(settings),
            )
            api = control.Api(functions_, options)
            queued = self._events(runner, functions_, listener)
            invoke = invocations.Invocations(
                runner, queued, functions_.site, configured.Configured(functions_).may_loop
            )
            about_events = event_pages.EventPages(queued, dead_letters.DeadLetters(queued))
            own_pages = pages.Pages(
                listener.logs,
                lambda name: functions_.version(name, None).log_group,
                listener.exposition,
                lambda: {"ready": forks.ready, "workers": workers.statistics(), "isolation": report.document()},
                lambda name, qualifier: starts.explain(functions_.version(name, qualifier)),
            )
            application = front.Front(
                invoke,
                api,
                {**own_pages.by_path(), **about_events.by_path()},
                self._spawn,
                about_events.actions(),
                door=keeper.public(),
            )
            http = server.Server(application, server.Limits(body_limit=refusals.body_limit), refusal=refusals.of)
            self._up.push_async_callback(http.close)
            functions_http = self._serve_functions(
                front.Front(invoke, api, {}, self._spawn, door=keeper.functions()), network
            )
            await _deploy(examples, api)
            for record in functions_.ledger.functions(None, _LOOKED_AT):
                starts.warm(record.latest.settings["Runtime"])
            for runtime in settings.preload_interpreters:
                await forks.preload(runtime)
            provided.restore()
            await queued.start()
            # Called first at the end: what is cut short then runs again after the next start.
            self._up.callback(queued.hand_back)
            if keeper.needs_wall(network.how if network.open_to_host else "", own_uids=os.geteuid() == 0):
                self._build_wall(http, functions_http)
            port = await premises.listen(self._wall or http, settings.host, settings.port)
            watch = listener.metrics.watch
            watch(families.ZYGOTES, forks.counts)
            watch(families.HTTP_CONNECTIONS, lambda: http.connections)
            watch(families.HTTP_REQUESTS, lambda: application.requests)
            _watch_isolation(listener, report)
            _tame_collector()
            time_slice.shorten_own()
            announce(premises.url(settings.host, port), f"{report.summary()}\n{keeper.notice()}")
            await stop.asked.wait()
            queued.stop()
            await self._drain(http, workers, stop)
        return 0

    async def _registry(self) -> registry.Registry:
        settings = self._settings
        unpacker = unpacking.Unpacker(self._spawn)
        self._up.callback(unpacker.close)
        packages = code.CodeStore(settings.state_dir / "code", unpacker.unpack)
        site = names.Site(region=settings.region, account_id=settings.account_id)
        functions_ = registry.Registry(sqlite.SqliteStore(settings.state_dir / "hotfork.db"), packages, site)
        self._up.callback(functions_.close)
        await functions_.collect(everything=True)
        return functions_

    def _admission(
        self, functions_: registry.Registry, workers: pool.Pool, listener: telemetry.Telemetry
    ) -> tuple[admission.Admission, provisions.Provisions]:
        """Return what limits calls, and what holds workers for some; both follow the registry from now on."""
        places = admission.Admission(self._settings.pool.account_concurrency)
        for name, reserved, _ in functions_.ledger.concurrency():
            places.reserve(name, reserved)
        provided = provisions.Provisions(functions_, places, workers)
        functions_.subscribe(lambda change: _follow(change, functions_, places, workers, provided, listener))
        return places, provided

    def _events(
        self, runner: invoker.Invoker, functions_: registry.Registry, listener: telemetry.Telemetry
    ) -> events.Events:
        """Return the queue of asynchronous events; closed before the workers that serve it."""
        settings = self._settings
        chosen = settings.async_invoke
        store = queue.SqliteQueue(
            settings.state_dir / "events.db", letters=chosen.dead_letters, letters_size=chosen.dead_letters_mb * _MB
        )
        queued = events.Events(
            store,
            runner,
            configured.Configured(functions_),
            aws.Sender(settings.region, settings.aws.endpoint_of),
            listener,
            events.Limits.of(settings),
            new_request_id=request_ids.new,
        )
        self._up.push_async_callback(queued.close)
        functions_.subscribe(lambda change: queued.reconsider(change.function_name))
        listener.metrics.watch(families.EVENTS_QUEUED, queued.depths)
        listener.metrics.watch(families.DELIVERIES_QUEUED, lambda: queued.undelivered)
        listener.metrics.watch(families.DEAD_LETTERS, lambda: queued.letters)
        listener.metrics.watch(families.DEAD_LETTERS_EVICTED, lambda: queued.evicted)
        return queued

    def _serve_functions(self, application: front.Front, network: modes.Network) -> server.Server:
        """Let functions reach the API, each with credentials of its own, where its network has a door to it."""
        limits = server.Limits(
            body_limit=refusals.body_limit,
            bytes_in_flight=_FUNCTIONS_BYTES,
            unfinished_bytes=_FUNCTIONS_BYTES // 4,
            connections=_FUNCTIONS_CONNECTIONS,
        )
        http = server.Server(application, limits, refusal=refusals.of)
        self._up.push_async_callback(http.close)
        doors = network.doors
        doors.serve(lambda accepted, door: self._spawn(http.adopt(accepted, door, doors.most)))
        return http

    def _build_wall(self, users: server.Server, functions: server.Server) -> None:
        """Make what listens in the place of a server that functions could reach as well."""
        ids = self._settings.sandbox
        uids_ = range(ids.uid_base, ids.uid_base + ids.uid_count)
        self._wall = walled.Walled(users, functions, uids_, self._spawn)
        self._up.callback(self._wall.close)

    async def _drain(self, http: server.Server, workers: pool.Pool, stop: "_Signals") -> None:
        """Let what is in flight finish, until the time is up or a second signal comes."""
        http.stop_accepting()
        if self._wall is not None:
            self._wall.close()
        limit = self._settings.pool.drain_timeout_s
        waiting = self._tasks.create_task(stop.asked_again.wait())
        draining = self._tasks.create_task(_drained(http, workers, limit))
        await asyncio.wait((waiting, draining), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        draining.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _cancel_tasks(self) -> None:
        for task in self._running:
            task.cancel()


class _Signals:
    """What SIGTERM and SIGINT ask for."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.asked_again = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._heard)

    def _heard(self) -> None:
        (self.asked_again if self.asked.is_set() else self.asked).set()


async def _drained(http: server.Server, workers: pool.Pool, limit_s: float) -> None:
    await http.drain(limit_s)
    await workers.drain(limit_s)


def _follow(
    change: ledger.Changed,
    functions_: registry.Registry,
    places: admission.Admission,
    workers: pool.Pool,
    provided: provisions.Provisions,
    listener: telemetry.Telemetry,
) -> None:
    """Let a change of a function take effect: its old workers go, its reserved concurrency counts."""

    def keep(key: model.WorkerKey) -> bool:
        return change.generations.get(key.version, key.generation) == key.generation

    workers.retire(change.function_name, keep=keep)
    for number, generation in change.generations.items():
        if generation is not None:
            workers.prepare(functions_.version(change.function_name, number))
    record = functions_.ledger.function(change.function_name)
    places.reserve(change.function_name, record.reserved_concurrency if record else None)
    provided.follow(change.function_name)
    if record is None:
        listener.forget(change.function_name, f"/aws/lambda/{change.function_name}")


def _watch_isolation(listener: telemetry.Telemetry, report: isolation.Report) -> None:
    listener.metrics.watch(families.ISOLATION_LEVEL, lambda: report.level)
    listener.metrics.watch(families.ISOLATION_CONTROL, lambda: {one.name: int(one.engaged) for one in report.controls})


async def _deploy(examples: Sequence[Mapping[str, Any]], api: control.Api) -> None:
    """Create the example functions whose names are free, as any caller would."""
    for example in examples:
        code_ = {"ZipFile": base64.b64encode(example["Code"]["ZipFile"]).decode()}
        body = json.dumps({**example, "Code": code_}).encode()
        status, _, answer = await api.handle("POST", _FUNCTIONS, "", {"content-type": "application/json"}, body)
        if status not in (HTTPStatus.CREATED, HTTPStatus.CONFLICT):
            raise errors.ConfigError(f"example {example['FunctionName']}: {answer.decode(errors='replace')}")


def _tame_collector() -> None:
    # What lives now lives on: the collector need not walk over it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
