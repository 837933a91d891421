"""Mode egress by a router of our own and pasta, in network namespaces of the test's own."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import network_world
import pytest

SEARCH = os.environ["PATH"] + ":/usr/sbin"
SYSTEM_PYTHON = "/usr/bin/python3"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a world around it"),
    *(
        pytest.mark.skipif(shutil.which(tool, path=SEARCH) is None, reason=f"{tool} is not installed")
        for tool in ("pasta", "nft", "ip", "nsenter", "setpriv")
    ),
    pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="this machine has no /dev/net/tun"),
]

PUBLIC = "93.184.215.14"
OUTSIDE = [address for address in network_world.OUTSIDE if ":" not in address]
DENIED = [address for address in OUTSIDE if address != PUBLIC]
PORT = network_world.PORT

DRIVER = """
import asyncio, json, os, subprocess, sys
from runtime.pool.network import nftables, pasta

attempt = sys.argv[1]

async def main():
    egress = pasta.Egress(nftables.resolve(sys.argv[2:]), ready=1)
    workers = []
    for _ in range(2):
        future = asyncio.get_running_loop().create_future()
        egress.take(future.set_result)
        workers.append(await future)
    print(json.dumps({"router": egress._process.pid}), flush=True)
    for line in sys.stdin:
        number, program, *arguments = json.loads(line)
        fd = workers[number]
        command = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/proc/self/fd/{fd}", sys.executable, "-I", "-S", "-c", program, *arguments]
        process = subprocess.Popen(command, pass_fds=[fd], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE)
        print(process.stdout.readline().decode().strip(), flush=True)

