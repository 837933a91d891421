"""Mode egress for a supervisor without privilege: a router of our own (``router``), connected by pasta(1)."""

import concurrent.futures
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime import errors
from runtime.pool import affinity, spares
from runtime.pool.network import door, nftables, reach, router, rules

READY = 4

RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""Where systemd-resolved serves on loopback, it tells the real name servers in the second file."""

_CURE = (
    "install passt and nftables (apt install passt nftables); /dev/net/tun must be open to everybody, as udev has it"
)
_PROGRAM = """\
import sys
sys.path += sys.argv[1].split(":")
from runtime.pool.network import router
router.main(sys.argv[2:])
"""
_TIMEOUT_S = 20.0
_READY_FDS = 2


class Egress:
    """A router and its spare namespaces. Use from one event loop."""

    user_namespace: int
    """A descriptor. Who is not root can join the network namespaces only from within this one, as its root: so a
    zygote of mode "user" joins it instead of making one. It maps 0 to the uid of this process."""
    door: socket.socket
    """Listens on the router, where functions reach the API."""

    def __init__(self, allowed: Sequence[reach.Allowed] = (), *, ready: int = READY) -> None:
        """Start the router; blocks for a tenth of a second. Raises IsolationError with cause and cure."""
        if not router.has_way_out():
            raise errors.IsolationError("this machine has no default route for IPv4")
        self.resolv_conf, servers = resolver()
        reachable = [*_reachable(allowed), *servers]
        api = reach.allowed(router.GATEWAY, door.API_PORT)
        ruleset = rules.router("hotfork", router.WIRES, reachable, nftables.neighbours(), api=api)
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        ours.settimeout(_TIMEOUT_S)
        try:
            with theirs:
                self._process = _start(theirs.fileno())
        except BaseException:
            ours.close()
            raise
        try:
            self._begin(ruleset)
        except BaseException:
            self.close()
            raise
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="egress")
        self._spares = spares.Spares(self._make, os.close, ready=ready, makers=self._thread, breakers=self._thread)
        self._spares.fill()

    @property
    def alive(self) -> bool:
        """Return whether the router runs."""
        return self._process.poll() is None

    def take(self, use: Callable[[int | OSError], None]) -> None:
        """Give ``use`` a descriptor of a network namespace, its to close, or an OSError."""
        self._spares.take(use)

    def close(self) -> None:
        """End the router: workers that are left have no network any more."""
        if hasattr(self, "_spares"):
            self._spares.close()
            self._thread.shutdown(wait=True)
            os.close(self.user_namespace)
            self.door.close()
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _begin(self, ruleset: str) -> None:
        try:
            self._control.sendall(ruleset.encode())
            answer, fds, _, _ = socket.recv_fds(self._control, router.PACKET_LIMIT, 2)
        except OSError as error:
            raise errors.IsolationError(f"the router for egress does not answer: {error}; {_CURE}") from error
        if answer != b"ready" or len(fds) != _READY_FDS:
            reason = answer.decode(errors="replace") or "it ended without a word"
            raise errors.IsolationError(f"the router for egress cannot be had: {reason}; {_CURE}")
        self.user_namespace = fds[0]
        self.door = socket.socket(fileno=fds[1])
        self.door.setblocking(False)

    def _make(self) -> int:
        with self._lock:
            self._control.sendall(b"wire")
            answer, fds, _, _ = socket.recv_fds(self._control, router.PACKET_LIMIT, 1)
        if answer != b"ok" or not fds:
            raise OSError(answer.decode(errors="replace") or "the router is gone")
        return fds[0]


def resolver(files: Sequence[Path] = RESOLVERS) -> tuple[Path, tuple[reach.Allowed, ...]]:
    """Return a resolv.conf whose name servers are not this machine's loopback, and them; raise IsolationError."""
    for file in files:
        servers = tuple(one for one in reach.name_servers(nftables.read(file)) if not one.address.is_loopback)
        if servers:
            return file, servers
    raise errors.IsolationError("every name server in /etc/resolv.conf is on this machine's loopback")


def _reachable(allowed: Sequence[reach.Allowed]) -> list[reach.Allowed]:
    """Return what is allowed but for loopback, which means the worker's own here: raise IsolationError."""
    for one in allowed:
        if one.address.is_loopback:
            raise errors.IsolationError(
                f"{one.address}:{one.port} is on the allow-list, but behind a router a function's loopback is its own: "
                "let the service listen on an address of the network"
            )
    return list(allowed)


def _start(control: int) -> subprocess.Popen[bytes]:
    tools = {name: shutil.which(name, path=nftables.SEARCH) for name in ("pasta", "nft")}
    missing = [name for name, path in tools.items() if path is None]
    if missing:
        raise errors.IsolationError(f"{missing[0]} is not installed; {_CURE}")
    here = str(Path(__file__).parent.parent.parent.parent)
    arguments = [str(control), str(os.getpid()), *map(str, tools.values())]
    affinity.release()
    return subprocess.Popen(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-I", "-S", "-c", _PROGRAM, here, *arguments],
        env={},
        cwd="/",
        pass_fds=[control],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
