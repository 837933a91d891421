"""Process pools as peers of our dispatch: a call of the same function in another process, and its result back."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench import histogram
from bench.peers import peer

_PROGRAM = """
import os, sys, time
sys.path.insert(0, sys.argv[2])
import handler
{imports}
clock = time.perf_counter_ns


def warm(count):
    with {pool} as pool:
        for _ in range(100):
            {call}
        taken = []
        for _ in range(count):
            began = clock()
            {call}
            taken.append(clock() - began)
    return taken


def cold(count):
    taken = []
    for _ in range(count):
        began = clock()
        with {pool} as pool:
            {call}
            taken.append(clock() - began)
    return taken


if __name__ == "__main__":
    before = sum(os.times()[:4])
    taken = {what}(int(sys.argv[1]))
    print(sum(os.times()[:4]) - before, *taken)
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Pool:
    """A process pool, called with one call at a time."""

    name: str
    note: str
    python: tuple[str, ...]
    imports: str
    pool: str
    """With "{workers}" for their number."""
    call: str

    def home(self) -> Path:
        """Return where it is installed."""
        return peer.cache() / self.name

    def install(self, say: Callable[[str], None]) -> None:
        """Install it, if it is not part of Python."""
        mark = self.home() / "installed"
        wanted = "\n".join(self.python)
        if not self.python or (mark.exists() and mark.read_text(encoding="utf-8") == wanted):
            return
        say(f"installing {self.name}")
        self.home().mkdir(parents=True, exist_ok=True)
        peer.install(self.home(), self.python)
        mark.write_text(wanted, encoding="utf-8")

    def measure(self, folder: Path, count: int) -> histogram.Histogram:
        """Return the round trips of ``count`` calls of the handler in a folder; raise NotInstalled or Unwilling."""
        return self._run(folder, count, "warm", 2)[1]

    def measure_cold(self, folder: Path, count: int) -> tuple[float, histogram.Histogram]:
        """Return what the first call of a new pool of one worker takes, ``count`` times: CPU time in all, and each."""
        return self._run(folder, count, "cold", 1)

    def _run(self, folder: Path, count: int, what: str, workers: int) -> tuple[float, histogram.Histogram]:
        python = Path(sys.executable)
        if self.python:
            if not (self.home() / "installed").exists():
                raise peer.NotInstalled(f"{self.name} is not installed: --peers installs it into {self.home()}")
            python = self.home() / "venv/bin/python"
        program = folder / f"measure_{self.name}.py"
        pool = self.pool.format(workers=workers)
        text = _PROGRAM.format(imports=self.imports, pool=pool, call=self.call, what=what)
        program.write_text(text, encoding="utf-8")
        ended = subprocess.run(
            [python, program, str(count), folder], capture_output=True, text=True, check=False, timeout=120
        )
        if ended.returncode:
            raise peer.Unwilling(f"{self.name}: {ended.stderr.strip()[-2000:]}")
        cpu_s, *taken = ended.stdout.split()
        return float(cpu_s), histogram.of(map(int, taken))


EXECUTOR = Pool(
    name="ProcessPoolExecutor",
    note="Of Python itself, fork, two workers (cold: one). Pickles; no limits, no isolation, a crash ends the pool.",
    python=(),
    imports="import multiprocessing\nfrom concurrent.futures import ProcessPoolExecutor",
    pool='ProcessPoolExecutor({workers}, mp_context=multiprocessing.get_context("fork"))',
    call="pool.submit(handler.handler, {}, None).result()",
)
ALL: tuple[Pool, ...] = (
    EXECUTOR,
    Pool(
        name="loky",
        note="joblib's executor, two workers. Pickles; no limits, no isolation.",
        python=("loky==3.7.0",),
        imports="import loky",
        pool="loky.get_reusable_executor({workers})",
        call="pool.submit(handler.handler, {}, None).result()",
    ),
    Pool(
        name="pebble",
        note="Pool with timeouts that kill the worker, two workers. Pickles; no memory limit, no isolation.",
        python=("Pebble==5.2.3",),
        imports="import multiprocessing\nimport pebble",
        pool='pebble.ProcessPool({workers}, context=multiprocessing.get_context("fork"))',
        call="pool.schedule(handler.handler, args=({}, None), timeout=3).result()",
    ),
)
