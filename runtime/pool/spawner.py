"""The supervisor's side of a zygote: orders go out, what becomes of the workers comes back.

    spawner = Spawner(on_lost=...)              # on_lost(reason): the zygote and all its workers are gone
    await spawner.start(settings)               # raises IsolationError or WorkerLost
    spawner.missing                             # controls this zygote cannot give at all: {name: reason}
    spawner.spawn(order, listener)              # never blocks; raises WorkerLost where there is no zygote
    listener.on_spawned(pidfd)                  # forked; the pidfd is borrowed until on_exit or on_lost returns
    listener.on_exit(status)                    # gone; as waitpid(2) gives it
    listener.on_failed(step, errno, reason)     # no process came of the order
    listener.on_lost()                          # gone with the zygote; its status is unknown
    spawner.kill(slot)                          # SIGKILL by pidfd, now or as soon as it is forked; harmless if gone
    spawner.mounter                             # places folders in blanks that are sealed; None: there is none
    await spawner.close()                       # ends the zygote and with it every worker

``on_spawned`` comes at most once, then exactly one of ``on_exit``, ``on_failed`` or ``on_lost``. All are called
from the event loop, never from inside ``spawn``. All descriptors of an order are the caller's: they may be closed
as soon as ``spawn`` returns. How the confinement went is told by the worker itself: a ``wire.Confined`` or
``wire.Refused`` is the first frame of its response pipe.

The zygote is its own process tree: killing what ``subprocess`` started kills the zygote and every worker, and so
does the end of this process.
"""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from runtime import errors, wire
from runtime.pool import affinity, cgroups, holding, mounting, orders, packets
from runtime.pool.orders import Listener, Order, Settings

__all__ = ["Listener", "Order", "Settings", "Spawner"]

_PROGRAM = """\
import sys
standard = list(sys.path)
sys.path += sys.argv[3].split(":")
from runtime.worker import zygote
sys.path[:] = standard
zygote.main(sys.argv[1:])
"""


_MOUNTER_FDS = 3
"""Its pidfd, its socket, its bell."""


class _Worker:
    """What is known of a worker between its order and its end."""

    __slots__ = ("doomed", "listener", "pidfd")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.pidfd = -1
        self.doomed = False
        """Killed before its pidfd was known."""


