"""How much memory of its own an idle worker has, in each interpreter that is here."""

from pathlib import Path

import pytest
import sandbox_rig
from test_zygote import OTHERS

from runtime import wire

MOST_KB = {(3, 11): 2600}
"""Of a worker after one call; see docs/architecture.md. Before Python 3.12 every object that is used is written."""
MOST_KB_SINCE = 1150
EMPTY = wire.Invoke("request", 1 << 42, "arn", None, None, None, None, False, b'{"source": ""}')


def version_of(pid):
    return tuple(map(int, Path(f"/proc/{pid}/exe").readlink().name.removeprefix("python").split(".")))


def private_kb(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


@pytest.mark.skipif(not sandbox_rig.ROOT, reason="needs root to look at a worker")
@pytest.mark.parametrize("python", ["", *OTHERS])
async def test_an_idle_worker_has_few_pages_of_its_own(python, tmp_path):
    async with sandbox_rig.rig(sandbox_rig.public(), "root", python=python) as rig:
        worker = await rig.worker()
        worker.send(EMPTY)
        answer = await worker.receive()
        assert type(answer) is wire.Response
        pid = sandbox_rig.pid_of(await worker.listener.pidfd)
        assert private_kb(pid) < MOST_KB.get(version_of(pid), MOST_KB_SINCE)
