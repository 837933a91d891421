"""One template as the supervisor sees it: a process that runs a version's init, and then forks workers.

It comes to be as a worker does, but has a door: a socket for orders. What comes through it, and through its pipes, is
a function's word: bounded, checked, and good for nothing but the function itself.
"""

import asyncio
import enum
import socket
from collections.abc import Callable
from typing import Any

from runtime import model, wire
from runtime.pool import copied, forked, gate, holding, link, packets, process, touched

INIT_LIMIT_S = 900.0
"""docs.aws.amazon.com/lambda/latest/dg/snapstart.html: init before a snapshot may take up to 15 minutes."""

_COPY_S = 0.1
"""Processor time of one copy's fork at the most, however large the process."""
_IDLE_SHARE = 0.1
"""Of a processor, for a process that has nothing to do but to wait for orders."""
_ROOM_FOR = 64
"""Copies for which room is made at a time: to change a limit takes 60 us."""
_COPY_BYTES = 4 * 1024 * 1024
_COPY_PART = 64
"""What a copy's birth costs its template in memory at the most: so many bytes (measured: 2.3 MiB with pandas), and
page tables and more that grow with its size."""
_WORDS = 2
"""Packets of a template for each order: of a birth and of a death."""


class State(enum.Enum):
    """Where a template is in its life."""

    MAKING = "making"
    READY = "ready"
    ENDED = "ended"


