"""Steps of the sandbox that settle what a worker may do: ids, limits, capabilities, paths, descriptors, calls."""

import errno
import fcntl
import os
import resource
import signal
import stat

from runtime.worker import kernel, landlock
from runtime.worker.job import Job

REQUEST_FD = 3
RESPONSE_FD = 4
DOOR_FD = 5
"""Of a template: a socket through which the descriptors of its copies come."""
GATE_FD = 5
"""Of a blank, until it runs a function's code: a socket by which it is told that the function's folders are there."""
WORKER_UID = 993
WORKER_GID = 990
"""Inside a worker's own user namespace: the ids that functions have on AWS."""

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
INOTIFY_INSTANCES, INOTIFY_WATCHES = 8, 8192
"""Of a worker in a user namespace of its own. The kernel's default is 128 instances for all that one user runs."""
_LIMITS = {name.removeprefix("RLIMIT_"): number for name, number in vars(resource).items() if name[:7] == "RLIMIT_"}
"""By their names in orders. A name that is put together lies elsewhere each time, and so does what the interpreter
notes of its look-up: that would be a copied page each."""
_SPARE_FD = 64
"""Where descriptors are parked while 0 to 4 are laid out."""


def user(job: Job) -> None:
    """Mode "user": move into a user namespace of our own, which has no right over the namespaces made so far."""
    if job.setting.mode != "user":
        return  # the worker gets an id of its own instead
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(kernel.CLONE_NEWUSER)
    # A process that is not dumpable does not own its own /proc/self/uid_map.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    kernel.write_maps(WORKER_UID, uid, WORKER_GID, gid)
    _limit_watches(job.setting.user_limits)
    drop_bounding_set()  # a new user namespace comes with a full one


def _limit_watches(folder: int) -> None:
    """Leave others their share of what the kernel gives to all workers and the supervisor together: they are one user.

    Needs rights over the user namespace that was just made: its limits are meant, and it sees no others here.
    """
    for name, value in (("max_inotify_instances", INOTIFY_INSTANCES), ("max_inotify_watches", INOTIFY_WATCHES)):
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            continue  # a kernel without inotify
        try:
            os.write(fd, b"%d" % value)
        finally:
            os.close(fd)


def drop_bounding_set() -> None:
    """Give up every capability that an exec could bring back; the ones we have stay. Needs CAP_SETPCAP."""
    for capability in range(64):
        try:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return  # the first number that the kernel does not know
            raise


def limits(job: Job) -> None:
    """Set the resource limits of the order, and one against core dumps."""
    # A core of 1 byte is none (no core format fits), and unlike 0 it also keeps the kernel from starting a core_pattern
    # program, which ignores the limit otherwise: core(5).
    for name, value in {**job.order.limits, "CORE": 1}.items():
        if name.isupper():
            kernel.hold_to(_LIMITS[name], value)


def identity(job: Job) -> None:
    """Become the function's uid and gid; in mode "user" the namespace did that."""
    if job.setting.mode != "user":
        os.setgroups([])
        os.setresgid(job.order.gid, job.order.gid, job.order.gid)
        os.setresuid(job.order.uid, job.order.uid, job.order.uid)


def privileges(job: Job) -> None:
    """Give up all capabilities for ever, and be opaque to others of the same uid."""
    if job.setting.mode == "bare":
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)  # pid 1 of a namespace gets its orphans anyway
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    # Forgotten by the kernel when the ids change, so it comes after.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def rules(job: Job) -> None:
    """Make the rules for the paths, where they are the same for all functions: what is mounted tells them apart."""
    if job.setting.mode != "bare" and "landlock" not in job.missing and not job.is_template:
        job.fds["rules"] = landlock.rules(job.setting.landlock_abi, ["/"], ["/tmp", "/dev/shm"], ["/dev"])


def paths(job: Job) -> None:
    """Confine the worker to the paths it needs, and its signals to itself."""
    setting, folders = job.setting, job.order.folders
    if job.is_template:
        # Who is confined by Landlock can mount nothing, and neither can its copies.
        job.missing["landlock"] = "a template has none, so that its copies can have mounts of their own"
    elif "rules" in job.fds:
        kernel.landlock_restrict(job.fds["rules"])
    else:
        own = [path for name, path in folders.items() if name != "tmp"]
        read = (*setting.readable, "/proc/self", *own)
        landlock.confine(setting.landlock_abi, read, [folders["tmp"]], DEVICES)


def descriptors(job: Job) -> None:
    """Lay out 0 /dev/null, 1 and 2 the log, 3 requests, 4 responses, 5 a door or gate; close all others."""
    fds = job.fds
    fds["null"] = os.open("/dev/null", os.O_RDONLY)
    # Not inherited by what the function executes: all but 0 to 2.
    layout = {0: "null", 1: "log", 2: "log", REQUEST_FD: "request", RESPONSE_FD: "response"}
    if job.is_template:
        layout[DOOR_FD] = "door"
    elif job.has_gate:
        layout[GATE_FD] = "gate"
    # Not as dict comprehensions, nor by keyword: what these need besides is ten pages.
    parked = {}
    for name in layout.values():
        parked[name] = fcntl.fcntl(fds[name], fcntl.F_DUPFD_CLOEXEC, _SPARE_FD)
    for fd, name in layout.items():
        os.dup2(parked[name], fd, fd < REQUEST_FD)
    fds.clear()
    fds["response"] = RESPONSE_FD
    kernel.close_from(len(layout))


def calls(job: Job) -> None:
    """Load the filter of system calls."""
    if "AS" in job.order.limits:  # what stands in for a cgroup
        kernel.load_filter(job.setting.uncounted_filter)
    kernel.load_filter(job.setting.template_filter if job.is_template else job.setting.filter)


# Steps of a copy of a template. It has no privilege but over the namespaces that it was born into.


def own_user(job: Job) -> None:
    """Be in the new user namespace who the template is outside of it."""
    order = job.order
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    kernel.write_maps(order.uid, order.uid, order.gid, order.gid)


def redirect(job: Job) -> None:
    """Put the copy's pipes in the place of the template's, and close the template's door; keep what init opened."""
    fds = job.fds
    os.dup2(fds["log"], 1)
    os.dup2(fds["log"], 2)
    os.dup2(fds["request"], REQUEST_FD, inheritable=False)
    os.dup2(fds["response"], RESPONSE_FD, inheritable=False)
    for fd in {*fds.values(), *job.cgroups}:
        os.close(fd)
    fds.clear()
    fds["response"] = RESPONSE_FD


def files(_job: Job) -> None:
    """Open again what init has open for reading: copies that share a descriptor share its position, too."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - no Path in a worker
        fd = int(name)
        if fd > RESPONSE_FD and _is_file(fd):
            inheritable, position = os.get_inheritable(fd), os.lseek(fd, 0, os.SEEK_CUR)
            again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
            os.lseek(again, position, os.SEEK_SET)
            os.dup2(again, fd, inheritable=inheritable)
            os.close(again)


def _is_file(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False  # the descriptor of the listing itself
