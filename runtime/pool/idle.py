"""The idle workers of all groups: which are kept and for how long, which go first where memory is short.

A function's last worker is kept for the windows of the function's policy (see ``keepalive``): where the next call is
not expected for long, it is let go, and another one is started when the call is due. Workers beyond that are kept for
a fixed time. An idle worker is frozen: nothing of a function runs between its invocations.
"""

import asyncio
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable

from runtime import model
from runtime.pool import group as groups
from runtime.pool import keepalive, worker

FREEZE_AFTER_S = 0.05
"""How long a worker idles before it is frozen: one that is called again at once is not worth two signals."""

_A_TURN = 16
_TURN_S = 0.001
"""To freeze a worker, or to let it go, takes a tenth of a millisecond, to think over how long to keep it up to half a
one: of many, the event loop does some, and sees to others in between."""
_PREWARMS_A_TURN = 4

GRACE_S = 60.0
"""A gap shorter than this is none to a policy: a worker is kept for it, whatever the windows are."""

LOOK_S = 5.0
"""How often is looked whose time is up, at most; never while nobody idles and nobody is due."""


class Idle:
    """Keeps idle workers. Use from one event loop."""

    def __init__(self, *, ttl_s: float, grace_s: float = GRACE_S, prewarm: Callable[[groups.Group], None]) -> None:
        """``ttl_s``: for workers that are not the last; ``prewarm`` starts a worker for a group without one."""
        self._loop = asyncio.get_running_loop()
        self._ttl_s = ttl_s
        self._grace_s = grace_s
        self._prewarm = prewarm
        self._look_s = min(max(min(ttl_s, grace_s) / 8, 0.002), LOOK_S)
        self._since: OrderedDict[worker.Worker, tuple[groups.Group, float]] = OrderedDict()
        """Since when each idles; idle longest first."""
        self._due: dict[model.WorkerKey, tuple[groups.Group, float]] = {}
        """Groups without a worker, and when one is to be started."""
        self._unfrozen: dict[worker.Worker, float] = {}
        """When each is to be frozen, or looked at whether it stands still."""
        self._unseen: deque[worker.Worker] = deque()
        """Those that are still to be looked at in this round."""
        self._parting: dict[worker.Worker, None] = {}
        """Nobody's any more, and to be let go."""
        self._looking: asyncio.TimerHandle | None = None
        self._freezing: asyncio.TimerHandle | None = None
        self._letting_go: asyncio.TimerHandle | None = None
        self._clock = 0.0
        """Of ``keepalive.worth_keeping``: the worth of the last that was evicted."""

    def put(self, group: groups.Group, one: worker.Worker) -> None:
        """Keep a worker."""
        group.rest(one)
        now = self._loop.time()
        self._since[one] = (group, now)
        if self._looking is None:
            self._looking = self._loop.call_later(self._look_s, self._look)
        self._unfrozen[one] = now + FREEZE_AFTER_S
        if self._freezing is None:
            self._freezing = self._loop.call_later(FREEZE_AFTER_S, self._freeze)

    def take(self, group: groups.Group) -> worker.Worker:
        """Return the worker of a group that idles shortest; the group must have one."""
        one = group.idle.pop()
        del self._since[one]
        group.lane.clock = self._clock
        return one

    def forget(self, one: worker.Worker) -> None:
        """Forget a worker, if it is idle: it is dying."""
        self._parting.pop(one, None)
        entry = self._since.pop(one, None)
        if entry is not None:
            entry[0].idle.remove(one)

    def retire(self, group: groups.Group) -> None:
        """Let go of all of a group: nobody is given one any more, but of many some live for a moment yet."""
        for one in list(group.idle):
            self.forget(one)
            self._unfrozen.pop(one, None)
            self._parting[one] = None
        if self._letting_go is None:
            self._part()

    def undue(self, key: model.WorkerKey) -> None:
        """Start no worker for a call that is expected: it came, or never will."""
        self._due.pop(key, None)

    def undue_all(self, which: Callable[[model.WorkerKey], bool]) -> None:
        """Do so for all of some keys."""
        for key in [key for key in self._due if which(key)]:
            del self._due[key]

    def evict(self) -> bool:
        """Let go of the worker that is worth least; return whether there was one."""
        crowd = {id(group): group for group, _ in self._since.values()}
        worths = [(self._worth(group), group.idle[0]) for group in crowd.values() if not group.idle[0].provisioned]
        if not worths:
            return False
        self._clock, one = min(worths, key=lambda entry: entry[0])
        self._let_go(one)
        return True

    def close(self) -> None:
        """Stop the timers."""
        for timer in (self._looking, self._freezing, self._letting_go):
            if timer is not None:
                timer.cancel()
        self._looking = self._freezing = self._letting_go = None
        self._due.clear()
        self._parting.clear()

    def _worth(self, group: groups.Group) -> float:
        """Return what the worker of a group is worth that idles longest: all share in the calls."""
        lane = group.lane
        worth = keepalive.worth_keeping(0.0, lane.calls, lane.start_time.value or 0.0, lane.size_bytes)
        return lane.clock + worth / len(group.idle)

    def _let_go(self, one: worker.Worker) -> None:
        self.forget(one)
        self._unfrozen.pop(one, None)
        one.drain()

    def _part(self) -> None:
        """Let go of some of those that are nobody's; the others have their turn next."""
        self._letting_go = None
        for one in list(itertools.islice(self._parting, _A_TURN)):
            del self._parting[one]
            one.drain()
        if self._parting:
            self._letting_go = self._loop.call_later(_TURN_S, self._part)

    def _look(self) -> None:
        """Let go of those whose time is up, and start what is due: some of them; the others have their turn next."""
        self._looking = None
        now = self._loop.time()
        if not self._unseen:
            self._unseen.extend(self._since)
        for _ in range(min(_A_TURN, len(self._unseen))):
            one = self._unseen.popleft()
            entry = self._since.get(one)
            if entry is None or one.provisioned:
                continue
            group, since = entry
            if one.outlived(self._ttl_s) or now >= self._until(group, one, since, now):
                self._let_go(one)
        due = [] if self._unseen else [group for group, at in self._due.values() if now >= at]
        for group in due[:_PREWARMS_A_TURN]:
            del self._due[group.key]
            self._prewarm(group)
        more = self._unseen or len(due) > _PREWARMS_A_TURN
        if more or self._since or self._due:
            self._looking = self._loop.call_later(_TURN_S if more else self._look_s, self._look)

    def _until(self, group: groups.Group, one: worker.Worker, since: float, now: float) -> float:
        """Return when a worker's time is up."""
        quiet_since = group.lane.quiet_since
        if one is not group.idle[-1] or not group.quiet or quiet_since is None:
            return since + self._ttl_s
        if now < quiet_since + self._grace_s:
            return quiet_since + self._grace_s  # at least: no need to think yet
        prewarm_s, keep_s = (60 * minutes for minutes in group.lane.policy.windows())
        if now < quiet_since + prewarm_s:
            self._due[group.key] = (group, quiet_since + prewarm_s)
            return now
        return quiet_since + max(self._grace_s, prewarm_s + keep_s)

    def _freeze(self) -> None:
        """Freeze the workers that have idled since the last time; the others have their turn next."""
        self._freezing = None
        now = self._loop.time()
        left = _A_TURN
        for one, due in list(self._unfrozen.items()):
            if one not in self._since:
                del self._unfrozen[one]
            elif due <= now:
                if one.freeze():
                    del self._unfrozen[one]
                else:
                    self._unfrozen[one] = now + FREEZE_AFTER_S
                left -= 1
                if not left:
                    break
        if self._unfrozen:
            self._freezing = self._loop.call_later(FREEZE_AFTER_S if left else _TURN_S, self._freeze)
