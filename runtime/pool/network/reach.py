"""What a function may reach in mode egress, as addresses; pure.

A function may reach what the Internet's registries call globally reachable, and what the operator allowed by host and
port. It may not reach this machine (loopback, and any of its own addresses), link-local addresses (the metadata
services of clouds), private networks, and nobody may reach it.

Sources: IANA's special-purpose address registries for IPv4 and IPv6 (RFC 6890), RFC 6052 for NAT64.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Iterable

from runtime import errors

DENIED_4 = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",  # Azure's platform service, on a public address
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
)

NAT64 = "64:ff9b::/96"
"""The IPv4 Internet as an IPv6-only network sees it (RFC 6052); it would lead to private IPv4 addresses as well."""

DENIED_6 = (
    "::/3",  # loopback, mapped and compatible addresses, local NAT64, discard-only; NAT64 is let through before
    "2001::/23",  # Teredo, ORCHID, benchmarking and the like
    "2001:db8::/32",
    "2002::/16",  # 6to4: an IPv4 address in disguise
    "3fff::/20",
    "4000::/2",
    "8000::/1",  # unique local, link-local, multicast
)

_ENTRY = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:\s]+)):(?P<port>\d+)")
_PORT_LIMIT = 65535
_DNS_PORT = 53


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """One address and port that functions may reach although it is denied otherwise."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    protocols: tuple[str, ...] = ("tcp",)


def parse_entry(entry: str) -> tuple[str, int]:
    """Return host and port of "host:port", "1.2.3.4:port" or "[1::2]:port"; raise ConfigError."""
    match = _ENTRY.fullmatch(entry)
    if match is None or not 0 < int(match["port"]) <= _PORT_LIMIT:
        raise errors.ConfigError(f"{entry!r} is not host:port; an IPv6 address stands in brackets")
    return match["six"] or match["name"], int(match["port"])


def allowed(address: str, port: int, protocols: tuple[str, ...] = ("tcp",)) -> Allowed:
    """Return an address, given as text, and a port as what functions may reach; raise ValueError."""
    return Allowed(address=ipaddress.ip_address(address.partition("%")[0]), port=port, protocols=protocols)


def name_servers(resolv_conf: str) -> tuple[Allowed, ...]:
    """Return the name servers of a resolv.conf(5) as what functions may reach."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                found.append(allowed(words[1], _DNS_PORT, ("tcp", "udp")))
            except ValueError:
                continue
    return tuple(found)


def connected(addresses: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the networks that this machine is on, from (address, netmask) of its interfaces.

    Its neighbours are as little the function's business as a private network, and may have public addresses.
    """
    networks = set()
    for address, mask in addresses:
        plain = address.partition("%")[0]
        bits = int(ipaddress.ip_address(mask)).bit_count() if mask else ipaddress.ip_address(plain).max_prefixlen
        networks.add(ipaddress.ip_network(f"{plain}/{bits}", strict=False))
    return tuple(sorted(str(network) for network in networks))


def check_api(entries: Iterable[Allowed], port: int) -> None:
    """Raise ConfigError where the allow-list would let functions reach the API of this server as anybody."""
    for one in entries:
        if one.port == port:
            raise errors.ConfigError(
                f"functions may not be allowed to reach port {port}: it is the port of this server's API, "
                "which does not ask who calls"
            )
