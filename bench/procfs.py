"""What the kernel tells of processes: CPU time, memory, parents. proc_pid_stat(5), proc_pid_smaps(5)."""

import dataclasses
import os
import re
from collections import defaultdict
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_KTHREADD = 2
_ZYGOTE = b"zygote"
"""In the command line of a zygote, and of nothing else that a supervisor starts."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time in seconds."""

    user: float = 0.0
    system: float = 0.0
    unsplit: float = 0.0
    """Less than a tick of each process: neither counted as user nor as system time."""

    def __add__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user + other.user, self.system + other.system, self.unsplit + other.unsplit)

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user - other.user, self.system - other.system, self.unsplit - other.unsplit)

    @property
    def total(self) -> float:
        """All of it."""
        return self.user + self.system + self.unsplit


@dataclasses.dataclass(frozen=True, slots=True)
class Stat:
    """What of /proc/PID/stat is of use."""

    parent: int
    cpu: Cpu
    reaped: Cpu
    """Of the children that have ended and were waited for."""
    threads: int


def stat(pid: int) -> Stat | None:
    """Return a process's figures, or None where it is gone.

    /proc/PID/stat counts in steps of 10 ms, too coarse for a worker that has served one call. The scheduler's own
    count, where the kernel keeps it, is in nanoseconds, but for living threads only and not split in user and system.
    """
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold anything.
    fields = text[text.rindex(")") + 2 :].split()
    user, system, reaped_user, reaped_system = (int(field) * _TICK_S for field in fields[11:15])
    cpu = Cpu(user, system)
    cpu = Cpu(user, system, max(_scheduled_s(pid) - cpu.total, 0.0))
    return Stat(int(fields[1]), cpu, Cpu(reaped_user, reaped_system), int(fields[17]))


def _scheduled_s(pid: int) -> float:
    """Return the CPU time of a process's living threads by /proc/PID/task/TID/schedstat; 0 where there is none."""
    total = 0
    try:
        for thread in os.listdir(_PROC / str(pid) / "task"):  # noqa: PTH208
            total += int((_PROC / str(pid) / "task" / thread / "schedstat").read_text().split()[0])
    except OSError:
        return 0.0
    return total * 1e-9


