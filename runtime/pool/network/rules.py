"""What a function may reach in mode egress (``reach``), as rulesets for nftables; pure."""

import ipaddress
from collections.abc import Iterable, Sequence

from runtime.pool.network import reach


def ruleset(table: str, uids: range, entries: Sequence[reach.Allowed], neighbours: Sequence[str] = ()) -> str:
    """Return the nftables ruleset for all processes with a uid in ``uids``; ``neighbours`` are networks to deny.

    The rules look at each packet for itself: connection tracking would burden all traffic of the host.
    """
    return f"""\
table inet {table} {{
{_sets(entries, neighbours)}
  chain output {{
    type filter hook output priority 0; policy accept;
    meta skuid {uids.start}-{uids.stop - 1} jump function
  }}
  chain function {{
    tcp flags & (syn | ack) == (syn | ack) drop comment "nobody connects to a function"
{_ALLOW}
    oifname "lo" goto refuse
{_DENIED}
  }}
{_REFUSE}
}}
"""


def router(
    table: str, wires: str, entries: Sequence[reach.Allowed], neighbours: Sequence[str] = (), *, api: reach.Allowed
) -> str:
    """Return the ruleset of a namespace that routes for functions; their interfaces begin with ``wires``.

    Functions reach what is allowed and nothing else: not each other, nor of the router itself anything but ``api``.
    """
    return f"""\
table inet {table} {{
{_sets(entries, neighbours)}
  chain input {{
    type filter hook input priority 0; policy accept;
    iifname "{wires}*" ip daddr {api.address} tcp dport {api.port} accept
    iifname "{wires}*" goto refuse
  }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "{wires}*" oifname != "{wires}*" jump function
  }}
  chain function {{
{_ALLOW}
{_DENIED}
    accept
  }}
{_REFUSE}
  chain leave {{
    type nat hook postrouting priority 100; policy accept;
    oifname != "{wires}*" oifname != "lo" masquerade
  }}
}}
"""


_ALLOW = """\
    ip daddr . meta l4proto . th dport @allowed_4 accept
    ip6 daddr . meta l4proto . th dport @allowed_6 accept"""

_DENIED = f"""\
    ip daddr @denied_4 goto refuse
    ip6 daddr @denied_nat64 goto refuse
    ip6 daddr {reach.NAT64} accept
    ip6 daddr @denied_6 goto refuse"""

_REFUSE = """\
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }"""


def _sets(entries: Sequence[reach.Allowed], neighbours: Sequence[str]) -> str:
    allowed_4, allowed_6 = _by_version([(str(one.address), element) for one in entries for element in _elements(one)])
    near_4, near_6 = _by_version([(network, network) for network in neighbours])
    return "\n".join(
        (
            _set("allowed_4", "ipv4_addr . inet_proto . inet_service", allowed_4),
            _set("allowed_6", "ipv6_addr . inet_proto . inet_service", allowed_6),
            _set("denied_4", "ipv4_addr", [*reach.DENIED_4, *near_4], interval=True),
            _set("denied_6", "ipv6_addr", [*reach.DENIED_6, *near_6], interval=True),
            _set("denied_nat64", "ipv6_addr", _nat64(reach.DENIED_4), interval=True),
        )
    )


def _set(name: str, kind: str, elements: Iterable[str], *, interval: bool = False) -> str:
    listed = ", ".join(dict.fromkeys(elements))
    lines = [f"    type {kind}"]
    if interval:
        lines += ["    flags interval", "    auto-merge"]
    if listed:
        lines.append(f"    elements = {{ {listed} }}")
    return "\n".join((f"  set {name} {{", *lines, "  }"))


def _by_version(pairs: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return what belongs to IPv4 and what to IPv6, by the address beside it."""
    fours: list[str] = []
    sixes: list[str] = []
    for address, element in pairs:
        (sixes if ":" in address else fours).append(element)
    return fours, sixes


def _elements(one: reach.Allowed) -> list[str]:
    return [f"{one.address} . {protocol} . {one.port}" for protocol in one.protocols]


def _nat64(networks: Iterable[str]) -> list[str]:
    base = int(ipaddress.IPv6Network(reach.NAT64).network_address)
    found = []
    for text in networks:
        network = ipaddress.IPv4Network(text)
        found.append(f"{ipaddress.IPv6Address(base + int(network.network_address))}/{96 + network.prefixlen}")
    return found
