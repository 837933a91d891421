"""The program of a small process that makes empty network namespaces, each with a door to the API.

It lives in a user and a pid namespace of its own, as the router does: who is not root can make a network namespace only
there, and join it only from there. A worker could make its own, but then nobody outside could put a door into it.

Spoken over a SOCK_SEQPACKET socket: the first answer is "ready" with the descriptor of the user namespace; then for
each "space" it is "ok" with the descriptors of a network namespace and its door. An answer of any other kind is the
reason of a failure. With the socket, or with the parent, the process ends.
"""

import os
import signal
import socket
from typing import NoReturn

from runtime.pool import kernel
from runtime.pool.network import namespace, router

PACKET_LIMIT = 1 << 12


def main(arguments: list[str]) -> NoReturn:
    """Run. Arguments: control descriptor, parent's pid."""
    control = socket.socket(fileno=int(arguments[0]))
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(arguments[1]):
            os._exit(0)
        router.enter(control)
        kernel.unshare(kernel.CLONE_NEWNET)  # from here one may come back to where one was
        rights = os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        socket.send_fds(control, [b"ready"], [rights])
        os.close(rights)
    except OSError as error:
        control.sendall(str(error).encode()[:1000])
        os._exit(1)
    while control.recv(PACKET_LIMIT):
        try:
            made = namespace.make()
        except OSError as error:
            control.sendall(str(error).encode()[:1000])
            continue
        socket.send_fds(control, [b"ok"], [made.fd, made.door.fileno()])
        made.discard()
    os._exit(0)