def children() -> dict[int, list[int]]:
    """Return the children of every process that has some."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for name in os.listdir(_PROC):  # noqa: PTH208 - names, a thousand of them, several times a second
        if name.isdigit():
            known = stat(int(name))
            if known is not None:
                found[known.parent].append(int(name))
    return found


def namespace_depth(pid: int) -> int:
    """Return in how many pid namespaces a process is known, as seen from ours; 0 where it is gone."""
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    match = re.search(r"^NSpid:\s*(.*)$", status, re.MULTILINE)
    return len(match.group(1).split()) if match else 1


def pss(pid: int) -> int | None:
    """Return a process's proportional set size in bytes; None where it is gone or not ours to read."""
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def rss(pid: int) -> int | None:
    """Return a process's resident set size in bytes; None where it is gone."""
    try:
        pages = (_PROC / str(pid) / "statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int | None:
    """Return how many file descriptors a process has open; None where that cannot be read."""
    try:
        return len(os.listdir(_PROC / str(pid) / "fd"))  # noqa: PTH208
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def mounts(pid: int) -> int | None:
    """Return how many mounts a process sees."""
    try:
        return (_PROC / str(pid) / "mountinfo").read_bytes().count(b"\n")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def memory_available() -> int:
    """Return MemAvailable in bytes: what could be had without swapping. It counts page tables as used, PSS does not."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", (_PROC / "meminfo").read_text(), re.MULTILINE)
    assert match is not None
    return int(match.group(1)) * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """A hotfork server's processes by what they are."""

    supervisor: int
    zygotes: tuple[int, ...]
    workers: tuple[int, ...]
    """With everything that workers started."""
    helpers: tuple[int, ...]
    """What else the supervisor started: the router of the functions' network, an unpacker."""


def family(supervisor: int) -> Family:
    """Tell a server's processes apart.

    A zygote is a child of the supervisor that was started as one or, where it has a pid namespace, that child's child;
    workers are below it. Its mounter, which shares that namespace with it, counts as a part of it.
    """
    return _family(supervisor, children())


def _family(supervisor: int, of: dict[int, list[int]]) -> Family:
    own_depth = namespace_depth(supervisor)
    launchers = [pid for pid in of.get(supervisor, ()) if _ZYGOTE in _command_line(pid)]
    zygotes = list(launchers)
    tops: list[int] = []
    for launcher in launchers:
        for child in of.get(launcher, ()):
            if namespace_depth(child) == own_depth + 1:
                zygotes.append(child)
                for one in of.get(child, ()):
                    (zygotes if namespace_depth(one) == own_depth + 1 else tops).append(one)
            else:
                tops.append(child)
    helpers = below([pid for pid in of.get(supervisor, ()) if pid not in launchers], of)
    return Family(supervisor, tuple(zygotes), below(tops, of), helpers)


def below(tops: list[int], of: dict[int, list[int]]) -> tuple[int, ...]:
    """Return processes and all that they started."""
    found: list[int] = []
    waiting = list(tops)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += of.get(pid, ())
    return tuple(sorted(found))


def _command_line(pid: int) -> bytes:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@dataclasses.dataclass(frozen=True, slots=True)
class FamilyCpu:
    """CPU time of a server so far, by what took it; workers with those that have ended."""

    supervisor: Cpu
    zygote: Cpu
    workers: Cpu
    helpers: Cpu
    others_s: float = 0.0
    """Of all that is neither the server nor started by this process: it was taken away from what is measured."""
    kernel_threads_s: float = 0.0
    """The part of it that the kernel's own threads took."""

    def __sub__(self, other: "FamilyCpu") -> "FamilyCpu":
        return FamilyCpu(
            self.supervisor - other.supervisor,
            self.zygote - other.zygote,
            self.workers - other.workers,
            self.helpers - other.helpers,
            self.others_s - other.others_s,
            self.kernel_threads_s - other.kernel_threads_s,
        )

    @property
    def total(self) -> Cpu:
        """All of it."""
        return self.supervisor + self.zygote + self.workers + self.helpers


def family_cpu(supervisor: int) -> FamilyCpu:
    """Return the CPU time that a server has taken so far."""
    of = children()
    known = _family(supervisor, of)
    own = stat(supervisor)
    zygote = workers = Cpu()
    for pid in known.zygotes:
        each = stat(pid)
        if each is not None:
            zygote += each.cpu
            workers += each.reaped
    for pid in known.workers:
        each = stat(pid)
        if each is not None:
            workers += each.cpu
    helpers = sum((each.cpu for each in map(stat, known.helpers) if each is not None), Cpu())
    threads = [stat(pid) for pid in of.get(_KTHREADD, ())] if _is_kthreadd() else []
    return FamilyCpu(
        own.cpu if own is not None else Cpu(),
        zygote,
        workers,
        helpers,
        _busy_s() - _tree_cpu(os.getpid(), of),
        sum(each.cpu.total for each in threads if each is not None),
    )


def tree_cpu(top: int) -> float:
    """Return the CPU time in seconds that a process and all below it have taken so far, with those that have ended."""
    return _tree_cpu(top, children())


def _tree_cpu(top: int, of: dict[int, list[int]]) -> float:
    found = [stat(pid) for pid in below([top], of)]
    return sum(each.cpu.total + each.reaped.total for each in found if each is not None)


def _busy_s() -> float:
    """Return the time that all processors have run for, less what they waited for the host."""
    user, nice, system, _idle, _wait, interrupts, softirqs, *_ = (_PROC / "stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, interrupts, softirqs))) * _TICK_S


def _is_kthreadd() -> bool:
    """Return whether we see the kernel's own threads, whose parent is kthreadd: not from within a container."""
    try:
        return (_PROC / str(_KTHREADD) / "comm").read_text() == "kthreadd\n"
    except (FileNotFoundError, ProcessLookupError):
        return False


def cgroups() -> int:
    """Return how many cgroups there are on the machine, over all controllers (/proc/cgroups), v1 and v2."""
    lines = (_PROC / "cgroups").read_text().splitlines()[1:]
    return max((int(line.split()[2]) for line in lines), default=0)
