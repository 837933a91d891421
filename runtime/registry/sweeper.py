"""Removes code that nothing refers to any more, some time after it was released.

Not at once, because a deployment releases code many times in a row, and because the workers that run it are only just
being let go. What workers still run from then is looked at again as long after.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from pathlib import Path
from typing import Any

from runtime.registry import registry

_log = logging.getLogger(__name__)

DELAY_S = 10.0


class Sweeper:
    """Collects a registry's garbage; binds to the running event loop."""

    def __init__(
        self,
        book: registry.Registry,
        busy: Callable[[], Collection[Path]],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        *,
        delay_s: float = DELAY_S,
    ) -> None:
        """``busy`` tells the folders of code that workers run from; ``spawn`` runs a coroutine in the background."""
        self._book = book
        self._busy = busy
        self._spawn = spawn
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        book.on_released = self._plan

    def close(self) -> None:
        """Begin nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _plan(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(self._delay_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._spawn(self._sweep())

    async def _sweep(self) -> None:
        try:
            more = await self._book.collect(self._busy)
        except Exception:  # noqa: BLE001 - a full disk, say: the code stays, and the server goes on
            _log.exception("code that is not needed any more could not be removed")
            more = True
        if more:
            self._plan()
