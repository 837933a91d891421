"""What the steps of the sandbox work on."""

import dataclasses

from runtime import wire


class StepFailed(Exception):
    """A step failed: ``step`` is its name, ``errno`` the system call's answer, or 0."""

    def __init__(self, step: str, code: int, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.errno = code
        self.reason = reason


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """What all workers of a zygote share."""

    mode: str
    """"root", "user" or "bare"."""
    filter: bytes
    """The seccomp program."""
    landlock_abi: int
    """0: the kernel has none."""
    readable: tuple[str, ...]
    """Mode "bare": host paths that a worker may read."""
    absent: dict[str, str]
    """Controls that no worker of this zygote has, with reasons."""
    host_view: int
    """Descriptor of a mount namespace that shows the host's folders; -1 in mode "bare"."""
    template_filter: bytes = b""
    """The seccomp program of templates."""
    uncounted_filter: bytes = b""
    """One more, where no cgroup counts memory: it refuses what no look at a process sees."""
    user_limits: int = -1
    """Mode "user": descriptor of /proc/sys/user, which a worker does not see; in bare mode -1."""


@dataclasses.dataclass(slots=True)
class Job:
    """One worker to confine. ``fds`` changes as descriptors are used up and laid out.

    Made in each worker, so it is not frozen: to make what is takes more pages.
    """

    setting: Setting
    order: wire.Spawn
    fds: dict[str, int]
    cgroups: tuple[int, ...]
    """Files to write to in order to join the worker's cgroups; empty where it was born there."""
    missing: dict[str, str]
    """Controls that are left out, with reasons."""

    @property
    def is_blank(self) -> bool:
        """Return whether it is not known yet for which function."""
        return "code" not in self.order.folders

    @property
    def has_gate(self) -> bool:
        """Return whether it is confined before its function is known, whose folders come to it from outside."""
        return "gate" in self.order.fds.split()

    @property
    def is_template(self) -> bool:
        """Return whether it is to fork copies of itself, by orders that come through a door of its own."""
        return "door" in self.order.fds.split()
