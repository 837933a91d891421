"""Runs the load generator as a process of its own."""

import subprocess
import sys
from types import TracebackType
from typing import Self

import msgspec

from bench import plan


class LoadFailed(Exception):
    """The generator could not run: no server, or a plan that makes no sense."""


class Running:
    """A load under way; as a context it is ended with the block, however that ends."""

    def __init__(self, load: plan.Plan) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            pipe.write(msgspec.json.encode(load))
        self._process.stdin = None

    def wait(self) -> plan.Result:
        """Wait for the end of the load and return its result; raise LoadFailed where it has none."""
        out, err = self._process.communicate()
        if self._process.returncode:
            raise LoadFailed(err.decode(errors="replace").strip() or f"status {self._process.returncode}")
        return msgspec.json.decode(out, type=plan.Result)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def run(load: plan.Plan) -> plan.Result:
    """Run a load and return its result; raise LoadFailed where it has none."""
    with Running(load) as running:
        return running.wait()
