"""The zygote's main: a small, warm, single-threaded process that forks workers on order.

It is executed with an empty environment and one descriptor, a SOCK_SEQPACKET socket to the supervisor. It imports
everything a worker needs, makes its namespaces and its root, and then serves orders until the socket ends; with it,
pid 1 of its pid namespace, everything it forked ends. It runs no function's code and holds no secret.

    mode "root"   namespaces by privilege; each worker gets a uid of its own
    mode "user"   the same inside a user namespace, for a supervisor without privilege
    mode "bare"   no namespaces: workers are confined by ids, Landlock, seccomp and limits only
"""

# The signal module's own functions dress numbers as enums, which would copy 75 pages into each child.
import _signal  # type: ignore[import-not-found]
import contextlib
import dataclasses
import errno
import functools
import gc
import os
import select
import signal
import socket
import sys
from typing import NoReturn

from runtime import wire
from runtime.worker import (
    bootstrap,
    holes,
    immortal,
    interpreter,
    kernel,
    landlock,
    practice,
    preload,
    rights,
    root,
    sandbox,
    seccomp,
    syscalls,
    template,
)
from runtime.worker.job import Job, Setting

# isort: split
# Last: in the midst of what workers use, its code would spread that over more pages.
from runtime.worker import mounter

_ANCILLARY = socket.CMSG_SPACE(64 * 4)
_NOT_OFFERED = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP)
"""Answers of clone3 where the kernel or a filter around us does not offer it, or its CLONE_INTO_CGROUP."""
_BARE = "mode bare makes no namespaces"
_ABSENT_IN_BARE = ("pid", "namespaces", "network", "proc", "tmp", "mounts", "hostname")
_PATHS_IN_BARE = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ssl/certs", "/etc/localtime")


def main(arguments: list[str]) -> NoReturn:
    """Run a zygote.

    Arguments: descriptors (the control socket's, and that of a user namespace to join), mode, library (used by the
    caller), SDK folder, the file to show as /etc/resolv.conf, the parent's pid, packages of the SDK to preload.
    """
    fds, mode, _library, sdk, resolv_conf, parent, packages = arguments
    fd, *user_namespace = map(int, fds.split(","))
    control = socket.socket(fileno=fd)
    sys.argv[:] = [""]
    os.environ.clear()  # an empty environment is given a LC_CTYPE by the interpreter itself (PEP 538)
    step, host_view = "start", -1
    try:
        _die_with(int(parent))
        _check_machine()
        os.umask(0o022)  # the supervisor's may hide from workers what is made for them
        step = "namespaces"
        if mode == "bare":
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)  # what a dead worker leaves becomes ours: see _reap
        else:
            _enter_namespaces(mode, control, *user_namespace)
            step = "root"
            host_view = _enter_root(sdk, resolv_conf)
        step = "setting"
        zygote = Zygote(control, _setting(mode, sdk, host_view))
        step = "preload"
        if packages:
            folder = sdk if mode == "bare" else "/var/runtime"
            zygote.preloaded = interpreter.preloaded(packages.split(","), folder, _home(mode))
    except Exception as error:
        code = error.errno or 0 if isinstance(error, OSError) else 0
        reason = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        control.sendall(wire.encode(wire.ZygoteFailed(step, code, reason)))
        os._exit(sandbox.REFUSED)
    with contextlib.suppress(ConnectionError):  # the supervisor is gone: another way to end
        zygote.serve()
    os._exit(0)


def _die_with(parent: int) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it died before the kernel knew of our wish


def _check_machine() -> None:
    if kernel.MACHINE not in seccomp.ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no numbers of system calls are known for {kernel.MACHINE}")


