"""Which mode stands on a machine, by what it has."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from runtime import errors
from runtime.pool.network import door, modes, nest, nftables, pasta

UIDS = range(1_950_000_000, 1_950_000_010)

needs_root = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def marked(test):
    for mark in needs_root:
        test = mark(test)
    return test


class Fake:
    """Stands for an egress that works, without touching this machine."""

    alive = True
    user_namespace = 7
    resolv_conf = Path("/run/systemd/resolve/resolv.conf")

    def __init__(self, *arguments):
        self.closed = False
        self.door = door.listen("127.0.0.1", 0)

    def take(self, use):
        use(OSError("the router is gone"))

    def close(self):
        self.closed = True
        self.door.close()


def lacking(message):
    def refuse(*_):
        raise errors.IsolationError(message)

    return refuse


def lacking_os():
    raise OSError("no user namespaces")


@pytest.fixture
def machine(monkeypatch):
    """Return a function that says which of the ways of egress work."""

    def has(*, router, rules, root=True, nests=True):
        monkeypatch.setattr(pasta, "Egress", Fake if router else lacking("no pasta"))
        monkeypatch.setattr(nftables, "Egress", Fake if rules else lacking("no nft"))
        monkeypatch.setattr(nest, "Nest", Fake if nests else lacking_os)
        monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)

    return has


async def test_egress_is_by_a_router_where_there_is_one(machine):
    machine(router=True, rules=True)
    network = modes.open_network("auto", uids=UIDS)
    assert isinstance(network, modes.Routed)
    assert (network.mode, network.skip, network.user_namespace) == ("egress", {}, None)
    assert network.resolv_conf == "/run/systemd/resolve/resolv.conf"
    assert network.api_url == "http://198.19.255.254:3001"
    network.close()


async def test_else_root_has_rules_on_uids_and_says_that_the_network_is_shared(machine):
    machine(router=False, rules=True)
    network = modes.open_network("egress", uids=UIDS)
    assert network.mode == "egress"
    assert "no pasta" in network.skip["network"]
    assert not network.open_to_host
    network.close()


async def test_who_is_not_root_has_a_router_or_nothing(machine):
    machine(router=True, rules=True, root=False)
    network = modes.open_network("auto", uids=UIDS)
    assert network.user_namespace == 7
    network.close()
    machine(router=False, rules=True, root=False)
    network = modes.open_network("auto", uids=UIDS)
    assert network.mode == "none"
    assert "no pasta" in network.how
    assert (network.api_url, network.user_namespace) == ("http://127.0.0.1:3001", 7)
    network.close()


async def test_without_user_namespaces_a_worker_makes_its_own_network_and_has_no_door(machine):
    machine(router=False, rules=False, root=False, nests=False)
    network = modes.open_network("none", uids=UIDS)
    assert (network.api_url, network.user_namespace) == (None, None)
    given = []
    network.take(lambda *taken: given.append(taken))
    assert given == [(None, None)]
    network.close()


async def test_what_cannot_be_enforced_is_refused(machine):
    machine(router=False, rules=False)
    with pytest.raises(errors.IsolationError, match="no nft; nor by a router: no pasta"):
        modes.open_network("egress", uids=UIDS)


async def test_a_router_that_is_gone_leaves_a_worker_without_network(machine):
    machine(router=True, rules=False)
    given = []
    network = modes.open_network("egress", uids=UIDS)
    network.take(lambda *taken: given.append(taken))
    assert given == [(None, None)], "the worker makes an empty namespace of its own"
    network.close()


async def test_the_servers_own_port_is_never_allowed(machine):
    machine(router=True, rules=True)
    with pytest.raises(errors.ConfigError, match="port 3001"):
        modes.open_network("auto", uids=UIDS, allowed=["127.0.0.1:3001"], api_port=3001)


async def test_mode_host_is_told_in_every_order():
    network = modes.open_network("host", uids=UIDS)
    assert network.mode == "host"
    assert network.skip.keys() == {"network"}
    assert network.open_to_host
    network.close()


async def test_without_namespaces_there_are_rules_or_nothing_but_the_hosts_network(machine):
    machine(router=True, rules=True)
    network = modes.open_network("auto", uids=UIDS, without="no namespaces can be made")
    assert (network.mode, network.open_to_host) == ("egress", False)
    assert "no namespaces can be made" in network.how
    network.close()
    for lacking_ in ({"rules": False}, {"rules": True, "root": False}):
        machine(**{"router": True, "rules": True, **lacking_})
        network = modes.open_network("auto", uids=UIDS, without="no namespaces can be made")
        assert (network.mode, network.open_to_host) == ("host", True)
        assert "nothing limits what they reach" in network.how
        network.close()
        for mode in ("none", "egress"):
            with pytest.raises(errors.IsolationError):
                modes.open_network(mode, uids=UIDS, without="no namespaces can be made")


@marked
async def test_mode_none_gives_namespaces_made_ahead():
    network = modes.open_network("none", uids=UIDS)
    taken = asyncio.get_running_loop().create_future()
    network.take(lambda *given: taken.set_result(given))
    async with asyncio.timeout(20):
        fd, api = await taken
    assert f"http://127.0.0.1:{api.getsockname()[1]}" == network.api_url
    network.doors.shut(api)
    os.close(fd)
    network.close()


def test_a_resolver_on_loopback_is_passed_over(tmp_path):
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("nameserver 127.0.0.53\n")
    real.write_text("nameserver 192.168.1.1\n")
    file, servers = pasta.resolver((stub, real))
    assert file == real
    assert [str(one.address) for one in servers] == ["192.168.1.1"]
    with pytest.raises(errors.IsolationError, match="loopback"):
        pasta.resolver((stub, tmp_path / "absent"))


@marked
@pytest.mark.skipif(shutil.which("pasta") is None, reason="pasta is not installed")
@pytest.mark.skipif(shutil.which("nft", path=nftables.SEARCH) is None, reason="nft is not installed")
async def test_this_machine_has_a_router():
    network = modes.open_network("egress", uids=UIDS)
    assert isinstance(network, modes.Routed)
    taken = asyncio.get_running_loop().create_future()
    network.take(lambda fd, _: taken.set_result(fd))
    async with asyncio.timeout(20):
        os.close(await taken)
    assert network.alive()
    network.close()
    assert not network.alive()
