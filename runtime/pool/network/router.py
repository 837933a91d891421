"""The program of a small process that gives workers the Internet without any right over the host's network.

It lives in a user and a pid namespace of its own and holds a network namespace, the router. pasta(1) connects the
router to the outside through ordinary sockets of the host; each worker gets a namespace of its own that a virtual wire
connects to the router, where nftables decides what passes. So a worker has a loopback of its own, nobody reaches it,
and neither forwarding nor firewall of the host have a part in it. One pasta takes 30 MB; a wire takes 0.6 ms.

Spoken over a SOCK_SEQPACKET socket: first comes the ruleset, the answer is "ready" with the descriptor of the user
namespace and that of the door on the router, where functions reach the API; then for each "wire" the answer is "ok"
with the descriptor of a network namespace. An answer of any other kind is the reason of a failure. With the socket, or
with the parent, everything ends: this is pid 1 of the pid namespace that pasta is in.
"""

import itertools
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from runtime.pool import kernel
from runtime.pool.network import door, netlink

WIRES = "hotfork"
"""What the names of the router's ends of wires begin with: nothing that an interface of the host could begin with,
because pasta names the way out after that."""

PACKET_LIMIT = 1 << 16

GATEWAY = "198.19.255.254"
"""The router, as functions see it."""
_ADDRESSES = range(0xC6120001, 0xC612FFFF)
"""198.18.0.1 and up: of the network for benchmarks (RFC 2544), which nobody routes."""
_FIRST_END, _ETH0 = 1000, 100
"""Numbers of interfaces: of the router's first end of a wire, and of a worker's. Smaller ones are the kernel's."""
_PATIENCE_S = 5.0
_PASTA = ("--foreground", "--quiet", "--ipv4-only", "--config-net", "--no-map-gw", "--netns-only", "--no-netns-quit")
_NO_PORTS = ("-t", "none", "-u", "none", "-T", "none", "-U", "none")


def main(arguments: list[str]) -> NoReturn:
    """Run. Arguments: control descriptor, parent's pid, paths of pasta and nft."""
    fd, parent, pasta, nft = arguments
    control = socket.socket(fileno=int(fd))
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            os._exit(0)
        enter(control)
        router = _Router(control, pasta, nft)
    except (OSError, subprocess.CalledProcessError) as error:
        control.sendall(str(error).encode()[:1000])
        os._exit(1)
    router.serve()
    os._exit(0)


