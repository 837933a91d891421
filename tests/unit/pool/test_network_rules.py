import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import errors
from runtime.pool.network import reach, rules


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("db.lan:5432", ("db.lan", 5432)),
        ("10.0.0.5:53", ("10.0.0.5", 53)),
        ("[fd00::1]:65535", ("fd00::1", 65535)),
    ],
)
def test_entries_of_the_allow_list(entry, expected):
    assert reach.parse_entry(entry) == expected


@pytest.mark.parametrize(
    "entry", ["db.lan", "db.lan:", ":80", "db:0", "db:65536", "fd00::1:80", "a b:80", "db:80 x", "[x]:1"]
)
def test_what_is_no_entry_is_refused(entry):
    with pytest.raises(errors.ConfigError, match="is not host:port"):
        reach.parse_entry(entry)


def test_name_servers_are_found_in_a_resolv_conf():
    text = (
        "# nameserver 1.1.1.1\nsearch lan\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver x\nnameserver\n"
    )
    assert reach.name_servers(text) == (
        reach.allowed("127.0.0.53", 53, ("tcp", "udp")),
        reach.allowed("fe80::1", 53, ("tcp", "udp")),
    )


def test_the_api_of_this_server_may_not_be_allowed():
    with pytest.raises(errors.ConfigError, match="port 3001"):
        reach.check_api([reach.allowed("192.168.1.5", 3001)], 3001)
    reach.check_api([reach.allowed("192.168.1.5", 3002)], 3001)


def test_networks_of_the_machine_are_told_from_its_interfaces():
    found = reach.connected(
        [("51.15.0.2", "255.255.255.0"), ("2a01::2%eth0", "ffff:ffff:ffff:ffff::"), ("10.0.0.1", "")]
    )
    assert found == ("10.0.0.1/32", "2a01::/64", "51.15.0.0/24")


def test_a_ruleset_names_its_uids_and_what_is_allowed():
    text = rules.ruleset("t", range(100, 200), [reach.allowed("10.0.0.5", 53, ("tcp", "udp"))], ["51.15.0.0/24"])
    assert "meta skuid 100-199 jump function" in text
    assert "elements = { 10.0.0.5 . tcp . 53, 10.0.0.5 . udp . 53 }" in text
    assert "51.15.0.0/24" in text


DENIED = [ipaddress.ip_network(text) for text in (*reach.DENIED_4, *reach.DENIED_6)]


def denied(address):
    return any(address.version == network.version and address in network for network in DENIED)


@given(st.ip_addresses(v=4))
def test_every_ipv4_address_that_is_not_global_is_denied(address):
    assert denied(address) or address.is_global


@given(st.ip_addresses(v=6))
def test_every_ipv6_address_that_is_not_global_is_denied(address):
    nat64 = address in ipaddress.ip_network(reach.NAT64)
    assert denied(address) or nat64 or address.is_global


@pytest.mark.parametrize(
    "text",
    [
        *("0.1.2.3", "10.1.1.1", "100.127.255.255", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1"),
        *("224.0.0.251", "239.1.1.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "100.100.100.200"),
        *(
            "::1",
            "::",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2002:7f00:1::",
            "2001:0:1::",
        ),
        *("64:ff9b:1::a00:1", "100::1", "5f00::1", "2001:db8::1"),
    ],
)
def test_well_known_private_addresses_are_denied(text):
    assert denied(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "52.94.236.248", "2606:4700::1111", "2a00:1450:4001::200e"])
def test_the_internet_is_not(text):
    assert not denied(ipaddress.ip_address(text))
