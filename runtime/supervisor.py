"""The composition root: builds the rooms in their order, runs them under one TaskGroup, and takes them down.

Up: the state folder (locked: one supervisor each), the probe of the sandbox, the registry, the zygotes and the pool,
the invoker, the API, the socket. Down, on SIGTERM or SIGINT: stop accepting, let calls in flight finish for at most
``pool.drain_timeout_s``; then kill workers and zygotes, flush the logs, close the store. A second signal skips the
wait.
"""

import asyncio
import base64
import contextlib
import datetime as dt
import errno
import fcntl
import gc
import importlib.util
import json
import os
import random
import resource
import secrets
import signal
import socket
import stat
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil
import uvloop

from runtime import config, errors, model, trees
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
    sources,
    walled,
)
from runtime.api.auth import guard
from runtime.invoke import admission, clients, configured, dead_letters, events, invoker, provisions
from runtime.invoke.destinations import aws
from runtime.invoke.queue import sqlite as queue
from runtime.pool import (
    cgroups,
    environment,
    holding,
    isolation,
    launcher,
    memory_class,
    pool,
    preloading,
    rules,
    scratch,
    sdk,
    spawner,
    templates,
    uids,
    zygotes,
)
from runtime.pool.network import modes
from runtime.registry import code, ledger, names, registry, sqlite, sweeper, unpacking
from runtime.telemetry import families, telemetry

Announce = Callable[[str, str], None]
"""Called once the server listens, with its URL and lines about what is confined and who may call."""

