"""What is ordered from a zygote, and who hears of it: values and the port; ``pool.spawner`` delivers them."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from runtime import wire


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a zygote is made of."""

    python: str
    """Path of the interpreter: the base one, not a virtual environment's."""
    library: tuple[str, ...]
    """Folders that hold our packages (runtime, msgpack, simplejson); read once, at the zygote's start."""
    sdk: str | None
    """Folder that functions see as /var/runtime."""
    mode: str
    """"root": namespaces by privilege; "user": inside a user namespace; "bare": no namespaces."""
    user_namespace: int | None = None
    """Mode "user": a descriptor of one to join instead of making one; its owner must be our user."""
    resolv_conf: str = "/etc/resolv.conf"
    """What workers see as /etc/resolv.conf."""
    preload: tuple[str, ...] = ()
    """Packages of ``sdk`` that are imported before it is known for which function."""
    start_timeout_s: float = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One worker to fork."""

    slot: int
    """Unique among the living workers of this zygote."""
    uid: int
    gid: int
    """Ids of the worker on the host; unused in mode "user"."""
    hostname: str
    request_fd: int
    response_fd: int
    log_fd: int
    code: str | None = None
    """Host folder that becomes /var/task, read-only; in mode "bare" it is read where it lies. None: a blank, which
    hears by its gate that its folders are there, or else reads from its request pipe what it lacks (``wire.Seal``)."""
    layers: str | None = None
    """Host folder that becomes /opt, read-only."""
    tmp: str | None = None
    """Mode "bare": the worker's private folder, which it may write; elsewhere unused."""
    tmp_fd: int | None = None
    """A detached mount (fsmount(2)) for /tmp, moved there; None: a tmpfs of the size in ``limits``."""
    gate_fd: int | None = None
    """Of a blank: a socket by which it is told that its folders are there; it is sealed before. See ``mounting``."""
    door_fd: int | None = None
    """A socket for the orders of a template; None: not a template."""
    netns_fd: int | None = None
    """Network namespace to join; None: a new, empty one, unless "network" is in ``skip``."""
    cgroup_folder_fd: int | None = None
    """Directory of a v2 cgroup to be born in, where the kernel can; else ``cgroup_fds`` are used."""
    cgroup_fds: tuple[int, ...] = ()
    """``tasks`` files (cgroup v1) or ``cgroup.procs`` (v2), open for writing.

    Without these and that, "cgroup" must be in ``skip``."""
    limits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """By name: NOFILE, NPROC, AS ... as in getrlimit(2); sizes of mounts: tmp_bytes, and where not given by a rule
    of thumb tmp_inodes, shm_bytes. The core limit is always the sandbox's own."""
    skip: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Controls to leave out, with reasons; they come back in ``wire.Confined.missing``."""


class Listener(Protocol):
    """Hears what becomes of one order."""

    def on_spawned(self, pidfd: int) -> None:
        """Hear that the process exists."""

    def on_exit(self, status: int) -> None:
        """Hear that the process is gone, and how; the last call."""

    def on_failed(self, step: str, errno: int, reason: str) -> None:
        """Hear that no process came of the order; the last call."""

    def on_lost(self) -> None:
        """Hear that the process is gone with its zygote; the last call."""


def encode(order: Order) -> tuple[bytes, list[int]]:
    """Return the packet of an order and the descriptors that go with it, which stay the caller's."""
    single = {
        "request": order.request_fd,
        "response": order.response_fd,
        "log": order.log_fd,
        "tmp": order.tmp_fd,
        "gate": order.gate_fd,
        "door": order.door_fd,
        "netns": order.netns_fd,
        "cgroup_folder": order.cgroup_folder_fd,
    }
    names = [name for name, fd in single.items() if fd is not None] + ["cgroup"] * len(order.cgroup_fds)
    fds = [fd for fd in single.values() if fd is not None] + list(order.cgroup_fds)
    folders = {"code": order.code, "layers": order.layers, "tmp": order.tmp}
    spawn = wire.Spawn(
        order.slot,
        order.uid,
        order.gid,
        order.hostname,
        {name: path for name, path in folders.items() if path is not None},
        " ".join(names),
        dict(order.limits),
        dict(order.skip),
    )
    return wire.encode(spawn), fds
