"""All templates: for which versions there are any, which may be copied, and when one is let go.

A template is made beside the calls, never for one: while it is in the making, and where it cannot be had, workers are
started without it, and nobody but the log, the metrics and ``hotfork describe`` can tell. It stays when its version is
not called any more, longer than any worker, so that an alias can be moved back without a cold start.
"""

import asyncio
import dataclasses
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from runtime import errors, model, observer, wire
from runtime.pool import ahead, copied, forked, holdings, process, report, template

MIN_INIT_S = 0.02
"""A shorter import is not worth a template where the version does not ask for one: a copy takes milliseconds, too."""

LOOK_S = 5.0
"""How often is looked which template nobody used for long, and which runs on by itself; never while there is none."""

SERVED_S = 60.0
"""A template that dies sooner is not tried again."""

_MOST_COPIES = 10_000
"""Of one template: what copies leave behind in the kernel, as by descriptors that it keeps, ends with it."""

_REFUSALS = 10_000
"""Versions of which is remembered why they have no template."""

_log = logging.getLogger(__name__)


class _Refusal(NamedTuple):
    reason: str
    state: model.Snapshot


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an operator chose."""

    mode: Literal["off", "snapstart", "when-safe"] = "snapstart"
    """For no version, for those with SnapStart, or for all whose init takes a while."""
    isolation: str = "worker"
    """"invocation": all versions whose tags do not say otherwise have a snapshot, of which each call gets a copy."""
    warm_up: bytes | None = None
    """JSON of an event that the handler is called with before the snapshot."""
    keep_s: float = 4 * 3600.0
    """A template that nobody used for so long is let go."""
    most_bytes: int = 1 << 62
    """Of memory for all templates."""
    renew_s: float = 6 * 3600.0
    """A template so old is replaced: what init was given, credentials above all, is not good for ever."""


class Making:
    """How a template's process is made: by the launcher."""

    def __init__(
        self,
        order: Callable[[model.Version, process.Listener, int], forked.Forked],
        assign: Callable[[model.Version, str, model.StartKind], wire.Assign],
        supplies: holdings.Holdings,
        skip: Mapping[str, str],
        numbers: "itertools.count[int]",
        has_memory: Callable[[], bool],
    ) -> None:
        self.order = order
        self.assign = assign
        self.supplies = supplies
        self.skip = dict(skip)
        self.numbers = numbers
        self.has_memory = has_memory


