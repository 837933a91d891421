"""The unpacker's process: what becomes of its answers, and of none."""

import sys

import pytest

from runtime import errors
from runtime.registry import unpacking

BAD = "Could not unzip uploaded file. Please check your file, then try to upload again."


@pytest.fixture
def unpack(tmp_path, monkeypatch):
    async def run(script):
        monkeypatch.setattr(unpacking, "_BOOT", script)
        (tmp_path / "zip").write_bytes(b"zip")
        (tmp_path / "root").mkdir()
        return await unpacking.unpack(tmp_path / "zip", tmp_path / "root", 1000)

    return run


async def test_a_true_answer(unpack):
    assert await unpack("import sys; assert sys.stdin.read() == 'zip'; print('{\"total_bytes\": 7}')") == 7


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
