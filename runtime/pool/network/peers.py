"""Whose process is at the other end of a TCP connection within this machine: asked of the kernel by sock_diag(7)."""

import ipaddress
import socket
import struct

_BY_FAMILY = 20
_REQUEST = 1
_ERROR = 2
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8
_HEADER = struct.Struct("=IHHII")
_ASKED = struct.Struct("=BBBxI2s2s16s16sI8s")
"""struct inet_diag_req_v2: family, protocol, ext, states; then ports, addresses, interface and cookie."""
_ANSWER = struct.Struct("=4x48x3I2I")
"""struct inet_diag_msg up to uid and inode."""


class Peers:
    """A conversation with the kernel; its network namespace is that of the thread which made it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 4)  # NETLINK_SOCK_DIAG
        self._socket.setblocking(False)

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def uid(self, connection: socket.socket) -> int | None:
        """Return the uid of the process that holds the other end; None where none does, or it is another machine's.

        The uid is that of who made the socket. One that was closed since belongs to nobody any more.
        """
        theirs, ours = connection.getpeername()[:2], connection.getsockname()[:2]
        asked = _ASKED.pack(
            connection.family,
            socket.IPPROTO_TCP,
            0,
            _ALL_STATES,
            struct.pack(">H", theirs[1]),
            struct.pack(">H", ours[1]),
            _raw(theirs[0]),
            _raw(ours[0]),
            0,
            _NO_COOKIE,
        )
        self._socket.send(_HEADER.pack(_HEADER.size + len(asked), _BY_FAMILY, _REQUEST, 0, 0) + asked)
        answer = self._socket.recv(1 << 12)
        if _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
            return None
        *_, uid, inode = _ANSWER.unpack_from(answer, _HEADER.size)
        return int(uid) if inode else None


def is_ours(address: str) -> bool:
    """Return whether an address is one of this machine's."""
    plain = address.partition("%")[0]
    family = socket.AF_INET6 if ":" in plain else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as any_socket:
        try:
            any_socket.bind((plain, 0))
        except OSError:
            return False
    return True


def _raw(address: str) -> bytes:
    return ipaddress.ip_address(address.partition("%")[0]).packed.ljust(16, b"\0")
