"""The name under which a supervisor leaves things in the kernel, and whether its bearer is still alive.

A name is ``hotfork-<pid>-<start>-<pid namespace>``. Pids mean something only in their own pid namespace, and come
again: the time of the start, in clock ticks since boot, tells two bearers of one pid apart.
"""

import os
import re
from pathlib import Path

_NAME = re.compile(r"hotfork-(\d+)-(\d+)-(\d+)")


def name(proc: Path = Path("/proc")) -> str:
    """Return the name of this process."""
    pid = os.getpid()
    return f"hotfork-{pid}-{_started(proc, pid)}-{_pid_namespace(proc)}"


def is_name(text: str) -> bool:
    """Return whether a name is that of any supervisor, alive or dead."""
    return _NAME.fullmatch(text) is not None


def orphan(name: str, proc: Path = Path("/proc")) -> bool:
    """Return whether a name is that of a supervisor that is dead; one of another pid namespace is not ours to judge."""
    match = _NAME.fullmatch(name)
    if match is None or int(match[3]) != _pid_namespace(proc):
        return False
    return _started(proc, int(match[1])) != int(match[2])


def _started(proc: Path, pid: int) -> int | None:
    try:
        stat = (proc / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name of the program, in parentheses, may hold anything; field 22 counts from after it (proc(5)).
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def _pid_namespace(proc: Path) -> int:
    return (proc / "self/ns/pid").stat().st_ino
