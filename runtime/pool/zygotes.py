"""The zygotes: one an interpreter, and one more that has imported the SDK (see ``preloading``).

Each is started when it is first needed; who comes before one serves waits for it. They are named by runtime.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from runtime import errors
from runtime.pool import mounting, sdk, spawner

PRELOADED = "+sdk"
"""Behind a runtime's name: of its zygote that has the SDK's packages imported."""


class Ordered(spawner.Listener, Protocol):
    """Who wants a process."""

    doomed: bool
    """Not wanted any more: an order that was not placed yet need not be."""

    def order(self) -> spawner.Order:
        """Return the order; asked for once, when it can be placed."""

    def placed(self) -> None:
        """Hear that the order's descriptors are not needed any more."""


class Zygotes:
    """All zygotes of a supervisor."""

    def __init__(
        self,
        settings: Mapping[str, spawner.Settings],
        spawn_task: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """Take the settings by runtime; ``spawn_task`` runs a coroutine that never raises as a task with a parent."""
        self._settings = settings
        self._spawn_task = spawn_task
        self._zygotes: dict[str, _Zygote] = {}
        self.on_lost: Callable[[str, str], None] = lambda _runtime, _reason: None
        """Called with the runtime and the reason when a zygote is gone that was not closed."""
        self.on_mounter_lost: Callable[[str], None] = lambda _runtime: None
        """Called with the runtime when a zygote has no mounter any more."""

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Return the runtimes that there can be zygotes for."""
        return tuple(self._settings)

    @property
    def ready(self) -> bool:
        """Return whether workers can be had, as far as is known: no zygote failed last."""
        needed = (one for name, one in self._zygotes.items() if not name.endswith(PRELOADED))
        return bool(self._settings) and not any(one.gone for one in needed)

    def counts(self) -> dict[str, float]:
        """Return how many serve, by runtime."""
        return {runtime: int(one.spawner.alive) for runtime, one in self._zygotes.items()}

    def place(self, runtime: str, ordered: Ordered) -> None:
        """Have a process forked by the zygote of a runtime; raise WorkerLost where there can be none."""
        self._get(runtime).place(ordered)

    def kill(self, runtime: str, slot_id: int) -> None:
        """Kill a process; one that is gone is ignored."""
        one = self._zygotes.get(runtime)
        if one is not None:
            one.spawner.kill(slot_id)

    def mounter(self, runtime: str) -> mounting.Mounter | None:
        """Return what places folders in sealed blanks of a runtime's zygote, where there is one."""
        one = self._zygotes.get(runtime)
        return one.spawner.mounter if one is not None else None

    def warm(self, zygote: str) -> str:
        """Start one, unless it is up, on its way, or never came up; return why it is not up."""
        one = self._zygotes.get(zygote)
        if one is None or (one.gone and one.served):
            try:
                one = self._get(zygote)
            except errors.WorkerLost as error:
                return f"cannot be had: {error.message}"
        if not one.up.done():
            return "is being started"
        return "" if one.served and not one.gone else f"cannot be had: {one.up.exception()}"

    def conflicts(self, zygote: str) -> frozenset[str]:
        """Return names of modules that keep a function from the use of what one has imported."""
        return self._zygotes[zygote].spawner.conflicts

    async def preload(self, runtime: str) -> None:
        """Start the zygote of a runtime until it serves; raise WorkerLost or IsolationError if it never does."""
        await asyncio.shield(self._get(runtime).up)

    async def close(self) -> None:
        """End every zygote, and with them every worker."""
        for one in self._zygotes.values():
            await one.close()

    def _get(self, runtime: str) -> "_Zygote":
        one = self._zygotes.get(runtime)
        if one is None or one.gone:
            settings = self._settings.get(runtime.removesuffix(PRELOADED))
            if settings is None:
                raise errors.WorkerLost(f"no interpreter for {runtime} is known: name one under [interpreters]")
            if runtime.endswith(PRELOADED):
                settings = dataclasses.replace(settings, preload=sdk.PRELOADED)
            one = self._zygotes[runtime] = _Zygote(
                settings,
                lambda reason: self.on_lost(runtime, reason),
                lambda: self.on_mounter_lost(runtime),
            )
            self._spawn_task(one.start())
        return one


class _Zygote:
    """One zygote and those who wait for it."""

    def __init__(
        self, settings: spawner.Settings, on_lost: Callable[[str], None], on_mounter_lost: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._on_lost = on_lost
        self._waiting: list[Ordered] = []
        self.spawner = spawner.Spawner(self._lost, on_mounter_lost)
        self.gone = False
        self.served = False
        self.up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        try:
            await self.spawner.start(self._settings)
        except errors.HotforkError as error:
            self.gone = True
            self.up.set_exception(error)
            self.up.exception()  # those who want to know have it; nobody must
            self._refuse(error.message)
        else:
            self.served = True
            self.up.set_result(None)
            for one in self._waiting:
                try:
                    self._order(one)
                except errors.WorkerLost as error:
                    one.on_failed("zygote", 0, error.message)
            self._waiting.clear()

    async def close(self) -> None:
        """End it. Who waits for it hears so now: its start may end when nobody can take anything back any more."""
        await self.spawner.close()
        self._refuse("the server is stopping")

    def _refuse(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.on_failed("zygote", 0, reason)
            one.placed()

    def place(self, ordered: Ordered) -> None:
        if self.up.done():
            self._order(ordered)
        else:
            self._waiting.append(ordered)

    def _order(self, ordered: Ordered) -> None:
        try:
            if ordered.doomed:
                ordered.on_lost()
            else:
                self.spawner.spawn(ordered.order(), ordered)
        finally:
            ordered.placed()

    def _lost(self, reason: str) -> None:
        self.gone = True
        self._on_lost(reason)
