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
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import runtime
from runtime import errors

UNPACKED_LIMIT = 262_144_000
"""Bytes of a function's files with its layers: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""

_log = logging.getLogger(__name__)
KEEP_S = 60.0
"""How long a process is kept for the next zip."""
_REPLACE_AFTER_S = 0.1
"""To start it holds up the event loop for some milliseconds: not those of the upload, and of the call that follows."""
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
    process = await _start()
    try:
        return await _run(process, zip_path, destination, limit)
    finally:
        await _bury(process)


class Unpacker:
    """Unpacks as ``unpack`` does, but keeps a process ready for the next zip: to start one takes half of the time.

    Where nothing was unpacked for a minute, none is kept. Use from one event loop.
    """

    def __init__(self, spawn_task: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """``spawn_task`` runs a coroutine that never raises as a task with a parent."""
        self._spawn_task = spawn_task
        self._spare: asyncio.subprocess.Process | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def unpack(self, zip_path: Path, destination: Path, limit: int) -> int:
        """Unpack a zip; see ``unpack``."""
        process, self._spare = self._spare, None
        if process is None or process.returncode is not None:
            process = await _start()
        try:
            return await _run(process, zip_path, destination, limit)
        finally:
            # Its namespaces take the kernel three times as long as the zip took us.
            self._spawn_task(_bury(process))
            self._spawn_task(self._keep())

    def close(self) -> None:
        """Let go of the process that is kept."""
        if self._timer is not None:
            self._timer.cancel()
        if self._spare is not None and self._spare.returncode is None:
            self._spare.kill()
        self._spare = None

    async def _keep(self) -> None:
        await asyncio.sleep(_REPLACE_AFTER_S)
        if self._spare is None:
            try:
                process = await _start()
            except OSError:
                return  # the next who needs one will hear why
            if self._spare is None:
                self._spare = process
            else:
                process.kill()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(KEEP_S, self.close)


async def _start() -> asyncio.subprocess.Process:
    """Start a process that waits for an order."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _BOOT, _ROOT),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )


async def _run(process: asyncio.subprocess.Process, zip_path: Path, destination: Path, limit: int) -> int:
    """Have a process that waits unpack a zip; it is killed with that, and still to be buried."""
    assert process.stdin is not None
    assert process.stdout is not None
    answer = b""
    try:
        if not zip_path.stat().st_size:  # noqa: ASYNC240 - takes no time
            raise errors.InvalidParameterValue(_EMPTY)
        async with asyncio.timeout(_TIMEOUT_S):
            process.stdin.write(b"\0".join(os.fsencode(str(each)) for each in (zip_path, destination, limit)) + b"\n")
            process.stdin.close()
            answer = await _answer(process)
    except (TimeoutError, ConnectionError):
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return _judge(answer)


async def _bury(process: asyncio.subprocess.Process) -> None:
    """Wait until a killed process is gone."""
    assert process.stdout is not None
    # To the end of the pipe: asyncio waits for that as well, and would wait for ever where it had paused reading.
    while await process.stdout.read(_ANSWER_LIMIT):
        pass
    await process.wait()


async def _answer(process: asyncio.subprocess.Process) -> bytes:
    """Return the line that it says, as far as it comes."""
    assert process.stdout is not None
    answer = bytearray()
    while not answer.endswith(b"\n") and len(answer) <= _ANSWER_LIMIT:
        piece = await process.stdout.read(_ANSWER_LIMIT)
        if not piece:
            break
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
