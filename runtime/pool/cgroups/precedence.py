"""Lets the supervisor run before its workers: in a cgroup of its own, which weighs more than all of theirs.

Each call passes through the supervisor twice, and it is one thread. While more workers want to run than there are
processors, an equal would wait behind them a quarter of the time, with calls that could be given to idle processors in
its hands. It takes no more than its work takes: workers get the rest.

What it starts from then on inherits that. Zygotes are taken out again: of what they do, nobody waits for the most.
"""

import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from runtime.pool.cgroups import place, stock, v1

FACTOR = 8
"""Weight, where one core's worth of share is 1, and so is what holds all workers."""
_PATIENCE_S = 1.0

_log = logging.getLogger(__name__)


def take(where: place.Place) -> Callable[[], None]:
    """Move this process into a group of its own in the v1 hierarchy of the cpu controller; return what undoes that.

    On v2 it has one already: see ``v2``. Where it cannot be had, calls are slower, and no more.
    """
    home = where.own.get("cpu")
    if home is None:
        return _stay
    group = _group(where, home)
    try:
        _collect(where, home)
        group.mkdir(exist_ok=True)
        stock.write(f"{group}/cpu.shares", b"%d" % (FACTOR * v1.SHARES))
        stock.write(f"{group}/cgroup.procs", b"%d" % os.getpid())
    except OSError as error:
        _log.warning("the supervisor does not run before its workers: %s: %s", group, error.strerror)
        _dissolve(group, home)
        return _stay
    return functools.partial(_dissolve, group, home)


def leave_out(where: place.Place, pid: int) -> None:
    """Put a process that this one started where this one was started. Blocks, for the kernel waits for some ms."""
    home = where.own.get("cpu")
    if home is not None and _group(where, home).exists():
        stock.write(f"{home}/cgroup.procs", b"%d" % pid)


def _group(where: place.Place, home: Path) -> Path:
    return home / f"{where.name()}{place.SUPERVISOR}"


def _stay() -> None:
    """Do nothing."""


def _collect(where: place.Place, home: Path) -> None:
    """Dissolve what dead supervisors left. Nobody in it is killed: it may be more than workers."""
    for entry in list(home.iterdir()):
        if entry.name.endswith(place.SUPERVISOR) and where.orphan(entry.name.removesuffix(place.SUPERVISOR)):
            _dissolve(entry, home)


def _dissolve(group: Path, home: Path) -> None:
    """Move everybody out of a group, and remove it; who dies just now may take a moment."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            for pid in stock.members(group):
                with contextlib.suppress(ProcessLookupError):
                    stock.write(f"{home}/cgroup.procs", b"%d" % pid)
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.001)
        else:
            return
