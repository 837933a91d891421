"""Just enough of rtnetlink(7) to lay a virtual wire between two network namespaces. Standard library only.

Interfaces are named by their numbers, which whoever makes them chooses: to ask for one would cost three system calls.
"""

import errno
import os
import socket
import struct
from typing import NamedTuple, Self

LOOPBACK = 1
"""The number of the loopback in every namespace."""

_NEWLINK, _NEWADDR, _NEWROUTE = 16, 20, 24
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_ERROR = 2

_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD, _IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES = 3, 18, 28, 31, 32
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFLA_AF_SPEC, _INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE = 26, 8, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5

_UP = 0x1
_TABLE_MAIN, _STATIC, _UNICAST = 254, 4, 1
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_HOST_BITS = 32


class Request(NamedTuple):
    """One thing to be done."""

    kind: int
    flags: int
    body: bytes


class Netlink:
    """A conversation with the network namespace that the calling thread is in when it begins, wherever it goes then."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, *requests: Request) -> None:
        """Have requests done one after the other, all sent at once; raise OSError with the first error."""
        message = b"".join(
            struct.pack("IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, number, 0) + body
            for number, (kind, flags, body) in enumerate(requests)
        )
        self._socket.sendto(message, (0, 0))
        failed = 0
        for _ in requests:
            answer = self._socket.recv(1 << 16)
            _, kind, _, _, _, code = struct.unpack_from("IHHIIi", answer)
            if kind != _ERROR:
                raise OSError(errno.EBADMSG, f"netlink answered with {kind}")
            failed = failed or -code
        if failed:
            raise OSError(failed, f"netlink: {os.strerror(failed)}")


def add_wire(number: int, name: str, peer_number: int, peer: str, peer_namespace: int) -> Request:
    """Add a pair of virtual interfaces: ``name`` here, ``peer`` in the namespace that a descriptor names.

    This one is up, its peer not yet: that can be only when there are both.
    """
    inner = _link(peer_number) + _attribute(_IFLA_IFNAME, _text(peer)) + _ONE_QUEUE
    inner += _attribute(_IFLA_NET_NS_FD, struct.pack("I", peer_namespace))
    info = _attribute(_IFLA_INFO_KIND, b"veth")
    info += _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, inner))
    body = _link(number, _UP) + _attribute(_IFLA_IFNAME, _text(name)) + _ONE_QUEUE
    return Request(_NEWLINK, _CREATE | _EXCLUSIVE, body + _attribute(_IFLA_LINKINFO, info))


def raise_link(number: int) -> Request:
    """Bring an interface up."""
    return Request(_NEWLINK, 0, _link(number, _UP))


def keep_from_ipv6(number: int) -> Request:
    """Have an interface that is not up yet never give itself an IPv6 address, nor look for routers.

    To switch IPv6 off altogether takes a file of /proc, which costs ten times as much. An error where there is none.
    """
    family = _attribute(socket.AF_INET6, _attribute(_INET6_ADDR_GEN_MODE, struct.pack("B", _ADDR_GEN_NONE)))
    return Request(_NEWLINK, 0, _link(number) + _attribute(_IFLA_AF_SPEC, family))


def add_address(number: int, address: str) -> Request:
    """Give an interface one IPv4 address, without a network around it."""
    raw = socket.inet_aton(address)
    body = struct.pack("BBBBI", socket.AF_INET, _HOST_BITS, 0, _SCOPE_UNIVERSE, number)
    body += _attribute(_IFA_LOCAL, raw) + _attribute(_IFA_ADDRESS, raw)
    return Request(_NEWADDR, _CREATE | _EXCLUSIVE, body)


def add_route(number: int, address: str | None, gateway: str | None = None) -> Request:
    """Lead to one IPv4 address, or to all (None), through an interface, directly or by a gateway."""
    bits = _HOST_BITS if address else 0
    scope = _SCOPE_UNIVERSE if gateway else _SCOPE_LINK
    body = struct.pack("8BI", socket.AF_INET, bits, 0, 0, _TABLE_MAIN, _STATIC, scope, _UNICAST, 0)
    if address:
        body += _attribute(_RTA_DST, socket.inet_aton(address))
    if gateway:
        body += _attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
    body += _attribute(_RTA_OIF, struct.pack("I", number))
    return Request(_NEWROUTE, _CREATE | _EXCLUSIVE, body)


def _link(index: int = 0, flags: int = 0) -> bytes:
    """Return struct ifinfomsg."""
    return struct.pack("BxHiII", 0, 0, index, flags, flags)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(name: str) -> bytes:
    return name.encode() + b"\0"


_ONE_QUEUE = _attribute(_IFLA_NUM_TX_QUEUES, struct.pack("I", 1)) + _attribute(_IFLA_NUM_RX_QUEUES, struct.pack("I", 1))
"""As many as processors is what it would have, each with files in /sys."""
