"""A network namespace with nothing in it but a loopback, and a door to the API there. Standard library only."""

import os
import socket
from typing import NamedTuple

from runtime.pool import kernel
from runtime.pool.network import door, netlink


class Namespace(NamedTuple):
    """A network namespace that nobody uses yet."""

    fd: int
    door: socket.socket
    """To the API, on its loopback."""

    def discard(self) -> None:
        """Let go of it."""
        os.close(self.fd)
        self.door.close()


def make() -> Namespace:
    """Return a new network namespace whose loopback is up. Raises OSError.

    The calling thread leaves its namespace for a moment, so this belongs into a thread that does nothing else.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.unshare(kernel.CLONE_NEWNET)
        try:
            with netlink.Netlink() as inside:
                inside.ask(netlink.raise_link(netlink.LOOPBACK))  # without it not even 127.0.0.1 answers
            api = door.listen("127.0.0.1", door.API_PORT)
            return Namespace(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC), api)
        finally:
            kernel.setns(home, kernel.CLONE_NEWNET)
    finally:
        os.close(home)