def _enter_namespaces(mode: str, control: socket.socket, user_namespace: int = -1) -> None:
    """Go on as pid 1 of a new pid namespace, in mode "user" of a user namespace with root's rights in it as well."""
    if mode == "user" and user_namespace >= 0:
        # The one in which the workers' networks are: from no other could they be joined.
        kernel.setns(user_namespace, kernel.CLONE_NEWUSER)
        os.close(user_namespace)
        kernel.unshare(kernel.CLONE_NEWPID)
    elif mode == "user":
        uid, gid = os.getuid(), os.getgid()
        # Together, so that the pid namespace is the user namespace's: leaving and joining it needs that.
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID)
        kernel.write_maps(0, uid, 0, gid)
    else:
        kernel.unshare(kernel.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        control.close()
        _, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    # Should the parent be dead already, the end of the control socket tells.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def _enter_root(sdk: str, resolv_conf: str) -> int:
    """Leave the host's root for ours; return a descriptor of a mount namespace with the host's view.

    Only its descriptor is kept: a worker-to-be steps into it to take copies of its function's folders along, and it is
    closed before any code of a function runs. So no path of the code store is in the root of zygote or workers.
    """
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.make_slave("/")
    host_view = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    kernel.unshare(kernel.CLONE_NEWNS)
    root.enter(sdk, resolv_conf)
    return host_view


def _home(mode: str) -> str:
    """Return a worker's home folder as os.path.expanduser sees it: "~" where its uid has none."""
    # Bare, it may not read the file of the host that would tell (Landlock).
    return "/tmp" if mode == "user" else "~"  # root._USERS


def _setting(mode: str, sdk: str, host_view: int) -> Setting:
    absent: dict[str, str] = {}
    readable: tuple[str, ...] = ()
    if mode == "bare":
        absent = dict.fromkeys(_ABSENT_IN_BARE, _BARE)
        readable = (*_PATHS_IN_BARE, *root.interpreter_folders(), *([sdk] if sdk else []))
    if os.geteuid() == 0:
        # Here once for all workers: what we hold ourselves stays, and a child inherits that none comes back by exec.
        rights.drop_bounding_set()
    else:
        absent["identity"] = "changing the uid needs root"
    try:
        abi = kernel.landlock_abi()
    except OSError as error:
        abi = 0
        absent["landlock"] = f"the kernel has none: {error}"
    if mode == "bare" and abi < landlock.SCOPES_ABI:
        absent["signals"] = "keeping signals inside a worker needs a pid namespace or Landlock ABI 6"
    filters = (
        seccomp.program(kernel.MACHINE),
        seccomp.template_program(kernel.MACHINE),
        seccomp.refusal(kernel.MACHINE, syscalls.UNSEEN),
    )
    user_limits = os.open("/proc/sys/user", os.O_PATH | os.O_CLOEXEC) if mode == "user" else -1
    return Setting(mode, filters[0], abi, readable, absent, host_view, filters[1], filters[2], user_limits)


@dataclasses.dataclass(slots=True)
class Zygote:
    """Serves orders; ``workers`` maps the pids of living workers to their slots."""

    control: socket.socket
    setting: Setting
    workers: dict[int, int] = dataclasses.field(default_factory=dict)
    own_pids: int = -1
    """Descriptor of the zygote's own pid namespace."""
    wakeup: int = -1
    preloaded: preload.Preloaded | None = None
    mounter_pid: int = 0

    def serve(self) -> None:
        """Serve until the control socket ends."""
        if self.setting.mode != "bare":
            self.own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._prepare()
        self.wakeup, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wakeup, select.POLLIN)
        conflicts = self.preloaded.conflicts if self.preloaded is not None else ()
        ready = wire.ZygoteReady(self.setting.absent, " ".join(sorted(conflicts)))
        if self.setting.mode != "bare":
            self._start_mounter()
        self._say_with_pidfd(ready, os.getpid())
        while True:
            for fd, _event in poll.poll():
                if fd == self.wakeup:
                    os.read(self.wakeup, 4096)
                    self._reap()
                elif not self._take_order():
                    return

    def _prepare(self) -> None:
        """Leave as little as can be for workers to do, and to copy."""
        bootstrap.prepare(template, preloaded=self.preloaded)
        bootstrap.hide()
        if self.setting.mode != "bare":  # where no rehearsal lies
            gc.collect()
            holes.fill()  # so that what is made now lies together, too
            begin = functools.partial(_begin, self.setting)
            own = (Zygote._become, Zygote._fork, kernel.fork, kernel.fork_into, sandbox.confine, sandbox.await_folders)
            bootstrap.practise(lambda: practice.steps(begin), (*own, *practice.OTHERS))
        gc.collect()
        immortal.keep_all()
        holes.fill()
        gc.freeze()

    def _say(self, message: wire.FromZygote) -> None:
        self.control.sendall(wire.encode(message))

    def _say_with_pidfd(self, message: wire.FromZygote, pid: int, *more: int) -> None:
        pidfd = os.pidfd_open(pid)
        try:
            socket.send_fds(self.control, [wire.encode(message)], [pidfd, *more])
        finally:
            os.close(pidfd)

    def _reap(self) -> None:
        for pid, status in kernel.ended():
            slot = self.workers.pop(pid, None)
            if pid == self.mounter_pid:
                self._lost_mounter(status)
            elif slot is not None:
                self._say(wire.Exited(slot, status))
        if self.own_pids < 0:
            self._kill_orphans()

    def _start_mounter(self) -> None:
        self.mounter_pid, end, bell = mounter.start(self.setting.host_view)
        try:
            self._say_with_pidfd(wire.MounterReady(), self.mounter_pid, end, bell)
        finally:
            os.close(end)
            os.close(bell)

    def _lost_mounter(self, status: int) -> None:
        """Start another if it was killed, as by the OOM killer; one that ended by itself would do so again."""
        self.mounter_pid = 0
        if status == signal.SIGKILL:
            try:
                self._start_mounter()
            except OSError as error:
                sys.stderr.write(f"no other mounter can be had: {error}\n")

    def _kill_orphans(self) -> None:
        """Kill what dead workers started, where no pid namespace ended with them; what that leaves comes next."""
        with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123 - a Path each time is waste
            children = map(int, file.read().split())
        for pid in children:
            if pid not in self.workers:
                os.kill(pid, signal.SIGKILL)

    def _take_order(self) -> bool:
        """Serve one order; return False at the end of the socket."""
        packet, fds, _flags, _ = socket.recv_fds(self.control, wire.PACKET_LIMIT, 64)
        if not packet:
            return False
        order = wire.parse_packet(packet, wire.ZYGOTE_ORDERS)
        try:
            self._spawn(order, fds)
        except OSError as error:
            self._say(wire.SpawnFailed(order.slot, "fork", error.errno or 0, str(error)))
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _spawn(self, order: wire.Spawn, fds: list[int]) -> None:
        names = order.fds.split()
        if len(names) != len(fds):
            raise OSError(errno.EBADMSG, f"{len(names)} descriptors named, {len(fds)} came")
        if len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208 - a Path each time is waste
            raise OSError(errno.EBUSY, "the zygote has more than one thread")
        cgroups = tuple(fd for name, fd in zip(names, fds, strict=True) if name == "cgroup")
        singles = {name: fd for name, fd in zip(names, fds, strict=True) if name != "cgroup"}
        own_pids, folder = self.own_pids, singles.get("cgroup_folder")
        if "cgroup" not in order.skip and not cgroups and folder is None:
            raise OSError(errno.EBADF, "no cgroup was passed")
        if own_pids >= 0:
            kernel.unshare(kernel.CLONE_NEWPID)
        try:
            pid, born_there = self._fork(folder, must=not cgroups)
            if not pid:
                self._become(order, singles, () if born_there else cgroups)
        finally:
            # The child never comes here: it has served or died.
            if own_pids >= 0:
                kernel.setns(own_pids, kernel.CLONE_NEWPID)
        self.workers[pid] = order.slot
        self._say_with_pidfd(wire.Spawned(order.slot), pid)

    def _fork(self, cgroup_folder: int | None, *, must: bool) -> tuple[int, bool]:
        """Return the child's pid, 0 in the child, and whether it was born in the cgroup, as it ``must``."""
        if cgroup_folder is not None:
            try:
                return kernel.fork_into(cgroup_folder), True
            except OSError as error:
                if must or error.errno not in _NOT_OFFERED:
                    raise
        return kernel.fork(), False

    def _become(self, order: wire.Spawn, fds: dict[str, int], cgroups: tuple[int, ...]) -> NoReturn:
        """Be the worker: in the forked child, whatever happens, nothing of the zygote's code runs on."""
        try:
            job = _begin(self.setting, order, fds, cgroups)
            rest = bootstrap.dress if self.setting.mode == "bare" else bootstrap.rehearse
            serve = functools.partial(template.serve, job) if job.is_template else bootstrap.serve
            sandbox.confine(job, serve, rest)
        except BaseException as error:
            sys.stderr.write(f"worker: {type(error).__name__}: {error}\n")
        finally:
            os._exit(sandbox.REFUSED)


def _begin(setting: Setting, order: wire.Spawn, fds: dict[str, int], cgroups: tuple[int, ...]) -> Job:
    """Forget the zygote's signals; return what is to be confined."""
    _signal.set_wakeup_fd(-1)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    return Job(setting, order, fds, cgroups, {**setting.absent, **order.skip})


def _ignore(_signal: int, _frame: object) -> None:
    """Let a child's end interrupt poll."""
