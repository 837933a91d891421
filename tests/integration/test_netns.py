import asyncio
import os
import pathlib
import socket
import subprocess
import sys
import threading

import psutil
import pytest

from runtime.pool import kernel
from runtime.pool.network import door, doors, nest, netlink, netns

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root here"),
]


def own():
    return pathlib.Path("/proc/thread-self/ns/net").stat().st_ino


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def namespaces():
    before = own()
    namespaces = netns.Namespaces(ready=3)
    yield namespaces
    namespaces.close()
    assert own() == before, "the supervisor's own network is untouched"


def inside(fd, function):
    """Run a function in a namespace, in a thread, and return its answer."""
    answers = []

    def run():
        kernel.setns(fd, kernel.CLONE_NEWNET)
        answers.append(function())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return answers[0]


def talk_to_oneself():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 5):
        return True


def reach_out():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        return one.connect_ex(("93.184.215.14", 80))


async def test_each_worker_gets_a_namespace_of_its_own(namespaces):
    await until(lambda: namespaces.ready == 3)
    taken = []
    for _ in range(3):
        namespaces.take(taken.append)
    inodes = {os.fstat(one.fd).st_ino for one in taken}
    assert len(inodes) == 3
    assert own() not in inodes
    for one in taken:
        one.discard()
    await until(lambda: namespaces.ready == 3)


async def test_it_has_a_loopback_that_is_up_and_nothing_else(namespaces):
    await until(lambda: namespaces.ready)
    taken = []
    namespaces.take(taken.append)
    fd = taken[0].fd
    assert inside(fd, socket.if_nameindex) == [(1, "lo")]
    assert inside(fd, talk_to_oneself)
    assert inside(fd, reach_out) == 101  # ENETUNREACH
    taken[0].discard()


async def test_who_finds_none_ready_gets_the_next_one():
    namespaces = netns.Namespaces(ready=0)
    taken = []
    namespaces.take(taken.append)
    await until(lambda: taken)
    taken[0].discard()
    namespaces.close()


async def test_the_door_of_a_namespace_is_reached_from_within_and_from_nowhere_else(namespaces):
    taken, welcomed = [], []
    for _ in range(2):
        namespaces.take(taken.append)
    await until(lambda: len(taken) == 2)
    at = doors.Doors(most=8)
    for one in taken:
        at.open(one.door)
    at.serve(lambda accepted, through: welcomed.append((accepted, through)))

    def knock():
        with socket.create_connection(("127.0.0.1", door.API_PORT), 5) as client:
            client.sendall(b"hello")
            return client.recv(5)

    calling = asyncio.get_running_loop().run_in_executor(None, inside, taken[1].fd, knock)
    await until(lambda: welcomed)
    accepted, through = welcomed.pop()
    assert through is taken[1].door
    with accepted:
        accepted.sendall(b"world")
        assert await calling == b"world"
    at.shut(taken[1].door)
    assert inside(taken[1].fd, refused)
    at.close()
    assert inside(taken[0].fd, refused)
    assert not welcomed
    for one in taken:
        one.discard()


@pytest.fixture
async def nested():
    try:
        made = nest.Nest(ready=2)
    except OSError as error:
        pytest.skip(f"no user namespaces: {error}")
    yield made
    made.close()


async def test_who_is_not_root_has_them_from_a_nest(nested):
    taken = []
    for _ in range(3):
        nested.take(taken.append)
    await until(lambda: len(taken) == 3)
    assert len({os.fstat(one.fd).st_ino for one in taken} | {own()}) == 4
    for one in taken:
        assert inside(one.fd, socket.if_nameindex) == [(1, "lo")]
        assert one.door.getsockname() == ("127.0.0.1", door.API_PORT)
        assert inside(one.fd, talk_to_oneself)
        one.discard()


async def test_a_nest_ends_with_its_owner_and_says_that_it_is_gone():
    made = nest.Nest(ready=0)
    children = psutil.Process(made._process.pid).children(recursive=True)
    assert len(children) == 1, "the process in the namespaces; its parent is ours"
    made._process.kill()
    await until(lambda: is_gone(children[0]))  # it serves until the kernel tells it
    taken = []
    made.take(taken.append)
    await until(lambda: taken)
    assert isinstance(taken[0], OSError)
    made.close()


def is_gone(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def refused():
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", door.API_PORT)) == 111  # ECONNREFUSED


def test_without_privilege_it_says_so():
    program = (
        "import os\nfrom runtime.pool.network import namespace\nos.setresuid(65534, 65534, 65534)\n"
        "try:\n namespace.make()\nexcept PermissionError as error:\n print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert b"ermi" in done.stdout, "Operation not permitted, or Permission denied for its own /proc entry"


async def test_of_requests_asked_at_once_the_first_error_is_told_and_the_rest_is_done(namespaces):
    taken = asyncio.get_running_loop().create_future()
    namespaces.take(taken.set_result)
    space = await taken

    def ask():
        one, two, three = (netlink.add_address(netlink.LOOPBACK, f"198.18.0.{host}") for host in (1, 2, 3))
        with netlink.Netlink() as conversation:
            with pytest.raises(FileExistsError):
                conversation.ask(one, one, two, netlink.raise_link(77))
            conversation.ask(three)
        return [socket.create_server((f"198.18.0.{host}", 0)).close() for host in (1, 2, 3)]

    assert inside(space.fd, ask) == [None, None, None]
    space.discard()
