"""The unpacker's process: what becomes of its answers, and of none."""

import asyncio
import sys

import pytest

from runtime import errors
from runtime.registry import unpacking

BAD = "Could not unzip uploaded file. Please check your file, then try to upload again."

PID = "import os, sys; sys.stdin.readline(); print('{\"total_bytes\": %d}' % os.getpid())"


@pytest.fixture
def unpack(tmp_path, monkeypatch):
    async def run(script):
        monkeypatch.setattr(unpacking, "_BOOT", script)
        (tmp_path / "zip").write_bytes(b"zip")
        (tmp_path / "root").mkdir()
        return await unpacking.unpack(tmp_path / "zip", tmp_path / "root", 1000)

    return run


async def test_a_true_answer(unpack):
    script = """
import sys
path, folder, limit = sys.stdin.readline().rstrip().split("\\0")
assert open(path).read() == "zip" and folder.endswith("/root") and limit == "1000"
print('{"total_bytes": 7}')
"""
    assert await unpack(script) == 7


async def test_the_next_process_is_started_ahead_and_ends_when_it_is_not_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_BOOT", PID)
    (tmp_path / "zip").write_bytes(b"zip")
    async with asyncio.TaskGroup() as tasks:
        unpacker = unpacking.Unpacker(tasks.create_task)
        first = await unpacker.unpack(tmp_path / "zip", tmp_path, 1000)
    spare = unpacker._spare
    assert spare.pid != first
    async with asyncio.TaskGroup() as tasks:
        unpacker._spawn_task = tasks.create_task
        assert await unpacker.unpack(tmp_path / "zip", tmp_path, 1000) == spare.pid
    last = unpacker._spare
    unpacker.close()
    assert await last.wait() < 0


@pytest.mark.parametrize(
    "script",
    [
        "",
        "import os; os.abort()",
        "print('no json')",
        "print([])",
        "print('{\"total_bytes\": -1}')",
        "print('{\"total_bytes\": true}')",
        "print('{\"total_bytes\": 262144001}')",
        'print(\'{"error": "bad"}\')',
        "while True: print('x' * 1000)",
    ],
)
async def test_no_answer_or_a_false_one(unpack, script):
    with pytest.raises(errors.InvalidParameterValue) as caught:
        await unpack(script)
    assert caught.value.message == BAD


async def test_an_answer_that_does_not_come(unpack, monkeypatch):
    monkeypatch.setattr(unpacking, "_TIMEOUT_S", 0.05)
    with pytest.raises(errors.InvalidParameterValue) as caught:
        await unpack("import time; time.sleep(1000)")
    assert caught.value.message == BAD


async def test_too_large(unpack):
    with pytest.raises(errors.InvalidParameterValue, match="Unzipped size must be smaller than 262144000 bytes"):
        await unpack('print(\'{"error": "large"}\')')


async def test_the_process_knows_nothing(unpack):
    total = await unpack(
        "import json, os; print(json.dumps({'total_bytes': len(os.environ) + len(os.listdir('/proc/self/fd')) - 1}))"
    )
    # Its three standard streams; LC_CTYPE is set by Python itself.
    assert total <= 3 + 1, sys.version
