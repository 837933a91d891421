"""A snapshot: a process that ran its function's init, and from then on only forks copies of itself.

It is confined as a worker is, but for what forking takes (see ``sandbox``). It reads orders from its door, a socket;
each copy takes the descriptors that came with its order, confines itself the rest of the way, gets an environment of
its own, and serves as any worker. What would be the same in all copies and must not be is renewed: the state of
random number generators, and what the function registered for it (docs.aws.amazon.com/lambda/latest/dg/
snapstart-runtime-hooks-python.html).
"""

import dataclasses
import gc
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

from runtime import wire
from runtime.worker import bootstrap, channel, faults, kernel, renewal, rights, safety, sandbox, seccomp
from runtime.worker.job import Job

_BEFORE_SNAPSHOT, _AFTER_RESTORE = "Runtime.BeforeSnapshotError", "Runtime.AfterRestoreError"
_BEFORE_SNAPSHOT_STATUS, _AFTER_RESTORE_STATUS = 64, 65
_HOOKS = "snapshot_restore_py"
_PAUSE_MS = 20
"""How long a copy must have waited: where they are taken sooner, the processors have enough to do."""
_TURN = 64 * 16
"""Bytes of ``wire.Touched.spans``: to make so many spans this process's own takes a third of a millisecond."""


def serve(job: Job, request_fd: int, response_fd: int, _await_folders: None = None) -> NoReturn:
    """Be the template of the function that the first message names; return in no process."""
    _leave_the_first_pid()
    bootstrap.live(lambda: _run(job, channel.Channel(request_fd, response_fd)))


def _leave_the_first_pid() -> None:
    """Go on in a child, so that no copy, which is the first of its namespace, has its template's pid.

    By their pid, OpenSSL and many a pool of connections notice that they were forked.
    """
    pid = kernel.fork()
    if not pid:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        return
    kernel.close_from(0)
    while True:
        ended, status = os.wait()
        if ended == pid:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _run(job: Job, pipe: channel.Channel) -> NoReturn:
    server, import_us = bootstrap.start(pipe)
    snap = wire.Snap(*pipe.receive()[1:])
    if snap.warm_up is not None:
        server.warm_up(snap.warm_up)
    _run_hooks("get_before_snapshot", pipe, _BEFORE_SNAPSHOT, _BEFORE_SNAPSHOT_STATUS)
    bootstrap.flush()
    # For the copies, which then find in place what that needs: OpenSSL's first random number takes 3 ms.
    renewal.renew()
    gc.collect()
    unsafe = safety.reasons(rights.DOOR_FD + 1) or _Template(job, server).trial()
    gc.freeze()
    kernel.collapse()
    pipe.send(wire.Snapped("; ".join(unsafe), import_us))
    if unsafe:
        os._exit(0)
    _Template(job, server).run()


def _run_hooks(name: str, pipe: channel.Channel, error_type: str, status: int) -> None:
    """Run what the function registered, if it uses the package for it; end where that fails, as AWS's runtime does."""
    hooks = sys.modules.get(_HOOKS)
    if hooks is None:
        return
    try:
        registered = getattr(hooks, name)()
        # Before the snapshot last registered first, and each once: so AWS's runtime does it.
        for hook, args, kwargs in reversed(registered) if name == "get_before_snapshot" else list(registered):
            hook(*args, **kwargs)
    except BaseException as error:
        document = faults.of_exception(error)
        bootstrap.fail(pipe, {**document, "errorType": error_type}, status)


