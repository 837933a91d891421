"""Who serves is woken sooner than who starts."""

import os

import psutil
import pytest
from conftest import Server, create
from test_kill import zygotes

from runtime.pool import time_slice

KERNEL = tuple(int(part) for part in os.uname().release.split(".")[:2])


@pytest.mark.skipif(KERNEL < (6, 12), reason="before Linux 6.12 every process has the same time slice")
def test_the_server_and_workers_that_serve_have_short_slices_and_who_makes_workers_has_not(tmp_path):
    own = Server(tmp_path / "state", env={"HOTFORK_POOL_BLANKS": "0"}).start()
    client = own.client()
    create(client, "f", "def handler(event, context):\n    return 1")
    client.invoke(FunctionName="f")
    (zygote,) = zygotes(own.process.pid)
    below = [one for one in zygote.children(recursive=True) if not one.children()]
    slices = {one.pid: time_slice.of(one.pid) for one in below}
    assert list(slices.values()).count(time_slice.SLICE_NS) == 1, slices
    assert time_slice.of(own.process.pid) == time_slice.SLICE_NS
    assert time_slice.of(zygote.pid) > time_slice.SLICE_NS
    others = {thread.id for thread in psutil.Process(own.process.pid).threads()} - {own.process.pid}
    assert all(time_slice.of(one) > time_slice.SLICE_NS for one in others)
    own.stop()
