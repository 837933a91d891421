"""Mode egress by nftables, in network namespaces of the test's own: the machine's rules are not touched."""

import os
import shutil
import subprocess

import network_world
import pytest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(
        shutil.which("nft", path=os.environ["PATH"] + ":/usr/sbin") is None, reason="nft is not installed"
    ),
    pytest.mark.skipif(
        shutil.which("ip", path=os.environ["PATH"] + ":/usr/sbin") is None, reason="ip is not installed"
    ),
]

FUNCTION = 1_900_000_007
SOMEBODY = 1_800_000_000
PUBLIC = ("93.184.215.14", "2a00:1450::5", "64:ff9b::5db8:d70e")
DENIED = tuple(address for address in network_world.OUTSIDE if address not in PUBLIC)
LOCAL = network_world.LOCAL
NEIGHBOURS = (network_world.NEIGHBOUR_4, network_world.NEIGHBOUR_6)
PORT = network_world.PORT
DATABASE = 5432

INSTALL = """
import sys
from runtime.pool.network import nftables
egress = nftables.Egress(range(1_900_000_000, 1_900_000_100), nftables.resolve(sys.argv[1:]))
print(egress.table, flush=True)
sys.stdin.readline()
egress.close()
print("closed", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def world():
    world = network_world.World()
    world.serve(world.host, LOCAL, PORT, DATABASE, 3001)
    yield world
    world.close()


@pytest.fixture(scope="module")
def egress(world):
    process = world.python(world.host, INSTALL, f"127.0.0.1:{DATABASE}", "[fd00:ec2::254]:80")
    line = process.stdout.readline()
    assert line.startswith(b"hotfork-"), process.communicate()
    return process


def tables(world):
    done = subprocess.run(
        world.command(world.host, "nft", "list", "tables"), capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def both(addresses, port=PORT):
    return [(protocol, address, port) for protocol in ("tcp", "udp") for address in addresses]


def test_a_function_reaches_the_internet(world, egress):
    targets = both(PUBLIC)
    assert set(world.attempt(FUNCTION, targets).values()) == {"reached"}


@pytest.mark.parametrize("addresses", [LOCAL, DENIED, NEIGHBOURS], ids=["this machine", "private", "neighbours"])
def test_a_function_does_not_reach_and_anybody_else_does(world, egress, addresses):
    targets = [target for target in both(addresses) if target != ("tcp", "fd00:ec2::254", PORT)]
    results = world.attempt(FUNCTION, targets)
    assert not [target for target, result in results.items() if result == "reached"]
    assert "TimeoutError" not in results.values(), "a refusal is told at once"
    assert set(world.attempt(SOMEBODY, targets).values()) == {"reached"}, "the control: who is no function does"


def test_a_function_reaches_what_the_operator_allows_and_that_port_only(world, egress):
    allowed = [("tcp", "127.0.0.1", DATABASE), ("tcp", "fd00:ec2::254", PORT)]
    refused = [("udp", "127.0.0.1", DATABASE), ("tcp", "::1", DATABASE), ("tcp", "127.0.0.1", 3001)]
    results = world.attempt(FUNCTION, allowed + refused)
    assert [results[target] for target in allowed] == ["reached", "reached"]
    assert "reached" not in [results[target] for target in refused]


def test_the_first_and_the_last_uid_are_functions_and_their_neighbours_are_not(world, egress):
    target = [("tcp", "127.0.0.1", PORT)]
    reached = {
        uid: world.attempt(uid, target)[target[0]] == "reached"
        for uid in (1_899_999_999, 1_900_000_000, 1_900_000_099, 1_900_000_100)
    }
    assert list(reached.values()) == [True, False, False, True]


LISTEN = """
import os, socket, sys
os.setresuid(*[int(sys.argv[1])] * 3)
server = socket.create_server(("0.0.0.0", int(sys.argv[2])))
print("listening", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("uid", "port", "outcome"), [(FUNCTION, 7001, False), (SOMEBODY, 7002, True)])
def test_nobody_can_connect_to_a_function(world, egress, uid, port, outcome):
    process = world.python(world.host, LISTEN, str(uid), str(port))
    assert process.stdout.readline() == b"listening\n"
    target = ("tcp", "127.0.0.1", port)
    assert (world.attempt(SOMEBODY, [target])[target] == "reached") is outcome
    process.kill()


def test_name_servers_of_the_machine_are_reached(tmp_path):
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 10.9.9.9\n")
    # In a view of the file system that has a resolv.conf of its own.
    view = (
        "import subprocess, sys\nsubprocess.run(['mount', '--bind', sys.argv.pop(), '/etc/resolv.conf'], check=True)\n"
    )
    other = network_world.World()
    try:
        process = other.python(other.host, view + INSTALL, str(resolv_conf), own_mounts=True)
        assert process.stdout.readline().startswith(b"hotfork-"), process.communicate()
        results = other.attempt(FUNCTION, [("udp", "10.9.9.9", 53), ("tcp", "10.9.9.9", 53), ("tcp", "10.9.9.9", PORT)])
        assert [result == "reached" for result in results.values()] == [True, True, False]
    finally:
        other.close()


def test_the_rules_of_a_dead_supervisor_are_removed_and_those_of_a_living_one_stay(world, egress):
    first = world.python(world.host, INSTALL)
    dead = first.stdout.readline().decode().strip()
    assert dead in tables(world)
    first.kill()
    first.wait()
    second = world.python(world.host, INSTALL)
    alive = second.stdout.readline().decode().strip()
    listed = tables(world)
    assert dead not in listed
    assert alive in listed
    assert len([name for name in listed if name.startswith("hotfork-")]) == 2, "the fixture's and ours"
    second.stdin.write(b"\n")
    second.stdin.flush()
    assert second.stdout.readline() == b"closed\n"
    assert alive not in tables(world)


def test_rules_that_do_not_hold_are_told():
    program = INSTALL.replace(
        "egress = ",
        "from runtime.pool.network import rules\nrules.ruleset = lambda table, *_: f'table inet {table} {{}}'\negress = ",
    )
    other = network_world.World()
    try:
        _, errors = other.python(other.host, program).communicate(timeout=30)
        assert b"IsolationError: the rules of nft do not hold" in errors
        assert "hotfork" not in " ".join(tables(other))
    finally:
        other.close()