@dataclasses.dataclass(slots=True)
class _Template:
    """Forks copies on order; ``copies`` maps the pids of the living to their numbers."""

    job: Job
    server: bootstrap.Server
    door: socket.socket = dataclasses.field(init=False)
    copies: dict[int, int] = dataclasses.field(default_factory=dict)
    handlers: dict[int, Any] = dataclasses.field(default_factory=dict)
    ids: tuple[int, int] = dataclasses.field(default_factory=lambda: (os.getuid(), os.getgid()))
    """Of user and group: a copy cannot see its own before they are mapped."""
    wakeup: tuple[int, int] = (-1, -1)
    touched: bytes = b""
    """Pages that a copy wrote to: see ``wire.Touched``."""

    def trial(self) -> list[str]:
        """Return what keeps this machine from confining a copy; nothing where one can be."""
        response, told = os.pipe()
        order = dataclasses.replace(self._order(self.job.order, ""), limits={"tmp_bytes": 1 << 20})
        pid = self._clone()
        if isinstance(pid, OSError):
            os.close(response)
            os.close(told)
            return [f"copies cannot be forked: {pid}"]
        if not pid:
            os.close(rights.DOOR_FD)
            missing = self.job.setting.absent | order.skip | {"cgroup": "this is a trial"}
            job = Job(self.job.setting, order, {"response": told}, (), missing)
            steps = tuple(step for step in sandbox.COPY if step[0] not in ("descriptors", "files"))
            sandbox.attempt(steps, job)
            os._exit(0)
        os.close(told)
        with open(response, "rb") as pipe:  # noqa: PTH123 - a descriptor
            answer = pipe.read()
        os.waitpid(pid, 0)
        for refused in wire.Decoder(wire.WORKER_MESSAGES).feed(answer):
            return [f"copies cannot be confined: {refused.step}: {refused.reason}"]
        return []

    def run(self) -> NoReturn:
        """Serve orders until the door is closed."""
        self.door = socket.socket(fileno=rights.DOOR_FD)
        self.handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self.wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.wakeup[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        poll = select.poll()
        poll.register(self.door, select.POLLIN)
        poll.register(self.wakeup[0], select.POLLIN)
        while True:
            for fd, _event in poll.poll():
                if fd == self.wakeup[0]:
                    os.read(fd, 4096)
                    self._reap()
                elif not self._take_order():
                    os._exit(0)

    def _reap(self) -> None:
        for pid, status in kernel.ended():
            number = self.copies.pop(pid, None)
            if number is not None:
                self._say(wire.Exited(number, status))

    def _say(self, message: wire.FromZygote) -> None:
        self.door.sendall(wire.encode(message))

    def _take_order(self) -> bool:
        packet, fds, _flags, _ = socket.recv_fds(self.door, wire.PACKET_LIMIT, 64)
        if not packet:
            return False
        order = wire.parse_packet(packet, wire.TEMPLATE_ORDERS)
        if isinstance(order, wire.Touched):
            self.touched = order.spans
            return True
        pid = self._clone()
        if isinstance(pid, OSError):
            self._say(wire.SpawnFailed(order.slot, "clone", pid.errno or 0, str(pid)))
        elif pid:
            self.copies[pid] = order.slot
        else:
            self._become(order, fds)
        for fd in fds:
            os.close(fd)
        return True

    def _clone(self) -> int | OSError:
        bootstrap.flush()
        try:
            return kernel.clone(seccomp.COPY)
        except OSError as error:
            return error

    def _order(self, order: wire.Spawn, fds: str) -> wire.Spawn:
        """Return an order as the steps of a copy want it: with the ids that this process has."""
        return dataclasses.replace(order, uid=self.ids[0], gid=self.ids[1], fds=fds, folders=self.job.order.folders)

    def _become(self, order: wire.Spawn, fds: list[int]) -> NoReturn:
        """Be the copy: in the forked child, whatever happens, nothing of the template's code runs on."""
        try:
            # The socket tells the supervisor who sent it: so it learns of this process from the kernel, not from us.
            self._say(wire.Spawned(order.slot))
            names = order.fds.split()
            cgroups = tuple(fd for name, fd in zip(names, fds, strict=True) if name == "cgroup")
            singles = {name: fd for name, fd in zip(names, fds, strict=True) if name != "cgroup"}
            signal.set_wakeup_fd(-1)
            singles |= {"door": self.door.detach(), "wakeup": self.wakeup[0], "woken": self.wakeup[1]}
            missing = self.job.setting.absent | order.skip
            job = Job(self.job.setting, self._order(order, order.fds), singles, cgroups, missing)
            sandbox.attempt(sandbox.COPY, job)
            os.write(rights.RESPONSE_FD, wire.encode(wire.Confined(job.missing)))
            bootstrap.live(lambda: _serve(self.server, self.handlers, self.touched))
        except BaseException as error:
            sys.stderr.write(f"copy: {type(error).__name__}: {error}\n")
        finally:
            os._exit(sandbox.REFUSED)


def _serve(server: bootstrap.Server, handlers: dict[int, Any], touched: bytes) -> NoReturn:
    """Serve as a copy: first what has to be new is made so."""
    pipe = channel.Channel(rights.REQUEST_FD, rights.RESPONSE_FD)
    for number, before in handlers.items():
        if before is not None and signal.getsignal(number) is not before:
            signal.signal(number, before)
    # Before anybody may have need of it, where it was made ahead: what differs between siblings need not be fresh.
    renewal.renew()
    _populate(touched)
    assign = wire.Assign(*pipe.receive()[1:])
    renewal.set_environment(assign.environment)
    _run_hooks("get_after_restore", pipe, _AFTER_RESTORE, _AFTER_RESTORE_STATUS)
    bootstrap.flush()
    pipe.send(wire.Ready(0))
    server.over(pipe).run()


def _populate(touched: bytes) -> None:
    """Make this copy's own what it is going to write to, if nobody waits for it, nor is about to."""
    poll = select.poll()
    poll.register(rights.REQUEST_FD, select.POLLIN)
    pause_ms = _PAUSE_MS
    for start in range(0, len(touched), _TURN):
        if poll.poll(pause_ms):
            return
        pause_ms = 0
        kernel.populate(touched[start : start + _TURN])


def _ignore(_signal: int, _frame: object) -> None:
    """Let a child's end interrupt poll."""