def enter(control: socket.socket) -> None:
    """Go on as pid 1 of a new pid namespace, with rights in a new user namespace only."""
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        Path(f"/proc/self/{name}").write_text(text)
    pid = os.fork()
    if pid:
        control.close()
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # forgotten when the rights changed
        os.waitpid(pid, 0)
        os._exit(0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


class _Router:
    """The router, from its first packet on."""

    def __init__(self, control: socket.socket, pasta: str, nft: str) -> None:
        """Make the namespace, its rules and its way out; raise OSError or CalledProcessError."""
        self._control = control
        self._numbers: Iterator[int] = itertools.cycle(_ADDRESSES)
        ruleset = control.recv(PACKET_LIMIT)
        # pasta stays in the host's network, so it is forked before we leave that.
        ours, theirs = socket.socketpair()
        # Not for the operator's terminal. Nobody reads it as long as pasta runs: what does not fit is lost.
        complaints, stderr = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        pid = os.fork()
        if not pid:
            _become_pasta(pasta, theirs, stderr)
        theirs.close()
        os.close(stderr)
        kernel.unshare(kernel.CLONE_NEWNET)
        self._home = _own_namespace()
        self._here = netlink.Netlink()
        self._here.ask(netlink.raise_link(netlink.LOOPBACK), netlink.add_address(netlink.LOOPBACK, GATEWAY))
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        self._keep_from_ipv6 = [netlink.keep_from_ipv6(_ETH0)] if _go_without_ipv6() else []
        subprocess.run([nft, "-f", "-"], input=ruleset, check=True, capture_output=True)  # noqa: S603 - our rules
        socket.send_fds(ours, [b"go"], [self._home])
        ours.close()
        _wait_for_way_out(pid, complaints)
        rights = os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        with door.listen(GATEWAY, door.API_PORT) as api:
            socket.send_fds(control, [b"ready"], [rights, api.fileno()])
        os.close(rights)

    def serve(self) -> None:
        """Lay wires until the socket ends."""
        while self._control.recv(PACKET_LIMIT):
            try:
                fd = self._lay_wire()
            except OSError as error:
                self._control.sendall(str(error).encode())
                continue
            socket.send_fds(self._control, [b"ok"], [fd])
            os.close(fd)

    def _lay_wire(self) -> int:
        """Return a descriptor of a new namespace that has a wire to us."""
        number = next(self._numbers)
        address = socket.inet_ntoa(number.to_bytes(4, "big"))
        name = f"{WIRES}{number - _ADDRESSES.start}"
        kernel.unshare(kernel.CLONE_NEWNET)
        try:
            inside = netlink.Netlink()
            fd = _own_namespace()
        finally:
            kernel.setns(self._home, kernel.CLONE_NEWNET)
        try:
            with inside:
                end = _FIRST_END + number - _ADDRESSES.start
                self._here.ask(netlink.add_wire(end, name, _ETH0, "eth0", fd), netlink.add_route(end, address))
                inside.ask(
                    netlink.raise_link(netlink.LOOPBACK),
                    *self._keep_from_ipv6,
                    netlink.raise_link(_ETH0),
                    netlink.add_address(_ETH0, address),
                    netlink.add_route(_ETH0, GATEWAY),
                    netlink.add_route(_ETH0, None, GATEWAY),
                )
        except BaseException:
            os.close(fd)
            raise
        return fd


def has_way_out() -> bool:
    """Return whether there is a default route for IPv4 in the network namespace that this process is in."""
    lines = Path("/proc/self/net/route").read_text().splitlines()[1:]
    return any(line.split()[1] == "00000000" for line in lines)


def _go_without_ipv6() -> bool:
    """Have no interface here speak it, now and later; return whether the kernel does.

    pasta does not, and with each wire it would take longer to lay the next: routes of all of them lie in one list.
    """
    try:
        for interfaces in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{interfaces}/disable_ipv6").write_text("1")
    except FileNotFoundError:
        return False
    return True


def _own_namespace() -> int:
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _become_pasta(pasta: str, told: socket.socket, stderr: int) -> NoReturn:
    os.dup2(stderr, 2)
    try:
        _, fds, _, _ = socket.recv_fds(told, 16, 1)
        os.dup2(fds[0], 0)  # of the descriptors that it is given, pasta closes all but the first three
        # Ignored by Python, and pasta takes that for an error.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execv(pasta, [pasta, *_PASTA, *_NO_PORTS, "--netns", "/proc/self/fd/0"])  # noqa: S606 - as meant
    except (OSError, IndexError) as error:
        os.write(2, f"it cannot be executed: {error}\n".encode())
    finally:
        os._exit(1)


def _wait_for_way_out(pasta: int, complaints: int) -> None:
    """Wait until pasta has set a default route; raise OSError where it ends before, or takes too long.

    ``complaints`` is the end of a pipe that it writes its errors to.
    """
    pidfd = os.pidfd_open(pasta)
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while time.monotonic() < deadline:
            if has_way_out():
                return
            if select.select([pidfd], [], [], 0.005)[0]:
                status = os.waitstatus_to_exitcode(os.waitpid(pasta, 0)[1])
                raise OSError(f"pasta ended with {status}: {_complaint(complaints)}")
    finally:
        os.close(pidfd)
    raise OSError("pasta was not ready in time")


def _complaint(complaints: int) -> str:
    """Return the last thing that was said."""
    try:
        said = os.read(complaints, 1 << 16).decode(errors="replace").strip()
    except BlockingIOError:
        said = ""
    return said.splitlines()[-1].replace(";", ",") if said else "without a word"