asyncio.run(main())
"""


class Driver:
    """A supervisor's egress, with two namespaces of workers."""

    def __init__(self, world, *allowed):
        self.process = world.python(world.host, DRIVER, network_world.ATTEMPT, *allowed)
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1].decode()
        self.router = json.loads(line)["router"]

    def run(self, number, program, *arguments):
        self.process.stdin.write(json.dumps([number, program, *arguments]).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def attempt(self, targets, number=0):
        results = self.run(number, network_world.ATTEMPT, "1900000000", json.dumps(targets))
        return dict(zip(map(tuple, targets), results, strict=True))


@pytest.fixture(scope="module")
def world():
    world = network_world.World()
    world.serve(world.host, network_world.LOCAL, PORT)
    yield world
    world.close()


@pytest.fixture(scope="module")
def driver(world):
    return Driver(world, "10.9.9.9:80")


def both(addresses, port=PORT):
    return [(protocol, address, port) for protocol in ("tcp", "udp") for address in addresses]


def test_a_function_reaches_the_internet_and_what_is_allowed(driver):
    targets = [*both([PUBLIC]), ("tcp", "10.9.9.9", PORT)]
    assert set(driver.attempt(targets).values()) == {"reached"}


@pytest.mark.parametrize("where", ["private", "neighbour", "host"])
def test_a_function_does_not_reach_and_the_host_does(driver, world, where):
    addresses = {"private": DENIED, "neighbour": [network_world.NEIGHBOUR_4], "host": [network_world.HOST_4]}[where]
    targets = [target for target in both(addresses) if target != ("tcp", "10.9.9.9", PORT)]
    assert "reached" not in driver.attempt(targets).values()
    assert set(world.attempt(0, targets).values()) == {"reached"}, "the control: the host does"


def test_another_port_than_the_allowed_one_is_refused(driver):
    target = ("tcp", "10.9.9.9", 53)
    assert driver.attempt([target]) == {target: "ECONNREFUSED"}


LISTEN = """
import json, socket, sys
server = socket.create_server(("0.0.0.0", 8000))
with socket.create_connection(("127.0.0.1", 8000), 5):
    print(json.dumps(socket.if_nameindex()), flush=True)
while True:
    server.accept()
"""


def test_a_function_talks_to_itself_but_not_to_another_nor_to_the_router(driver):
    assert [name for _, name in driver.run(1, LISTEN)] == ["lo", "eth0"]
    one, other, gateway = (("tcp", address, 8000) for address in ("198.18.0.1", "198.18.0.2", "198.19.255.254"))
    results = driver.attempt([one, other, gateway])
    assert "reached" not in results.values()
    assert driver.attempt([other], number=1) == {other: "reached"}, "the control: it listens there"


INTERFACES = """
import json, socket
with socket.create_server(("::1", 8000), family=socket.AF_INET6):
    lines = open("/proc/self/net/if_inet6").read().splitlines()
    print(json.dumps([line.split()[-1] for line in lines]), flush=True)
"""


def test_a_function_speaks_ipv6_only_to_itself_and_the_router_not_at_all(driver):
    assert driver.run(0, INTERFACES) == ["lo"]
    (router,) = Path(f"/proc/{driver.router}/task/{driver.router}/children").read_text().split()
    assert "hotfork1" in Path(f"/proc/{router}/net/dev").read_text()
    assert Path(f"/proc/{router}/net/if_inet6").read_text() == ""


def test_loopback_cannot_be_allowed(world):
    process = world.python(world.host, DRIVER, "", "127.0.0.1:5432")
    _, errors = process.communicate(timeout=30)
    assert b"a function's loopback is its own" in errors


def descendants(pid):
    done = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = {int(child): int(parent) for child, parent in map(str.split, done.stdout.splitlines())}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def alive(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_everything_ends_with_the_supervisor(world):
    driver = Driver(world)
    pids = descendants(driver.router)
    assert len(pids) == 3, "its parent, the router, pasta"
    driver.process.kill()
    driver.process.communicate()
    deadline = time.monotonic() + 20
    while alive(pids):
        assert time.monotonic() < deadline
        os.sched_yield()


ORDINARY = """
import asyncio, subprocess, sys
from runtime.pool.network import pasta

async def main():
    egress = pasta.Egress(ready=0)
    future = asyncio.get_running_loop().create_future()
    egress.take(future.set_result)
    fds = (egress.user_namespace, await future)
    join = ["nsenter", f"--user=/proc/self/fd/{fds[0]}", "--preserve-credentials", "nsenter", f"--net=/proc/self/fd/{fds[1]}"]
    program = sys.argv[1].replace("os.setgroups([])", "").replace("os.setres", "(lambda *_: 0)#")
    command = [*join, sys.executable, "-I", "-S", "-c", program, "0", sys.argv[2]]
    print(subprocess.run(command, pass_fds=fds, stdout=subprocess.PIPE, check=True).stdout.decode(), flush=True)
    egress.close()

asyncio.run(main())
"""


def version_of(python):
    done = subprocess.run([python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, check=False)
    return done.stdout.decode().strip()


@pytest.mark.skipif(
    not Path(SYSTEM_PYTHON).exists() or version_of(SYSTEM_PYTHON) != str(sys.version_info[:2]),
    reason="no interpreter for other users",
)
def test_an_ordinary_user_has_it_too(world):
    # Device nodes as udev would make them, in a view of the file system that nobody else sees.
    script = (
        "mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && "
        'exec setpriv --reuid 1000 --regid 1000 --clear-groups "$@"'
    )
    targets = [("tcp", PUBLIC, PORT), ("tcp", "10.9.9.9", PORT), ("tcp", network_world.HOST_4, PORT)]
    command = ["sh", "-c", script, "sh", SYSTEM_PYTHON, "-c", ORDINARY, network_world.ATTEMPT, json.dumps(targets)]
    done = subprocess.run(
        ["unshare", "-m", *world.command(world.host, *command)],
        env={
            "PATH": SEARCH,
            "PYTHONPATH": f"{Path.cwd()}:{sysconfig.get_paths()['purelib']}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["reached", "ECONNREFUSED", "ECONNREFUSED"]
