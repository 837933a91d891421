"""Mode egress for a supervisor that is root: nftables rules on the uids of functions, in the host's own network.

Why this way: rules on sent packets need nothing of the host's forwarding, which Docker, ufw and firewalld each close in
their own way, no bridge, no addresses, and no time at all when a worker starts. What it does not give is a loopback of
the function's own: where a function talks to itself over TCP, use mode none. Nor can a function be kept from taking a
free UDP or TCP port of the host; nobody can connect to it there.

The table is ours alone and leaves every other table alone; tables of dead supervisors are removed at start.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from runtime import errors
from runtime.pool import instance
from runtime.pool.network import reach, rules

SEARCH = f"{os.environ.get('PATH') or os.defpath}:/usr/sbin:/sbin"
"""Where nft and its like are looked for: an ordinary user's PATH often leaves out the last two."""

_CURE = "install nftables (apt install nftables, dnf install nftables) and run with CAP_NET_ADMIN"
_TIMEOUT_S = 10.0
_REFUSED = 64
_TRIAL = """\
import os, socket, sys
os.setresuid(*[int(sys.argv[2])] * 3)
with socket.socket() as client:
    client.settimeout(5)
    refused = client.connect_ex(("127.0.0.1", int(sys.argv[1])))
sys.exit(64 if refused else 65)
"""


class Egress:
    """The rules of one supervisor, while they stand."""

    def __init__(self, uids: range, allowed: Sequence[reach.Allowed] = ()) -> None:
        """Install the rules for these uids, and see that they hold. Raises IsolationError with cause and cure."""
        self._nft = shutil.which("nft", path=SEARCH)
        if self._nft is None:
            raise errors.IsolationError(f"nft is not installed; {_CURE}")
        self.table = instance.name()
        self._collect()
        servers = reach.name_servers(read(Path("/etc/resolv.conf")))
        text = rules.ruleset(self.table, uids, [*allowed, *servers], neighbours())
        # Should our own table stand already, it is replaced in the same transaction.
        self._run(f"table inet {self.table}\ndelete table inet {self.table}\n{text}")
        try:
            _try_out(uids.start)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the rules: only when no worker is left."""
        self._run(f"delete table inet {self.table}\n")

    def _collect(self) -> None:
        for line in self._run("list tables\n").splitlines():
            family, name = line.split()[1:3]  # "table inet hotfork-1-2-3"
            if instance.orphan(name):
                self._run(f"delete table {family} {name}\n")

    def _run(self, commands: str) -> str:
        assert self._nft is not None
        try:
            done = subprocess.run(  # noqa: S603 - nft of this system, with our own commands
                [self._nft, "-f", "-"],
                input=commands,
                capture_output=True,
                text=True,
                check=True,
                timeout=_TIMEOUT_S,
            )
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines() or ["no reason given"]
            raise errors.IsolationError(f"nft refused our rules: {lines[0]}; {_CURE}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise errors.IsolationError(f"nft cannot be run: {error}; {_CURE}") from error
        return done.stdout


def resolve(entries: Sequence[str]) -> tuple[reach.Allowed, ...]:
    """Return what an allow-list of "host:port" means now; names are looked up. Raises ConfigError."""
    allowed: list[reach.Allowed] = []
    for entry in entries:
        host, port = reach.parse_entry(entry)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise errors.ConfigError(f"{entry!r} in the allow-list cannot be looked up: {error}") from error
        allowed += [reach.allowed(str(address[0]), port) for *_, address in found]
    return tuple(dict.fromkeys(allowed))


def neighbours() -> tuple[str, ...]:
    """Return the networks that this machine is on."""
    families = (socket.AF_INET, socket.AF_INET6)
    found = [one for entries in psutil.net_if_addrs().values() for one in entries if one.family in families]
    return reach.connected((one.address, one.netmask or "") for one in found)


def read(path: Path) -> str:
    """Return what a file holds; nothing where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _try_out(uid: int) -> None:
    """Let a process of a function's uid connect to us over loopback; raise IsolationError where it can."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-I", "-S", "-c", _TRIAL, str(port), str(uid)],
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_TIMEOUT_S,
        )
    if done.returncode != _REFUSED:
        raise errors.IsolationError(f"the rules of nft do not hold: a function reached this machine; {_CURE}")
