"""Just enough of rtnetlink(7) to lay a virtual wire between two network namespaces. Standard library only."""

import errno
import os
import socket
import struct
from typing import Self

_NEWLINK, _NEWADDR, _NEWROUTE = 16, 20, 24
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_ERROR = 2

_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 18, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5

_UP = 0x1
_TABLE_MAIN, _STATIC, _UNICAST = 254, 4, 1
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_HOST_BITS = 32


class Netlink:
    """A conversation with the network namespace that the calling thread is in when it begins."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def add_wire(self, name: str, peer: str, peer_namespace: int) -> None:
        """Add a pair of virtual interfaces: ``name`` here, ``peer`` in the namespace that a descriptor names."""
        inner = _link() + _attribute(_IFLA_IFNAME, _text(peer))
        inner += _attribute(_IFLA_NET_NS_FD, struct.pack("I", peer_namespace))
        info = _attribute(_IFLA_INFO_KIND, b"veth")
        info += _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, inner))
        body = _link() + _attribute(_IFLA_IFNAME, _text(name)) + _attribute(_IFLA_LINKINFO, info)
        self._ask(_NEWLINK, _CREATE | _EXCLUSIVE, body)

    def raise_link(self, name: str) -> None:
        """Bring an interface up."""
        self._ask(_NEWLINK, 0, _link(socket.if_nametoindex(name), _UP))

    def add_address(self, name: str, address: str) -> None:
        """Give an interface one IPv4 address, without a network around it."""
        raw = socket.inet_aton(address)
        body = struct.pack("BBBBI", socket.AF_INET, _HOST_BITS, 0, _SCOPE_UNIVERSE, socket.if_nametoindex(name))
        self._ask(_NEWADDR, _CREATE | _EXCLUSIVE, body + _attribute(_IFA_LOCAL, raw) + _attribute(_IFA_ADDRESS, raw))

    def add_route(self, name: str, address: str | None, gateway: str | None = None) -> None:
        """Lead to one IPv4 address, or to all (None), through an interface, directly or by a gateway."""
        bits = _HOST_BITS if address else 0
        scope = _SCOPE_UNIVERSE if gateway else _SCOPE_LINK
        body = struct.pack("8BI", socket.AF_INET, bits, 0, 0, _TABLE_MAIN, _STATIC, scope, _UNICAST, 0)
        if address:
            body += _attribute(_RTA_DST, socket.inet_aton(address))
        if gateway:
            body += _attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
        body += _attribute(_RTA_OIF, struct.pack("I", socket.if_nametoindex(name)))
        self._ask(_NEWROUTE, _CREATE | _EXCLUSIVE, body)

    def _ask(self, kind: int, flags: int, body: bytes) -> None:
        header = struct.pack("IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, 1, 0)
        self._socket.sendto(header + body, (0, 0))
        answer = self._socket.recv(1 << 16)
        _, kind, _, _, _, code = struct.unpack_from("IHHIIi", answer)
        if kind != _ERROR:
            raise OSError(errno.EBADMSG, f"netlink answered with {kind}")
        if code:
            raise OSError(-code, f"netlink: {os.strerror(-code)}")


def _link(index: int = 0, flags: int = 0) -> bytes:
    """Return struct ifinfomsg."""
    return struct.pack("BxHiII", 0, 0, index, flags, flags)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(name: str) -> bytes:
    return name.encode() + b"\0"
