"""The port between the pool and what starts processes: the pool decides, a launcher acts.

``pool.launcher`` is the real one (zygote, cgroup, sandbox); tests drive the pool with one of their own.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from runtime import model, wire


class Listener(Protocol):
    """Hears what becomes of a process; called from the event loop."""

    def process_forked(self) -> None:
        """Hear that the process exists; not said of one that had been waiting."""

    def process_doomed(self, reason: str) -> None:
        """Hear that the process is about to end, whatever it does: its exit is told yet."""

    def process_exited(self, wait_status: int) -> None:
        """Hear that the process is gone (its status as waitpid(2) gives it); the last call."""

    def process_failed(self, step: str, reason: str) -> None:
        """Hear that the process could not be started: which step failed, and why; the last call."""


class _Nobody:
    """Hears what nobody wants to know."""

    def process_forked(self) -> None: ...

    def process_doomed(self, reason: str) -> None: ...

    def process_exited(self, wait_status: int) -> None: ...

    def process_failed(self, step: str, reason: str) -> None: ...


NOBODY: Listener = _Nobody()


class Process(Protocol):
    """A worker's process and all that is held for it."""

    fds: tuple[int, int, int]
    """Our ends of its pipes (request, response, log), which do not block: whoever launched it closes them."""
    kind: model.StartKind
    """How it came to be: PLAIN, BLANK or SNAPSHOT."""
    born: float | None
    """When the template was made that it is a copy of, on the pool's clock; None: it is none."""
    missing: dict[str, str]
    """Controls of the sandbox that this machine cannot give, with reasons."""

    def flaw(self) -> str | None:
        """Return what it lacks, seen from outside, that says its sandbox stands; "" where it lacks nothing.

        None: it is gone, so that nobody can tell, and its exit is told yet.
        """

    def kill(self) -> None:
        """Kill it and everything it started; harmless when it is gone."""

    def confined(self) -> None:
        """Hear that its sandbox stands."""

    def initialised(self) -> None:
        """Hold it to its share of the CPU, now that it serves."""

    def served(self) -> None:
        """Hear that it answered its first call."""

    def freeze(self) -> bool:
        """Stop it and everything it started until ``thaw``; False: not all stand still yet, call it again."""

    def thaw(self) -> None:
        """Let it go on."""

    def bind(self, processors: Iterable[int]) -> bool:
        """Let all its threads run on these processors alone; return whether that could be done."""

    def memory_peak(self) -> int:
        """Return the most memory it has used so far, in bytes."""

    def ran_out_of_memory(self) -> bool:
        """Return whether the kernel killed something of it for want of memory."""

    def release(self) -> None:
        """Give back what is held for it; after its end, once."""


class Launcher(Protocol):
    """Starts worker processes."""

    def launch(self, version: model.Version, listener: Listener, *, copied: bool = True) -> Process:
        """Start a process for a version, or take one that waits for any, or a copy of a snapshot unless told not to.

        Never blocks, and calls the listener later, not from here. Raises WorkerLost or OSError where a start cannot
        even be tried.
        """

    def started(self, version: model.Version, kind: model.StartKind, phases: model.Phases) -> None:
        """Hear that a worker of a version came to serve, and what that took."""

    def prepare(self, version: model.Version) -> None:
        """Make ready what a version asks to have ready before its first call."""

    def distrust(self, version: model.Version, reason: str) -> None:
        """Hear that a copy of a snapshot could not be started: none is to be tried again."""

    def retire(self, function_name: str, *, keep: Callable[[model.WorkerKey], bool]) -> None:
        """Let go of what is held for the versions of a function whose key ``keep`` refuses."""

    def make_room(self) -> bool:
        """Let go of something for the memory; return whether there was anything."""

    def has_room(self, version: model.Version) -> bool:
        """Return whether the host has memory for one more worker, of a version."""

    def assign(self, version: model.Version, stream: str, kind: model.StartKind) -> wire.Assign:
        """Return what turns a confined process into a worker of a version that logs to ``stream``.

        It can be sent at once: the process reads it when its sandbox stands.
        """
