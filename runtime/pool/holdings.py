"""All that workers hold: hands it out and takes it back, and keeps a stock of cgroups for those to come."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from runtime import model, trees
from runtime.pool import cgroups, holding, memory_watch

SPARE_GROUPS = 16
"""Clean cgroups made ahead: a group from the stock costs microseconds, a new one 170."""

KEPT_GROUPS = 64
"""Clean cgroups kept at most, where workers gave them back: the next burst has need of them."""

_RECYCLE_AFTER_S = 0.02
_STILL_DYING_S = 0.01
"""How long to wait for killed processes to leave their cgroups."""


class Holdings:
    """Hands out what workers hold and takes it back; use from one event loop."""

    def __init__(self, sources: holding.Sources, spawn_task: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """``spawn_task`` runs a coroutine that never raises as a task with a parent."""
        self.sources = sources
        self.watch = memory_watch.MemoryWatch() if sources.groups.kind == "none" else None
        self.starting = 0
        """How many workers have not started yet: they share what CPU time starts are given."""
        self._spawn_task = spawn_task
        self._recycle_due = False
        self._recycled = asyncio.Event()
        self._recycled.set()
        self._closing = False

    def take(
        self, version: model.Version, *, shared: tuple[int, Callable[[str], None]] | None = None
    ) -> holding.Holding:
        """Return what one worker of a version is to hold; there is nothing in it before it is furnished.

        ``shared``: it is for a copy of a template, whose memory of that size it shares, and whose network; and what is
        called, from a thread, where the template holds on to it when it is given back.
        """
        return holding.Holding(self, version.memory_mb, version.ephemeral_storage_mb, version=version, shared=shared)

    def take_blank(self, memory_mb: int, tmp_mb: int) -> holding.Holding:
        """Return what a worker of a function not known yet is to hold; the same goes for it."""
        return holding.Holding(self, memory_mb, tmp_mb)

    def acquire(self, limits: cgroups.Limits) -> cgroups.Group:
        """Return a cgroup; raise OSError where there is none to be had."""
        group = self.sources.groups.acquire(limits)
        self._recycle_soon()
        return group

    def give_back(self, held: holding.Holding) -> None:
        """Take back what a dead worker held; what takes time is done in threads."""
        sources = self.sources
        if held.acquired:
            sources.groups.release(held.group, spent=held.on_misuse)
        if held.image is not None and sources.images is not None:
            alone = sources.walled and not held.shared
            sources.images.discard(held.image, held.on_misuse, alone=alone)
        if held.folder is not None:
            self._spawn_task(_remove(held.folder))
        if held.owner_of_uid is not None:
            sources.ids.give_back(held.owner_of_uid)
        self._recycle_soon()

    async def close(self) -> None:
        """Remove every cgroup, image and namespace; the workers must be gone."""
        self._closing = True
        if self.watch is not None:
            await asyncio.to_thread(self.watch.close)
        await self._recycled.wait()
        await asyncio.to_thread(self.sources.groups.close)
        if self.sources.images is not None:
            await asyncio.to_thread(self.sources.images.close)
        self.sources.network.close()

    def _recycle_soon(self) -> None:
        self._recycle_due = True
        if self._recycled.is_set() and not self._closing:
            self._recycled.clear()
            self._spawn_task(self._recycle())

    async def _recycle(self) -> None:
        """Bring the stock of cgroups back to what it should be: not at once, because whoever took one comes first."""
        try:
            while self._recycle_due and not self._closing:
                await asyncio.sleep(_RECYCLE_AFTER_S)
                self._recycle_due = False
                await self._empty()
        finally:
            self._recycled.set()

    async def _empty(self) -> None:
        """Clean the cgroups that were given back; the kernel does not tell when the killed have left them."""
        recycle = self.sources.groups.recycle
        while await asyncio.to_thread(recycle, SPARE_GROUPS, KEPT_GROUPS) and not self._closing:  # noqa: ASYNC110
            await asyncio.sleep(_STILL_DYING_S)


async def _remove(folder: str) -> None:
    await asyncio.to_thread(trees.remove, Path(folder))
