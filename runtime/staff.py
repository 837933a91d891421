"""The workers of a server: how their processes are made, and the pool that gives them their calls."""

import asyncio
import contextlib
import datetime as dt
import secrets
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from runtime import config, model, premises, trees
from runtime.api.auth import guard
from runtime.pool import (
    cgroups,
    environment,
    holding,
    holdings,
    isolation,
    launcher,
    memory_class,
    pool,
    preloading,
    rules,
    scratch,
    sdk,
    templates,
    uids,
    zygotes,
)
from runtime.pool.network import modes
from runtime.telemetry import families, telemetry

_MEMORY_SHARE = 0.8
"""Of the host's memory, what may be in use before no more workers are started, where nothing else is set."""
_MB = 1024 * 1024


class Staff(NamedTuple):
    """What the workers of a server are had from."""

    workers: pool.Pool
    starts: launcher.Launcher
    forks: zygotes.Zygotes


async def assemble(
    settings: config.Settings,
    up: contextlib.AsyncExitStack,
    spawn_task: Callable[[Coroutine[Any, Any, None]], None],
    *,
    report: isolation.Report,
    network: modes.Network,
    listener: telemetry.Telemetry,
    keeper: guard.Guard,
) -> Staff:
    """Return a pool and what starts its workers; ``up`` takes them down.

    ``spawn_task`` runs a coroutine as a task with a parent.
    """
    packages = await asyncio.to_thread(sdk.folder, settings.state_dir / "sdk")
    forks = zygotes.Zygotes(premises.zygotes(settings, report.mode, packages, network), spawn_task)
    sources = holding.Sources(
        groups=cgroups.open_backend(only="none" if settings.isolation == "none" else ""),
        cpu_mode=cgroups.CpuMode(settings.sandbox.cpu),
        ids=uids.Uids(settings.sandbox.uid_base, settings.sandbox.uid_count),
        images=_scratch(settings.state_dir, report),
        network=network,
        private=_private(settings.state_dir) if report.mode == "bare" else None,
        walled=report.level == isolation.STRONG and "network" not in network.skip,
    )
    supplies = holdings.Holdings(sources, spawn_task)
    up.push_async_callback(supplies.close)
    up.push_async_callback(forks.close)
    starts = launcher.Launcher(
        _plan(settings, report, packages, network, keeper),
        forks,
        supplies,
        listener,
        preloading.Preloading(forks, settings.pool.preload_sdk, spawn_task),
        new_stream=_new_stream,
    )
    up.push_async_callback(starts.close)
    listener.metrics.watch(families.BLANKS, starts.blanks.counts)
    listener.metrics.watch(families.TEMPLATES, starts.templates.states)
    listener.metrics.watch(families.COPIES_AHEAD, starts.templates.ahead.count)
    for runtime in settings.preload_interpreters:
        starts.warm(runtime)
    workers = pool.Pool(
        starts,
        listener,
        rules.Rules(
            init_timeout_s=settings.pool.init_timeout_s,
            idle_ttl_s=settings.pool.idle_ttl_s,
            learn=settings.pool.keep_alive == "learned",
            scale_out=settings.pool.scale_out,
            isolation=settings.pool.isolation,
            max_invocations=settings.pool.max_invocations,
            max_memory_mb=settings.pool.max_memory_mb,
            max_age_s=guard.WORKER_AGE_S,
        ),
        new_stream=_new_stream,
    )
    up.push_async_callback(workers.close)
    for family, read in (
        (families.PROVISIONED_INVOCATIONS, workers.provisioned.invocations),
        (families.PROVISIONED_SPILLOVER, workers.provisioned.spilled),
        (families.PROVISIONED_BUSY, workers.provisioned.busy),
        (families.PROVISIONED_READY, workers.provisioned.held),
        (families.PROVISIONED_UTILIZATION, workers.provisioned.utilization),
    ):
        listener.metrics.watch(family, read)
    return Staff(workers, starts, forks)


def _plan(
    settings: config.Settings, report: isolation.Report, packages: Path, network: modes.Network, keeper: guard.Guard
) -> launcher.Plan:
    """Return what all launches share."""
    host_memory_bytes = settings.pool.host_memory_mb * _MB or int(psutil.virtual_memory().total * _MEMORY_SHARE)
    return launcher.Plan(
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


def _new_stream(version: model.Version) -> str:
    return environment.stream_name(version, dt.datetime.now(dt.UTC).date(), secrets.token_hex(16))
