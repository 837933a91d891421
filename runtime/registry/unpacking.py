"""Runs the unpacker in a process of its own, because the zip is a stranger's.

The process knows only the zip (its standard input) and the folder, and confines itself to them before it looks at the
zip (see ``runtime/worker/cell.py``). Its answer is one line of JSON, read with a bound, and checked.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from pathlib import Path

import runtime
from runtime import errors

UNPACKED_LIMIT = 262_144_000
"""Bytes of a function's files with its layers: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""

_log = logging.getLogger(__name__)
_TIMEOUT_S = 120.0
_ANSWER_LIMIT = 4096
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from runtime.worker import unpack; "
    "sys.exit(unpack.main(sys.argv[1:]))"
)
_EMPTY = "Uploaded file must be a non-empty zip"
_ROOT = str(Path(runtime.__file__).parent.parent)


async def unpack(zip_path: Path, destination: Path, limit: int) -> int:
    """Unpack a zip into an empty folder and return the bytes that came out.

    Raises InvalidParameterValue, with AWS's words, for a zip that is empty, broken, hostile or larger than ``limit``.
    """
    with zip_path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise errors.InvalidParameterValue(_EMPTY)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _BOOT, _ROOT, str(destination), str(limit)),
            stdin=file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            answer = await _answer(process)
    except TimeoutError:
        answer = b""
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # To the end of the pipe: asyncio waits for that as well, and would wait for ever where it had paused reading.
        while await process.stdout.read(_ANSWER_LIMIT):
            pass
        await process.wait()
    return _judge(answer)


async def _answer(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    answer = bytearray()
    while len(answer) <= _ANSWER_LIMIT and (piece := await process.stdout.read(_ANSWER_LIMIT)):
        answer += piece
    return bytes(answer)


def _judge(answer: bytes) -> int:
    try:
        result = json.loads(answer) if len(answer) <= _ANSWER_LIMIT else {}
    except ValueError:
        result = {}
    if isinstance(result, dict):
        if result.get("error") == "cell":
            _log.error("zips cannot be unpacked, because the unpacker cannot confine itself: %r", result.get("detail"))
            raise errors.ServiceFault
        if result.get("error") == "large":
            raise errors.InvalidParameterValue(f"Unzipped size must be smaller than {UNPACKED_LIMIT} bytes")
        total = result.get("total_bytes")
        if result.get("entries") == 0:
            raise errors.InvalidParameterValue(_EMPTY)
        if type(total) is int and 0 <= total <= UNPACKED_LIMIT:
            return total
    raise errors.InvalidParameterValue(
        "Could not unzip uploaded file. Please check your file, then try to upload again."
    )
