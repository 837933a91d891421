"""Starts worker processes for the pool: takes a blank, or places an order at the zygote of the version's runtime."""

import asyncio
import dataclasses
import itertools
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence

from runtime import model, observer, wire
from runtime.pool import (
    blanks,
    environment,
    forked,
    gate,
    holding,
    holdings,
    memory_class,
    preloading,
    process,
    templates,
    zygotes,
)

_log = logging.getLogger(__name__)
_INITIALIZATION = {model.StartKind.SNAPSHOT: "snap-start", model.StartKind.PROVISIONED: "provisioned-concurrency"}
"""AWS_LAMBDA_INITIALIZATION_TYPE: docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html."""
_READING_AGE_S = 0.05
"""How long a reading of the host's free memory is believed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all launches share, settled at start."""

    mode: str
    """Of the zygotes; in "bare" there are no mount namespaces, and workers see the host's paths."""
    skip: Mapping[str, str]
    """Controls that orders leave out, with reasons."""
    sdk: str
    """Folder that functions see as /var/runtime."""
    region: str
    extra_environment: Callable[[model.Version], Mapping[str, str]]
    """What a worker's environment holds besides AWS's variables: credentials of its own, endpoints."""
    host_memory_bytes: int
    """Memory in use on the host from which on no worker is started."""
    classes: Sequence[memory_class.MemoryClass]
    most_blanks: int
    """And as many copies of templates, made ahead."""
    snapshots: templates.Rules