class Templates:
    """All templates of a supervisor. Use from one event loop."""

    def __init__(
        self,
        rules: Rules,
        making: Making,
        listener: observer.Observer,
        *,
        most_ahead: int,
        new_stream: Callable[[model.Version], str],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._rules = rules
        self._making = making
        self._observer = listener
        self._new_stream = new_stream
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._templates: dict[model.WorkerKey, template.Template] = {}
        self._living: set[template.Template] = set()
        """Those that are retired included."""
        self._refused: OrderedDict[model.WorkerKey, _Refusal] = OrderedDict()
        self._known: OrderedDict[model.WorkerKey, None] = OrderedDict()
        """Versions that have, or had, a template."""
        self._looking: asyncio.TimerHandle | None = None
        self._closed = False
        self.ahead = ahead.Ahead(self._make_ahead, most=most_ahead, has_room=making.has_memory)

    def copy(self, version: model.Version, listener: process.Listener) -> copied.Copied | None:
        """Return a copy of the version's template, or None where there is none to be had.

        Raises OSError where there are no descriptors for its pipes.
        """
        one = self._templates.get(version.key)
        if one is None or one.state is not template.State.READY:
            return None
        if self._clock() - one.born > self._rules.renew_s or one.ordered >= _MOST_COPIES:
            self._retire(one, "it is old")
            self.want(version)
            return None
        return self.ahead.take(one, listener) or self._order_copy(one, listener)

    def copies_ahead(self, version: model.Version) -> int:
        """Return how many copies of the version's template were made ahead and wait."""
        one = self._templates.get(version.key)
        return self.ahead.held(one) if one is not None else 0

    def _make_ahead(self, one: template.Template, listener: process.Listener) -> copied.Copied | None:
        return self._order_copy(one, listener) if one.state is template.State.READY else None

    def _order_copy(self, one: template.Template, listener: process.Listener) -> copied.Copied:
        making = self._making

        def misused(reason: str) -> None:
            self._loop.call_soon_threadsafe(one.distrust, reason)

        held = making.supplies.take(one.version, shared=(one.bytes, misused))
        return one.copy(next(making.numbers), held, listener, making.skip)

    def suits(self, version: model.Version) -> bool:
        """Return whether a version is to have a template whatever its init takes."""
        asked = version.snap_start or version.isolates_calls(self._rules.isolation)
        return asked and self._rules.mode != "off"

    def consider(self, version: model.Version, init_s: float) -> None:
        """Make a template of a version, of which a worker was just started, where that is worth while."""
        if self.suits(version) or (self._rules.mode == "when-safe" and init_s >= MIN_INIT_S):
            self.want(version)

    def want(self, version: model.Version) -> None:
        """Make a template of a version, unless there is one, or cannot be."""
        key = version.key
        if key in self._templates or key in self._refused or self._closed or not self._making.has_memory():
            return
        stream = self._new_stream(version)
        making = self._making

        def written(data: bytes) -> None:
            self._observer.log_written(version, stream, data)

        def ended(one: template.Template, reason: str) -> None:
            self._ended(one, reason, stream)

        try:
            one = template.Template(
                version,
                lambda listener, door_fd: making.order(version, listener, door_fd),
                assign=making.assign(version, stream, model.StartKind.SNAPSHOT),
                warm_up=self._rules.warm_up,
                born=self._clock(),
                on_log=written,
                on_ready=lambda one, init_s: self._ready(one, init_s, stream),
                on_end=ended,
            )
        except (errors.WorkerLost, OSError) as error:
            self._refuse(version, _Refusal(str(error), model.Snapshot.OFF), stream)
            return
        self._platform(version, stream, report.init_start(version, time.time(), stream=stream, kind="snap-start"))
        self._templates[key] = one
        self._living.add(one)
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_S, self._look)

    def retire(self, function_name: str, *, keep: Callable[[model.WorkerKey], bool]) -> None:
        """Let go of the templates of a function whose key ``keep`` refuses."""
        for key in [key for key in self._refused if key.function_name == function_name and not keep(key)]:
            del self._refused[key]
        for key in [key for key in self._known if key.function_name == function_name and not keep(key)]:
            del self._known[key]
        for key, one in list(self._templates.items()):
            if key.function_name == function_name and not keep(key):
                self._retire(one, "its version is gone")

    def distrust(self, version: model.Version, reason: str) -> None:
        """Let go of a version's template: a copy of it could not be started."""
        one = self._templates.get(version.key)
        if one is not None:
            one.kill(reason)

    def drop(self) -> bool:
        """Let something go, for the memory; return whether there was anything.

        That is the copies that nobody took yet, or else the template that was not used longest.
        """
        if self.ahead.drop():
            return True
        one = self._spare()
        if one is not None:
            self._retire(one, "the host is short of memory")
        return one is not None

    def states(self) -> dict[str, float]:
        """Return how many there are in each state; of those refused, versions."""
        counts: dict[str, float] = dict.fromkeys(("making", "ready", "refused"), 0)
        for one in self._templates.values():
            if one.state is not template.State.ENDED:
                counts[one.state.value] += 1
        counts["refused"] = len(self._refused)
        return counts

    def state(self, version: model.Version) -> model.Snapshot:
        """Return what there is of a template of a version that asks for one."""
        key = version.key
        one = self._templates.get(key)
        if one is not None:
            return self._state_of(one)
        refusal = self._refused.get(key)
        if refusal is not None:
            return refusal.state
        possible = self.suits(version) and self._making.has_memory()
        return model.Snapshot.IDLE if possible else model.Snapshot.OFF

    def _state_of(self, one: template.Template) -> model.Snapshot:
        if one.state is template.State.READY:
            return model.Snapshot.READY
        if one.state is template.State.MAKING:
            return model.Snapshot.REMAKING if one.version.key in self._known else model.Snapshot.MAKING
        return model.Snapshot.FAILED if one.failed else model.Snapshot.OFF

    def explain(self, key: model.WorkerKey) -> str:
        """Return, in words, what there is of a template of a version."""
        one = self._templates.get(key)
        if one is not None:
            return one.state.value
        refusal = self._refused.get(key)
        return "none" if refusal is None else f"refused: {refusal.reason}"

    async def close(self) -> None:
        """Let every template go, and with them every worker that is a copy; return when those made ahead are gone."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        for one in list(self._living):
            one.kill("the server is stopping")
        await self.ahead.close()

    def _retire(self, one: template.Template, reason: str) -> None:
        self._templates.pop(one.version.key, None)
        self.ahead.release(one)
        one.retire(reason)

    def _ready(self, one: template.Template, init_s: float, stream: str) -> None:
        self._platform(
            one.version, stream, report.init_report(one.version, time.time(), duration_s=init_s, kind="snap-start")
        )
        self._known[one.version.key] = None
        if len(self._known) > _REFUSALS:
            self._known.popitem(last=False)
        while sum(each.bytes for each in self._templates.values()) > self._rules.most_bytes:
            other = self._spare(besides=one)
            if other is None:
                break
            self._retire(other, "others need its memory")

    def _spare(self, besides: template.Template | None = None) -> template.Template | None:
        """Return the template without copies that was not used longest."""
        unused = [each for each in self._templates.values() if not self._is_used(each) and each is not besides]
        return min(unused, key=lambda each: each.used, default=None)

    def _is_used(self, one: template.Template) -> bool:
        """Return whether a template has copies that were made for somebody."""
        return one.copies > self.ahead.held(one)

    def _ended(self, one: template.Template, reason: str, stream: str) -> None:
        self._living.discard(one)
        self.ahead.release(one)
        if self._templates.get(one.version.key) is one:
            # Nobody let it go: it was not fit, or it died. One that served for a while may be made once more.
            del self._templates[one.version.key]
            if self._clock() - one.born < SERVED_S:
                self._refuse(one.version, _Refusal(reason, self._state_of(one)), stream)
            else:
                _log.warning("%s:%s lost its snapshot: %s", one.version.function_name, one.version.version, reason)
        self._observer.log_closed(one.version, stream)

    def _refuse(self, version: model.Version, refusal: _Refusal, stream: str) -> None:
        if self._closed:
            return
        reason = refusal.reason
        _log.warning("%s:%s has no snapshot: %s", version.function_name, version.version, reason)
        self._platform(version, stream, f"SNAPSHOT_REFUSED {reason}\n".encode())
        self._refused[version.key] = refusal
        if len(self._refused) > _REFUSALS:
            self._refused.popitem(last=False)

    def _platform(self, version: model.Version, stream: str, line: bytes) -> None:
        if line:
            self._observer.log_written(version, stream, line, platform=True)

    def _look(self) -> None:
        self._looking = None
        before = self._loop.time() - self._rules.keep_s
        for one in list(self._templates.values()):
            if one.state is template.State.READY and one.strays(LOOK_S):
                one.distrust("it runs although nothing is asked of it")
            elif not self._is_used(one) and one.used < before and one.state is template.State.READY:
                self._retire(one, "it was not used for long")
        if self._templates:
            self._looking = self._loop.call_later(LOOK_S, self._look)
