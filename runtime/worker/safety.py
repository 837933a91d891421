"""Whether a process can be copied by fork without anybody noticing: nothing it has may be shared with its copies.

A copy has one thread, whatever its original has; it shares open sockets, pipes and positions in files; it is nobody's
parent; it has a /tmp of its own, and so none of the files that were there.
"""

# Strings, because pathlib is one more module for every worker to carry.
# ruff: noqa: PTH115, PTH123, PTH208

import os
import signal
import socket
import stat

_ACCESS = os.O_RDONLY | os.O_WRONLY | os.O_RDWR
_TIMERS = {
    "ITIMER_REAL": signal.ITIMER_REAL,
    "ITIMER_VIRTUAL": signal.ITIMER_VIRTUAL,
    "ITIMER_PROF": signal.ITIMER_PROF,
}


def reasons(known: int) -> list[str]:
    """Return what stands against copies, in words; nothing where they are safe.

    Descriptors below ``known`` are the runtime's own. Threads that step aside at a fork (OpenBLAS's) do so here.
    """
    _try_fork()
    return [*_threads(), *_children(), *_descriptors(known), *_left_files(), *_shared_memory(), *_timers()]


def _try_fork() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def _threads() -> list[str]:
    tasks = os.listdir("/proc/self/task")
    if len(tasks) == 1:
        return []
    names = sorted({_read(f"/proc/self/task/{task}/comm").strip() for task in tasks if int(task) != os.getpid()})
    return [f"{len(tasks) - 1} other threads ({', '.join(names)})"]


def _children() -> list[str]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]
        return [f"{len(others)} processes that it started"] if others else []
    return ["child processes"]


def _descriptors(known: int) -> list[str]:
    found = []
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        fd = int(name)
        if fd < known:
            continue
        try:
            mode = os.fstat(fd).st_mode
            target = os.readlink(f"/proc/self/fd/{fd}")
            flags = int(_read(f"/proc/self/fdinfo/{fd}").partition("flags:")[2].split()[0], 8)
        except OSError:
            continue  # the descriptor of the listing itself
        if stat.S_ISSOCK(mode):
            found.append(_socket(fd))
        elif stat.S_ISFIFO(mode):
            found.append("a pipe")
        elif stat.S_ISREG(mode) and flags & _ACCESS:
            found.append(f"{target} is open for writing")
        elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISCHR(mode)):
            found.append(target.removeprefix("anon_inode:"))
    return found


def _socket(fd: int) -> str:
    with socket.socket(fileno=os.dup(fd)) as one:
        for told, name in (("to", one.getpeername), ("at", one.getsockname)):
            try:
                return f"a socket {told} {name()}"
            except OSError:
                continue
    return "a socket"


def _left_files() -> list[str]:
    found = []
    for folder in ("/tmp", "/dev/shm"):
        names = os.listdir(folder)
        if names:
            found.append(f"{len(names)} files in {folder} (such as {min(names)!r})")
    return found


def _shared_memory() -> list[str]:
    found = []
    for line in _read("/proc/self/maps").splitlines():
        _span, rights, _offset, _device, _inode, *name = line.split(None, 5)
        if rights[3] == "s" and "w" in rights:
            found.append(f"memory shared by {name[0] if name else 'mmap'}")
    return found


def _timers() -> list[str]:
    return [f"a timer ({name})" for name, which in _TIMERS.items() if any(signal.getitimer(which))]


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()
