"""A cell: where a process of ours does one short job on a stranger's data. It can write into one folder, and no more.

Entered with the data already open and every module loaded, because from then on no file can be read:

    namespaces   user (unless root), mount, network, ipc, uts, pid; the last means a fork: the first process only
                 waits for the second. They need no folder, so a process that waits for one has them (``separate``)
    limits       processor time, memory, size of files, descriptors
    root         the folder becomes the root, without set-uid programs or devices: the rest of the machine is not there
    privileges   no capability, no new ones by exec. Root stays root, so that what is written belongs to it: with no
                 capability, in a root that holds that folder alone
    landlock     write below the folder, read nowhere: the wall where there are no namespaces
    seccomp      last: a worker's filter, less whatever reaches another process or machine

A control is left out only where the kernel, or a container around us, does not give it; whatever else goes wrong is an
error, and the job is not done.
"""

import errno
import functools
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from runtime.worker import kernel, landlock, seccomp

_ABSENT = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL, errno.ENOSPC, errno.EUSERS})
"""How the kernel says that it lacks a control, that we may not have it, or that its number of namespaces is used up."""

_NAMESPACES = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWPID
_REACHING_OUT = """
socket socketpair connect accept accept4 bind listen sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg
clone clone3 fork vfork execve execveat
kill tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_send_signal process_mrelease
shmget shmat shmctl semget semop semctl semtimedop msgget msgsnd msgrcv msgctl
mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify
link linkat mknod mknodat
"""
"""Calls that a worker may make and a cell may not: networks, processes, signals, memory and queues shared by name."""


def separate() -> bool:
    """Leave the namespaces that are shared with others; return whether that was to be had.

    Returns in the process that is to do the job, which may be a child of the one that called; that one then waits and
    exits as the child does. Raises OSError.
    """
    _filter()  # what it takes to make it is spared to those who wait for the job
    if not _had(_leave_namespaces):
        return False
    _become_child()
    return True


def enter(folder: Path, limits: Mapping[int, int], *, separated: bool) -> Path:
    """Go into a cell for good; return where the folder is now. ``limits`` are by resource.RLIMIT_*.

    ``separated`` is what ``separate`` returned. Raises OSError.
    """
    for limit, value in limits.items():
        kernel.hold_to(limit, value)
    place = Path("/") if separated and _had(lambda: _leave_root(folder)) else folder
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    abi = _landlock_abi()
    if abi:
        landlock.confine(abi, [], [str(place)], [])
    _had(lambda: kernel.load_filter(_filter()))
    return place


@functools.cache
def _filter() -> bytes:
    return seccomp.program(kernel.MACHINE, without=_REACHING_OUT.split())


def _had(control: Callable[[], None]) -> bool:
    """Engage a control; return whether it is to be had here."""
    try:
        control()
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return False
    return True


def _leave_namespaces() -> None:
    if os.geteuid() == 0:
        kernel.unshare(_NAMESPACES)
        return
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | _NAMESPACES)
    kernel.write_maps(uid, uid, gid, gid)


def _become_child() -> None:
    """Go on as the first process of the new pid namespace; leave the parent behind, to wait."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        os._exit(0 if status == 0 else 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave_root(folder: Path) -> None:
    kernel.make_slave("/")
    tree = kernel.clone_tree(str(folder))
    try:
        kernel.restrict_mount(tree, kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
        kernel.place_mount(tree, str(folder))
    finally:
        os.close(tree)
    os.chdir(folder)
    kernel.pivot_root(".", ".")
    kernel.unmount(".")
    os.chdir("/")


def _landlock_abi() -> int:
    try:
        return kernel.landlock_abi()
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return 0