class Template:
    """A template; implements ``process.Listener`` and ``copied.Parent``."""

    def __init__(
        self,
        version: model.Version,
        order: Callable[[process.Listener, int], forked.Forked],
        *,
        assign: wire.Assign,
        warm_up: bytes | None,
        born: float,
        on_log: Callable[[bytes], None],
        on_ready: Callable[["Template", float], None],
        on_end: Callable[["Template", str], None],
    ) -> None:
        """Order the process, by ``order(listener, door)``; raise WorkerLost or OSError where that cannot be.

        ``on_ready`` is told how long the import took, ``on_end``, once, why it is gone; ``born`` is now, on the pool's
        clock.
        """
        self._loop = asyncio.get_running_loop()
        self.version = version
        self.state = State.MAKING
        self.born = born
        self.used = self._loop.time()
        """When a copy was ordered last."""
        self.pid = 0
        self.filters = 0
        self.bytes = 0
        """Memory that it uses itself, and that its copies share."""
        self.failed = False
        """Whether the function's init failed, so that there is no template."""
        self._reason = ""
        self._retired = False
        self._on_ready, self._on_end = on_ready, on_end
        self._copies: dict[int, copied.Copied] = {}
        self._gate = gate.Gate()
        """Its own: what runs in a copy before its sandbox stands is a function's, and can hold it shut."""
        self.ordered = 0
        """How many copies were ordered."""
        self._room = 0
        """For how many copies at a time it has memory."""
        self._seen = (0.0, 0)
        """Processor time and orders, when ``strays`` was asked last."""
        self._learned = False
        """Whether it was told what its copies write to, or that is not to be seen here."""
        self._words = 0
        """Packets that came through its door."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door = packets.Door(self._loop, ours, self._heard_at_door, self._door_ended)
        try:
            self._process = order(self, theirs.detach())
        except BaseException:
            self._door.close()
            raise
        self._link = link.Link(self._loop, self._process.fds, self._heard, on_log, self._pipe_ended)
        self._link.send(assign)
        self._link.send(wire.Snap(warm_up))
        self._timer = self._loop.call_later(INIT_LIMIT_S, self._init_failed, "its init took too long")

    @property
    def copies(self) -> int:
        """Return how many copies live."""
        return len(self._copies)

    def strays(self, seconds: float) -> bool:
        """Return whether it used more processor time than its copies take, in so many seconds since this was asked."""
        used, ordered = self._process.cpu_s(), self.ordered
        free_s = _IDLE_SHARE * seconds + _COPY_S * (ordered - self._seen[1])
        strayed = used - self._seen[0] > free_s
        self._seen = used, ordered
        return strayed

    def copy(
        self, number: int, held: holding.Holding, listener: process.Listener, skip: dict[str, str]
    ) -> copied.Copied:
        """Order a copy."""
        self.used = self._loop.time()
        copy = self._copies[number] = copied.Copied(number, self, held, listener, skip=skip, born=self.born)
        copy.on_made = self._gate.leave
        self._gate.enter(copy.furnish)
        return copy

    def retire(self, reason: str) -> None:
        """Let go of it as soon as it has no copies."""
        self._retired = True
        self._reason = self._reason or reason
        if not self._copies and self.state is not State.ENDED:
            self.kill(reason)

    def kill(self, reason: str) -> None:
        """Let go of it, and so of all its copies."""
        self._reason = self._reason or reason
        alive, self.state = self.state is not State.ENDED, State.ENDED
        self._timer.cancel()
        self._process.kill()
        if alive:
            # Before their ends are heard: calls would be given to them until then.
            for copy in self._copies.values():
                self._loop.call_soon(copy.doom)

    # copied.Parent

    def order(self, order: wire.Spawn, fds: list[int]) -> None:
        """Pass an order on to the process."""
        if self.state is not State.READY:
            raise OSError(f"the template is {self.state.value}")
        self.ordered += 1
        if len(self._copies) > self._room:
            self._room = -(-len(self._copies) // _ROOM_FOR) * _ROOM_FOR
            charged_bytes = self._room * (_COPY_BYTES + self.bytes // _COPY_PART)
            self._process.make_room(charged_bytes, newborn_bytes=gate.AT_ONCE * self.bytes)
        try:
            self._door.send(wire.encode(order), fds)
        except packets.QueueFull:
            raise OSError("too many orders wait for the template") from None

    def forget(self, number: int) -> None:
        """Forget a copy that is gone."""
        self._copies.pop(number, None)
        if self._retired:
            self.retire("")

    def learn(self, pid: int) -> None:
        """Tell it, once, what a copy of it wrote to that served a call: the next ones are spared the faults."""
        if self._learned or self.state is not State.READY:
            return
        try:
            spans = touched.spans(pid)
            if spans:  # else it is gone, too
                self._learned = True
                self._door.send(wire.encode(wire.Touched(spans)), [])
        except PermissionError:
            self._learned = True
        except (OSError, packets.QueueFull):
            return  # it is gone: the next copy is looked at

    def distrust(self, reason: str) -> None:
        """Let go of it: it is not what it should be."""
        if self.state is not State.ENDED:
            self.kill(reason)

    def listen(self) -> None:
        """Hear now what was said at its door."""
        self._door.read()

    # What it says

    def _heard(self, message: Any) -> None:
        if self.state is not State.MAKING:
            self.distrust(f"it said {type(message).__name__} out of turn")
            return
        match message:
            case wire.Confined():
                self._process.missing.update(message.missing)
                self._process.confined()
            case wire.Snapped() if not message.unsafe:
                self.state = State.READY
                self._timer.cancel()
                self._process.waits()
                self.filters = _filters_of(self.pid)
                self.bytes = self._process.memory_used()
                self._seen = self._process.cpu_s(), 0
                self._on_ready(self, max(0.0, message.import_us * 1e-6))
            case wire.Snapped():
                self.kill(link.printable(message.unsafe))
            case wire.InitError():
                self._init_failed(f"its init failed: {link.printable(message.error_type)}")
            case wire.Refused():
                self.kill(f"it could not be confined: {link.printable(message.step)}: {link.printable(message.reason)}")
            case _:
                self.distrust(f"it said {type(message).__name__} out of turn")

    def _heard_at_door(self, packet: bytes, sender: int) -> None:
        self._words += 1
        if self._words > _WORDS * self.ordered:
            self.distrust("it says more than there is to say")
            return
        try:
            message = wire.parse_packet(packet, wire.TEMPLATE_MESSAGES)
        except wire.WireError as error:
            self.distrust(f"it broke the protocol: {error}")
            return
        copy = self._copies.get(message.slot)
        if copy is None or not copy.placed:
            return  # of one that is gone already, or that it was not asked for yet
        match message:
            case wire.Spawned():
                copy.spawned(sender)
            case wire.Exited():
                copy.exited(message.status & 0xFFFF)
            case wire.SpawnFailed():
                copy.failed(f"{link.printable(message.step)}: {link.printable(message.reason)}")

    def _init_failed(self, reason: str) -> None:
        self.failed = True
        self.distrust(reason)

    def _pipe_ended(self, reason: str) -> None:
        self.failed = self.failed or self.state is State.MAKING
        self.distrust("it ended" if reason == link.ENDED else f"it broke the protocol: {reason}")

    def _door_ended(self, reason: str) -> None:
        self._hear_last()
        self.distrust(reason)

    def _hear_last(self) -> None:
        """Hear why its init failed, before that it ended."""
        self._link.drain()
        self.failed = self.failed or self.state is State.MAKING

    # process.Listener

    def process_forked(self) -> None:
        """Hear that it exists."""
        self.pid = self._process.pid

    def process_doomed(self, _reason: str) -> None:
        """Hear nothing: it is no copy."""

    def process_exited(self, _wait_status: int) -> None:
        """Hear that it is gone."""
        self._hear_last()
        self._end("it ended")

    def process_failed(self, step: str, reason: str) -> None:
        """Hear that it could not be started."""
        self._end(f"{step}: {reason}")

    def _end(self, reason: str) -> None:
        self.state = State.ENDED
        self._timer.cancel()
        self._link.drain_log()
        self._link.close()
        self._door.close()
        for copy in list(self._copies.values()):
            copy.orphaned()
        self._process.release()
        self._on_end(self, self._reason or reason)


def _filters_of(pid: int) -> int:
    try:
        return copied.filters_of(pid)
    except OSError:
        return 0  # it is gone
