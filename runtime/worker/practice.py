"""The steps of the sandbox, practised in the zygote with system calls that are not made.

Python adapts code to what it sees, and notes what it looked up at types, while code runs for the first times: a worker
in which that happens copies a page for each name, module and type that a step uses first. What was practised is found
as it will be, and only read: that spares a worker of Python 3.11 35 of 520 pages.
"""

import _socket
import contextlib
import os
from collections.abc import Callable

from runtime import wire
from runtime.worker import kernel, sandbox, views
from runtime.worker.job import Job, StepFailed

_TAKES_EFFECT = frozenset({"group", "hostname", "user", "identity", "descriptors"})
"""Steps that call the kernel otherwise than through ``kernel``: here it would be the zygote that is confined."""
_ALL = (*sandbox.PREPARE, *sandbox.SEAL)
_STEPS = tuple(step for step in _ALL if step[0] not in _TAKES_EFFECT)
OTHERS = tuple(function for name, function in _ALL if name in _TAKES_EFFECT)
"""The functions of the other steps."""
_ORDER = wire.Spawn(0, 0, 0, "", {"code": "/var/task"}, "", {"tmp_bytes": 1 << 20}, {})
_BLANK = wire.Spawn(0, 0, 0, "", {}, "gate", {}, {})


def steps(begin: Callable[[wire.Spawn, dict[str, int], tuple[int, ...]], Job]) -> None:
    """Go once through what a worker starts with; ``begin`` makes its job.

    A step that fails does so in workers as well, and is told there.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    made = {null}

    def answer() -> int:
        made.add(fd := os.dup(null))
        return fd

    fds = dict.fromkeys(("netns", "request", "response", "log"), null)
    with kernel.pretended(answer), contextlib.suppress(StepFailed):
        job = begin(_ORDER, fds, (null,))
        sandbox.check(job)
        sandbox.run(_STEPS, job)
        wire.encode(wire.Confined(job.missing))
    _pass_through_a_gate(begin)
    for fd in made:
        with contextlib.suppress(OSError):  # a step has closed it
            os.close(fd)


def _pass_through_a_gate(begin: Callable[[wire.Spawn, dict[str, int], tuple[int, ...]], Job]) -> None:
    """Do what a blank does in place of its mounts, with a gate that leads nowhere."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    with contextlib.suppress(OSError):
        views.mounts(begin(_BLANK, {"gate": theirs.fileno()}, ()))
    ours.close()
    theirs.close()