_PACKAGES = ("runtime", "msgpack", "simplejson")
"""What a zygote imports of ours."""
_MEMORY_SHARE = 0.8
"""Of the host's memory, what may be in use before no more workers are started, where nothing else is set."""
_SWITCH_INTERVAL_S = 0.0005
"""How long a thread (logs, stores) may keep the event loop from the interpreter; Python's default is ten times that."""
_COLLECT_AFTER = 50_000
"""New objects after which the collector looks for cycles: an invocation makes none, but many objects."""

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
    _raise_descriptor_limit()
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
            _own(settings.state_dir, self._up)
            report = await asyncio.to_thread(isolation.probe, settings.isolation)
            functions_ = await self._registry()
            keeper = guard.Guard(settings, functions_, self._spawn)
            listener = telemetry.Telemetry(settings)
            listener.start()
            self._up.callback(listener.close)
            self._tasks = await self._up.enter_async_context(asyncio.TaskGroup())
            self._up.callback(self._cancel_tasks)
            packages = await asyncio.to_thread(sdk.folder, settings.state_dir / "sdk")
            network = _network(settings, report)
            forks = zygotes.Zygotes(_zygote_settings(settings, report.mode, packages, network), self._spawn)
            workers, starts = await self._pool(forks, report, packages, network, listener, keeper)
            places, provided = self._admission(functions_, workers, listener)
            self._up.callback(sweeper.Sweeper(functions_, workers.folders, self._spawn).close)
            runner = invoker.Invoker(functions_, places, workers, listener, sample=random.random)
            options = context.Options(
                interpreters=tuple(forks.runtimes),
                account_concurrency=settings.pool.account_concurrency,
                provisioned=provided.allocation,
                snapshots=lambda name, number: starts.templates.state(functions_.version(name, number)),
                source=_code_source(settings),
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
            for runtime in settings.preload_interpreters:
                await forks.preload(runtime)
            provided.restore()
            await queued.start()
            # Called first at the end: what is cut short then runs again after the next start.
            self._up.callback(queued.hand_back)
            if keeper.needs_wall(network.how if network.open_to_host else "", own_uids=os.geteuid() == 0):
                self._build_wall(http, functions_http)
            port = await _listen(self._wall or http, settings.host, settings.port)
            watch = listener.metrics.watch
            watch(families.ZYGOTES, forks.counts)
            watch(families.HTTP_CONNECTIONS, lambda: http.connections)
            watch(families.HTTP_REQUESTS, lambda: application.requests)
            _watch_isolation(listener, report)
            _tame_collector()
            announce(_url(settings.host, port), f"{report.summary()}\n{keeper.notice()}")
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

    async def _pool(
        self,
        forks: zygotes.Zygotes,
        report: isolation.Report,
        packages: Path,
        network: modes.Network,
        listener: telemetry.Telemetry,
        keeper: guard.Guard,
    ) -> tuple[pool.Pool, launcher.Launcher]:
        settings = self._settings
        supplies = holding.Sources(
            groups=cgroups.open_backend(only="none" if settings.isolation == "none" else ""),
            cpu_mode=cgroups.CpuMode(settings.sandbox.cpu),
            ids=uids.Uids(settings.sandbox.uid_base, settings.sandbox.uid_count),
            images=_scratch(settings.state_dir, report),
            network=network,
            private=_private(settings.state_dir) if report.mode == "bare" else None,
        )
        holdings = holding.Holdings(supplies, self._spawn)
        self._up.push_async_callback(holdings.close)
        self._up.push_async_callback(forks.close)
        host_memory_bytes = settings.pool.host_memory_mb * _MB or int(psutil.virtual_memory().total * _MEMORY_SHARE)
        plan = launcher.Plan(
            mode=report.mode,
            skip={**report.skip, **network.skip},
            sdk=str(packages),
            region=settings.region,
            extra_environment=lambda version: keeper.environment(version, network.api_url),
            classes=memory_class.make(settings.pool.memory_classes_mb),
            most_blanks=settings.pool.blanks,
            snapshots=templates.Rules(
                mode=settings.snapshots.mode,
                isolation=settings.pool.isolation,
                warm_up=settings.snapshots.warm_up.encode() if settings.snapshots.warm_up else None,
                keep_s=settings.snapshots.keep_s,
                most_bytes=settings.snapshots.memory_mb * _MB or host_memory_bytes // 4,
                renew_s=guard.WORKER_AGE_S / 2,
            ),
            host_memory_bytes=host_memory_bytes,
        )
        choice = preloading.Preloading(forks, settings.pool.preload_sdk, self._spawn)
        starts = launcher.Launcher(plan, forks, holdings, listener, choice, new_stream=_new_stream)
        self._up.callback(starts.close)
        listener.metrics.watch(families.BLANKS, starts.blanks.counts)
        listener.metrics.watch(families.TEMPLATES, starts.templates.states)
        for runtime in settings.preload_interpreters:
            starts.blanks.warm(runtime)
        workers = pool.Pool(
            starts,
            listener,
            rules.Rules(
                init_timeout_s=settings.pool.init_timeout_s,
                idle_ttl_s=settings.pool.idle_ttl_s,
                learn=settings.pool.keep_alive == "learned",
                isolation=settings.pool.isolation,
                max_invocations=settings.pool.max_invocations,
                max_memory_mb=settings.pool.max_memory_mb,
                max_age_s=guard.WORKER_AGE_S,
            ),
            new_stream=_new_stream,
        )
        self._up.push_async_callback(workers.close)
        for family, read in (
            (families.PROVISIONED_INVOCATIONS, workers.provisioned.invocations),
            (families.PROVISIONED_SPILLOVER, workers.provisioned.spilled),
            (families.PROVISIONED_BUSY, workers.provisioned.busy),
            (families.PROVISIONED_READY, workers.provisioned.held),
            (families.PROVISIONED_UTILIZATION, workers.provisioned.utilization),
        ):
            listener.metrics.watch(family, read)
        return workers, starts

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


def _network(settings: config.Settings, report: isolation.Report) -> modes.Network:
    """Return the network of functions; raises IsolationError where the one that is asked for cannot be enforced."""
    first, count = settings.sandbox.uid_base, settings.sandbox.uid_count
    return modes.open_network(
        settings.sandbox.network,
        uids=range(first, first + count),
        allowed=settings.sandbox.allowed,
        api_port=settings.port,
        without=report.skip.get("network", ""),
    )


def _zygote_settings(
    settings: config.Settings, mode: str, packages: Path, network: modes.Network
) -> dict[str, spawner.Settings]:
    """Return what the zygote of each runtime is made of."""
    library = tuple(dict.fromkeys(str(_folder_of(name)) for name in _PACKAGES))
    return {
        runtime: spawner.Settings(
            python=os.path.realpath(python),
            library=library,
            sdk=str(packages),
            mode=mode,
            user_namespace=network.user_namespace,
            resolv_conf=network.resolv_conf,
        )
        for runtime, python in config.find_interpreters(settings.interpreters, os.environ).items()
    }


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


async def _listen(http: server.Server | walled.Walled, host: str, port: int) -> int:
    """Listen; return the port."""
    try:
        if isinstance(http, walled.Walled):
            return http.listen(host, port)
        await http.listen(host, port)
    except OSError as error:
        why, cure = str(error), "choose others with --host and --port"
        if error.errno == errno.EADDRINUSE:
            why = "another program listens there"
            cure = "stop it, or choose another port with --port (0 takes a free one)"
        elif error.errno == errno.EACCES:
            why, cure = "ports below 1024 want root", "choose another with --port"
        elif error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            why, cure = f"this machine has no address {host}", "choose another with --host"
        raise errors.ConfigError(f"cannot listen on port {port} of {host}: {why}; {cure}") from None
    return http.port


def _tame_collector() -> None:
    # What lives now lives on: the collector need not walk over it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _own(state_dir: Path, up: contextlib.AsyncExitStack) -> None:
    """Make the state folder, and hold it as long as the server lives: two servers on one folder would lose events."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_others(state_dir)
        lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.ConfigError(f"state_dir {state_dir}: {error.strerror}; choose another with --state-dir") from None
    up.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise errors.ConfigError(
            f"another hotfork server runs on {state_dir}: stop it, or choose another folder with --state-dir"
        ) from None


def _close_to_others(state_dir: Path) -> None:
    """Let nobody else into a state folder that was there before; a folder that is everybody's stays so."""
    status = state_dir.stat()
    if status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
        state_dir.chmod(0o700)


def _code_source(settings: config.Settings) -> sources.Source | None:
    """Return where code comes from that is named by bucket and key: what the settings name, never AWS unasked."""
    s3 = clients.Clients(settings.region, settings.aws.endpoint_of)
    named = settings.aws.endpoint_of("s3") is not None
    return sources.chosen(settings.code.buckets, (lambda: s3.get("s3")) if named else None)


def _scratch(state_dir: Path, report: isolation.Report) -> scratch.Store | None:
    """Return the store of images for /tmp, where this machine can have one."""
    if not report.control("scratch").engaged:
        return None
    folder = state_dir / "scratch"
    folder.mkdir(mode=0o700, exist_ok=True)
    return scratch.Store(folder)


def _private(state_dir: Path) -> Path:
    """Return an empty folder for the /tmp of workers without a mount namespace; others may only pass through."""
    folder = state_dir / "tmp"
    trees.remove(folder)
    folder.mkdir(mode=0o711)
    state_dir.chmod(0o711)
    return folder


def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def _new_stream(version: model.Version) -> str:
    return environment.stream_name(version, dt.datetime.now(dt.UTC).date(), secrets.token_hex(16))


def _raise_descriptor_limit() -> None:
    """Take all the descriptors that may be had: a worker needs about ten of the supervisor's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
