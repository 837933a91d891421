"""Users and functions at one port: told apart by the uid of the socket at the other end, whatever they send."""

import asyncio
import os
import socket
import sys

import pytest

from runtime.api import server, walled
from runtime.pool.network import peers

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")]

UID = 1_950_000_100


class Wall:
    """A wall that listens, and who came through to which side."""

    def __init__(self, uids):
        self.came = []
        self.tasks = asyncio.TaskGroup()
        self.uids = uids

    async def __aenter__(self):
        await self.tasks.__aenter__()
        self.servers = [server.Server(self.side(name)) for name in ("users", "functions")]
        self.wall = walled.Walled(*self.servers, self.uids, self.tasks.create_task)
        self.port = self.wall.listen("127.0.0.1", 0)
        return self

    async def __aexit__(self, *raised):
        self.wall.close()
        for one in self.servers:
            await one.close()
        await self.tasks.__aexit__(*raised)

    def side(self, name):
        def answer(exchange):
            self.came.append(name)
            exchange.respond(200, [], name.encode())

        return answer

    async def ask(self, uid=0, *, stay=True):
        """Send a request from a process of a user; return what it was answered, or nothing where it did not stay."""
        program = f"""
import os, socket
os.setresuid({uid}, {uid}, {uid})
client = socket.socket()
client.connect(("127.0.0.1", {self.port}))
client.sendall(b"GET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n")
if {stay}:
    print(client.recv(1000).decode().rpartition("\\r\\n")[2], end="")
"""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", program, stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await child.communicate()
        assert child.returncode == 0
        return answer.decode()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def test_each_comes_to_its_side():
    async with Wall(range(UID, UID + 10)) as wall:
        assert await wall.ask() == "users"
        assert await wall.ask(UID - 1) == "users"
        assert await wall.ask(UID) == "functions"
        assert await wall.ask(UID + 9) == "functions"
        assert await wall.ask(UID + 10) == "users"


async def test_without_the_wall_a_function_is_a_user():
    async with Wall(range(0)) as wall:
        assert await wall.ask(UID) == "users"


async def test_who_is_gone_before_it_is_looked_at_is_no_user():
    async with Wall(range(UID, UID + 10)) as wall:
        hold = asyncio.get_running_loop()
        hold.remove_reader(wall.wall._doors._epoll.fileno())
        for uid in (0, UID):
            await wall.ask(uid, stay=False)
        wall.wall._doors._resume()
        # A connection that is closed may be lost before its request is read; none may come to the users' side.
        assert await wall.ask() == "users"
        await until(lambda: "users" in wall.came)
        assert wall.came.count("users") == 1


async def test_a_side_holds_so_many_connections_of_a_door():
    served = server.Server(lambda exchange: exchange.respond(204, [], b""))
    with socket.create_server(("127.0.0.1", 0)) as door:
        clients = []
        for _ in range(4):
            clients.append(socket.create_connection(door.getsockname(), 20))
            await served.adopt(door.accept()[0], door, 3)
        assert served.connections == 3
        assert clients[3].recv(1) == b"", "one too many is closed"
        clients[0].close()
        await until(lambda: served.connections == 2)
        clients.append(socket.create_connection(door.getsockname(), 20))
        await served.adopt(door.accept()[0], door, 3)
        assert served.connections == 3, "there is room again"
        for one in clients:
            one.close()
    await served.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_kernel_tells_whose_socket_it_is(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    asked = peers.Peers()
    with socket.create_server((host, 0), family=family) as listener:
        pid = os.fork()
        if not pid:
            os.setresuid(UID, UID, UID)
            with socket.create_connection(listener.getsockname()[:2]) as client:
                client.recv(1)
            os._exit(0)
        accepted, _ = listener.accept()
        with accepted:
            assert asked.uid(accepted) == UID
            accepted.sendall(b"x")
            os.waitpid(pid, 0)
            assert asked.uid(accepted) is None
    asked.close()