class Launcher:
    """The real launcher; implements ``process.Launcher``."""

    def __init__(
        self,
        plan: Plan,
        forks: zygotes.Zygotes,
        supplies: holdings.Holdings,
        listener: observer.Observer,
        zygote_choice: preloading.Preloading,
        *,
        new_stream: Callable[[model.Version], str],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``clock`` is the pool's."""
        self.plan = plan
        self._forks = forks
        self._supplies = supplies
        self.preloading = zygote_choice
        self._gates: dict[str, gate.Gate] = {}
        self._numbers = itertools.count(1)
        self._warmed: set[str] = set()
        self._room = True
        self._room_until = 0.0
        self._loop = asyncio.get_running_loop()
        making = templates.Making(
            self._order_template, self.assign, supplies, plan.skip, self._numbers, self._has_memory
        )
        self.templates = templates.Templates(
            plan.snapshots, making, listener, most_ahead=plan.most_blanks, new_stream=new_stream, clock=clock
        )
        self.blanks = blanks.Blanks(self._make_blank, plan.classes, most=plan.most_blanks, has_room=self._has_memory)
        forks.on_mounter_lost = self._lost_mounter

    def launch(self, version: model.Version, listener: process.Listener, *, copied: bool = True) -> process.Process:
        """Start a worker's process; see ``process.Launcher``."""
        copy = self.templates.copy(version, listener) if copied else None
        if copy is not None:
            return copy
        zygote = self.preloading.choose(version).zygote
        blank = self.blanks.take(version, zygote, listener)
        if blank is not None:
            return blank
        started = self._order(zygote, self._supplies.take(version), listener, version)
        entrance = self._gates.setdefault(zygote, gate.Gate())
        started.on_made = entrance.leave
        entrance.enter(started.furnish, version.function_name)
        return started

    def has_room(self, version: model.Version) -> bool:
        """Return whether there is memory for one more worker: a blank, or a copy made ahead, has it already."""
        made = self.templates.copies_ahead(version) or self.blanks.available(self.preloading.choose(version).zygote)
        return bool(made) or self._has_memory()

    def started(self, version: model.Version, kind: model.StartKind, phases: model.Phases) -> None:
        """Make a template where that start says that it is worth while."""
        if kind is not model.StartKind.SNAPSHOT:
            self.templates.consider(version, phases.init)

    def warm(self, runtime: str) -> None:
        """Start the zygote of a runtime and make its first blanks, once: the first call then waits for neither."""
        if runtime in self._forks.runtimes and runtime not in self._warmed:
            self._warmed.add(runtime)
            self._forks.warm(runtime)
            self.blanks.warm(runtime)

    def prepare(self, version: model.Version) -> None:
        """Start what it will be forked from, look through its sources, and make a template where it asks for one."""
        self.warm(version.runtime)
        self.preloading.examine(version)
        if self.templates.suits(version):
            self.templates.want(version)

    def explain(self, version: model.Version) -> dict[str, str]:
        """Say how the next worker of a version would be started, and why so."""
        choice = self.preloading.choose(version)
        return {
            "Zygote": choice.zygote,
            "Reason": choice.reason,
            "Snapshot": self.templates.explain(version.key),
            "CopiesAhead": str(self.templates.copies_ahead(version)),
        }

    def distrust(self, version: model.Version, reason: str) -> None:
        """Make no more copies of a version's template."""
        self.templates.distrust(version, reason)

    def retire(self, function_name: str, *, keep: Callable[[model.WorkerKey], bool]) -> None:
        """Let go of templates whose version is gone."""
        self.templates.retire(function_name, keep=keep)

    def make_room(self) -> bool:
        """Let go of the blanks, or of the copies made ahead, or else of a template."""
        return self.blanks.drop() or self.templates.drop()

    async def close(self) -> None:
        """Let go of all that is no worker's; the workers must be gone."""
        self.blanks.close()
        await self.templates.close()

    def assign(self, version: model.Version, stream: str, kind: model.StartKind) -> wire.Assign:
        """Return what turns a confined process into a worker of a version."""
        plan = self.plan
        bare = plan.mode == "bare"
        task_root = version.code_path if bare else environment.TASK_ROOT
        layer_root = version.layer_path if bare and version.layer_path else environment.LAYER_ROOT
        variables = environment.variables(
            version,
            stream=stream,
            region=plan.region,
            extra=plan.extra_environment(version),
            task_root=task_root,
            layer_root=layer_root,
            initialization=_INITIALIZATION.get(kind, "on-demand"),
        )
        return wire.Assign(
            version.handler,
            variables,
            task_root,
            layer_root,
            plan.sdk if bare else environment.SDK_ROOT,
            version.memory_mb,
            version.log_group,
            stream,
        )

    def _lost_mounter(self, zygote: str) -> None:
        _log.warning("%s: the mounter of the zygote is gone, and until there is another, starts take longer", zygote)
        self.blanks.let_go(zygote)

    def _make_blank(self, kind: blanks.Kind, listener: process.Listener) -> forked.Forked:
        held = self._supplies.take_blank(kind.memory_mb, memory_class.TMP_MB)
        blank = self._order(kind.zygote, held, listener, None)
        blank.furnish()
        return blank

    def _order_template(self, version: model.Version, listener: process.Listener, door_fd: int) -> forked.Forked:
        held = self._supplies.take(version)
        held.shared = True
        template = self._order(self.preloading.choose(version).zygote, held, listener, version, door_fd)
        template.furnish()
        return template

    def _order(
        self,
        zygote: str,
        held: holding.Holding,
        listener: process.Listener,
        version: model.Version | None,
        door_fd: int | None = None,
    ) -> forked.Forked:
        try:
            started = forked.Forked(
                next(self._numbers),
                self._forks,
                zygote,
                held,
                listener,
                version=version,
                skip=self.plan.skip,
                door_fd=door_fd,
            )
        except BaseException:
            if door_fd is not None:
                os.close(door_fd)
            raise
        return started

    def _has_memory(self) -> bool:
        """Return whether the host has memory for one more worker, from a reading that is at most 50 ms old."""
        now = self._loop.time()
        if now >= self._room_until:
            self._room = _memory_in_use() < self.plan.host_memory_bytes
            self._room_until = now + _READING_AGE_S
        return self._room


def _memory_in_use() -> int:
    """Return the bytes of the host's memory that are in use: proc_meminfo(5). psutil tells more, and takes 0.3 ms."""
    with open("/proc/meminfo", "rb") as file:  # noqa: PTH123 - a tenth of what a Path costs here
        lines = file.read(256).splitlines()[:3]
    values = {name: int(value.removesuffix(b"kB")) for name, _, value in (line.partition(b":") for line in lines)}
    return (values[b"MemTotal"] - values[b"MemAvailable"]) * 1024
