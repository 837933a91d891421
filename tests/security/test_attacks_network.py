"""Reaching the host's network from a worker that has none."""

import contextlib
import os
import socket

import attacks
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONNECT = """
with socket.socket({family}, socket.SOCK_STREAM) as client:
    client.settimeout(5)
    client.connect({address!r})
    result = "connected"
"""


@contextlib.contextmanager
def listening(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind(address)
        server.listen()
        yield server.getsockname()


async def test_services_of_the_host_cannot_be_reached(rig):
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as address:
        attack = attacks.source(CONNECT.format(family="socket.AF_INET", address=address))
        assert "errno" in await (await rig.worker()).attempt(attack)
        control = await rig.worker(skip={"network": "the control of a test"})
        assert await control.run(attack) == "connected"


@pytest.mark.parametrize("address", [("169.254.169.254", 80), ("10.0.0.1", 80), ("192.168.0.1", 80), ("1.1.1.1", 443)])
async def test_there_is_no_way_out(rig, address):
    worker = await rig.worker()
    attack = attacks.source(CONNECT.format(family="socket.AF_INET", address=address))
    assert (await worker.attempt(attack))["errno"] == 101  # ENETUNREACH


async def test_another_workers_port_cannot_be_reached(rig):
    server = await rig.worker()
    port = await server.run(
        "import socket, threading\n"
        "s = socket.create_server(('0.0.0.0', 0))\n"
        "import builtins; builtins.kept = s\n"
        "result = s.getsockname()[1]"
    )
    worker = await rig.worker()
    answer = await worker.attempt(attacks.source(CONNECT.format(family="socket.AF_INET", address=("127.0.0.1", port))))
    assert "errno" in answer


async def test_its_own_loopback_works(rig):
    worker = await rig.worker()
    source = """
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname(), timeout=5):
            result = "connected"
    """
    assert await worker.run(attacks.source(source)) == "connected"


async def test_abstract_sockets_of_the_host_have_two_walls(rig):
    name = f"\0hotfork-test-{os.getpid()}"
    with listening(socket.AF_UNIX, name):
        attack = attacks.source(CONNECT.format(family="socket.AF_UNIX", address=name))
        assert (await (await rig.worker()).attempt(attack))["errno"] == 111
        # In the host's network namespace, Landlock still forbids it (from its ABI 6 on).
        walled = await (await rig.worker(skip={"network": "the control of a test"})).attempt(attack)
        assert walled["errno"] == 1
        control = await rig.worker(skip={"network": "the control of a test", "landlock": "the control of a test"})
        assert await control.run(attack) == "connected"


async def test_path_sockets_of_the_host_have_no_path(rig):
    path = str(rig.folder / "control.socket")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
    with listening(socket.AF_UNIX, path):
        attack = CONNECT.format(family="socket.AF_UNIX", address=path)
        assert (await (await rig.worker()).attempt(attacks.source(attack)))["errno"] == 2
        assert attacks.on_the_host(attack)["result"] == "connected"