class Spawner:
    """One zygote and its workers, as the supervisor sees them. Use from one event loop."""

    def __init__(self, on_lost: Callable[[str], None], on_mounter_lost: Callable[[], None] = lambda: None) -> None:
        self.missing: dict[str, str] = {}
        self.conflicts: frozenset[str] = frozenset()
        """Names that a function's modules must not have for it to use what was preloaded."""
        self.mounter: mounting.Mounter | None = None
        self._on_lost = on_lost
        self._on_mounter_lost = on_mounter_lost
        self._loop: asyncio.AbstractEventLoop
        self._channel: packets.PacketSocket | None = None
        self._process: subprocess.Popen[bytes]
        self._process_fd = -1
        self._zygote_fd = -1
        self._ready: asyncio.Future[None]
        self._ended: asyncio.Future[None]
        self._closing = False
        self._workers: dict[int, _Worker] = {}

    @property
    def alive(self) -> bool:
        """Return whether orders are taken."""
        return self._channel is not None and not self._closing

    @property
    def live(self) -> int:
        """Return how many workers are ordered or running."""
        return len(self._workers)

    @property
    def pid(self) -> int:
        """Return the process id of what was started: killing it kills the zygote and its workers."""
        return self._process.pid

    async def start(self, settings: Settings) -> None:
        """Start the zygote and wait until it serves.

        Raises IsolationError with the step that failed where it could not set itself up, WorkerLost where it died or
        was not ready in time.
        """
        if self._closing:
            raise errors.WorkerLost("the server is stopping")
        self._loop = asyncio.get_running_loop()
        self._ready = self._loop.create_future()
        self._ended = self._loop.create_future()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        affinity.release()
        try:
            self._process = _execute(settings, theirs)
        except OSError as error:
            ours.close()
            raise errors.WorkerLost(f"cannot execute {settings.python}: {error.strerror}") from error
        finally:
            theirs.close()
        self._process_fd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._process_fd, self._on_process_end)
        self._channel = packets.PacketSocket(self._loop, ours, self._on_packet, self._drop)
        try:
            async with asyncio.timeout(settings.start_timeout_s):
                await asyncio.to_thread(cgroups.leave_out, self._process.pid)
                await self._ready
        except TimeoutError:
            raise errors.WorkerLost("the zygote was not ready in time") from None
        finally:
            if not self._ready.done() or self._ready.cancelled() or self._ready.exception() is not None:
                await self.close()

    def spawn(self, order: Order, listener: Listener) -> None:
        """Order a worker.

        Raises WorkerLost where there is no zygote to take the order or too many wait, OSError where there are no
        descriptors left.
        """
        if self._channel is None or self._closing:
            raise errors.WorkerLost("there is no zygote")
        assert order.slot not in self._workers
        try:
            self._channel.send(*orders.encode(order))
        except packets.QueueFull:
            raise errors.WorkerLost(f"{packets.QUEUE_LIMIT} orders wait for the zygote already") from None
        self._workers[order.slot] = _Worker(listener)

    def kill(self, slot: int) -> None:
        """Kill a worker and everything it started; one that is gone, or not ours, is ignored."""
        worker = self._workers.get(slot)
        if worker is None:
            return
        worker.doomed = True
        if worker.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)

    async def close(self) -> None:
        """End the zygote and every worker, and wait until they are gone. Listeners hear on_lost."""
        self._closing = True
        if self._process_fd >= 0:
            self._kill_zygote()
            await asyncio.shield(self._ended)
        self._drop("closed")

    # What the zygote says

    def _on_packet(self, packet: bytes, fds: list[int]) -> None:
        try:
            self._on_message(wire.parse_packet(packet, wire.ZYGOTE_MESSAGES), fds)
        except wire.WireError as error:
            self._drop(f"it broke the protocol: {error}")

    def _on_message(self, message: Any, fds: list[int]) -> None:
        match message:
            case wire.Spawned(slot):
                self._on_spawned(slot, fds)
            case wire.Exited(slot, status):
                self._forget(slot).on_exit(status)
            case wire.SpawnFailed(slot, step, code, reason):
                self._forget(slot).on_failed(step, code, reason)
            case wire.MounterReady() if len(fds) == _MOUNTER_FDS:
                self._take_mounter(fds)
            case wire.ZygoteReady(missing, conflicts) if not self._ready.done() and len(fds) == 1:
                self._zygote_fd = fds.pop()
                self.missing = missing
                self.conflicts = frozenset(conflicts.split())
                self._ready.set_result(None)
            case wire.ZygoteFailed(step, code, reason) if not self._ready.done():
                name = errno.errorcode.get(code, str(code))
                self._ready.set_exception(errors.IsolationError(f"the zygote failed at {step}: {name}: {reason}"))
            case _:
                raise wire.WireError(f"{type(message).__name__} out of turn")

    def _take_mounter(self, fds: list[int]) -> None:
        if self.mounter is not None:  # it is gone, and we hear of the one in its place first
            self.mounter.close()
            self._drop_mounter()
        pid = holding.pid_of(fds[0])
        end, bell = socket.socket(fileno=fds.pop(1)), fds.pop(1)
        self.mounter = mounting.Mounter(self._loop, pid, end, bell, self._drop_mounter)

    def _on_spawned(self, slot: int, fds: list[int]) -> None:
        worker = self._workers.get(slot)
        if worker is None or worker.pidfd >= 0 or len(fds) != 1:
            raise wire.WireError("Spawned out of turn")
        worker.pidfd = fds.pop()
        if worker.doomed:
            self.kill(slot)
        worker.listener.on_spawned(worker.pidfd)

    def _forget(self, slot: int) -> Listener:
        worker = self._workers.pop(slot, None)
        if worker is None:
            raise wire.WireError("news of an unknown worker")
        if worker.pidfd >= 0:
            # Closed a turn later, so that the listener may still use what it borrowed.
            self._loop.call_soon(os.close, worker.pidfd)
        return worker.listener

    # The end

    def _kill_zygote(self) -> None:
        """Kill the zygote, and by the kernel's hand its workers: it is pid 1 of their namespace.

        What we started is its parent, ends after it, and only then are all of them gone.
        """
        if self._zygote_fd < 0:
            self._process.kill()  # the zygote, if there is one already, is told by the kernel
        else:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._zygote_fd, signal.SIGKILL)

    def _on_process_end(self) -> None:
        self._loop.remove_reader(self._process_fd)
        os.close(self._process_fd)
        self._process_fd = -1
        self._process.wait()
        if self._channel is not None:
            self._channel.read()  # what it said last
        self._drop(f"it ended with {self._process.returncode}")
        if self._zygote_fd >= 0:
            os.close(self._zygote_fd)
            self._zygote_fd = -1
        if not self._ended.done():
            self._ended.set_result(None)

    def _drop_mounter(self) -> None:
        self.mounter = None
        if self.alive:
            self._on_mounter_lost()

    def _drop(self, reason: str) -> None:
        """Take the zygote as gone: everybody who waits for something from it hears so."""
        if self._channel is None:
            return
        self._channel.close()
        self._channel = None
        if self.mounter is not None:
            self.mounter.close()
            self.mounter = None
        if self._process_fd >= 0:
            self._kill_zygote()
        served = self._ready.done() and not self._ready.cancelled() and self._ready.exception() is None
        if not self._ready.done():
            self._ready.set_exception(errors.WorkerLost(f"the zygote is lost: {reason}"))
        for slot in list(self._workers):
            self._forget(slot).on_lost()
        if served and not self._closing:
            self._on_lost(reason)


def _execute(settings: Settings, control: socket.socket) -> subprocess.Popen[bytes]:
    """Start the zygote with an empty environment and no descriptor but its control socket.

    Called on the event loop's thread, because PR_SET_PDEATHSIG means the thread that forked (prctl(2)).
    """
    fds = [control.fileno()]
    if settings.user_namespace is not None:
        fds.append(settings.user_namespace)
    arguments = [
        ",".join(map(str, fds)),
        settings.mode,
        ":".join(settings.library),
        settings.sdk or "",
        settings.resolv_conf,
        str(os.getpid()),
        ",".join(settings.preload),
    ]
    return subprocess.Popen(  # noqa: S603 - the operator's interpreter and our own program
        [settings.python, "-I", "-S", "-c", _PROGRAM, *arguments],
        env={},
        cwd="/",
        pass_fds=fds,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
