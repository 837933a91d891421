"""``hotfork dev``: how soon after a change of a file the new code answers."""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import client, harness, histogram, machine, result, setting

CHANGES = 40
"""In each run."""
NAME = "dev"
PAUSE_S = 0.25
"""Between an answer of the new code and the next change: an editor is not faster."""
LOOK_S = 0.002
"""Between two calls, while the new code is waited for."""
TIMEOUT_S = 30.0
_HANDLER = "def handler(event, context):\n    return {}\n"


def run(given: setting.Setting) -> result.Result:
    """Change a file under hotfork dev: from there to the first answer of the new code."""
    given.demand_own_server("it deploys to it")
    environment = machine.environment()
    count = given.count or CHANGES
    with given.server() as server, tempfile.TemporaryDirectory(prefix="hotfork-bench-dev-") as folder:
        file = Path(folder) / "handler.py"
        file.write_text(_HANDLER.format(0), encoding="utf-8")
        switches, failed = [], []
        with _dev(server, file.parent):
            _until(lambda: _answer(server) == b"0")
            for turn in given.turns():
                given.say(f"run {turn + 1} of {given.repeat}")
                switch, wrong = _changes(server, file, range(turn * count + 1, (turn + 1) * count + 1))
                switches.append(switch)
                failed.append(wrong)
        return given.result(
            "dev",
            "A change under hotfork dev",
            server,
            environment,
            measures=[
                result.Distribution(name="dev.switch", title="from a change to the new code's answer", runs=switches),
                result.Scalar(
                    name="dev.failed",
                    title="calls meanwhile that neither code answered",
                    unit="",
                    values=failed,
                    better="lower",
                ),
            ],
            plots=[result.Latency(title="Latency by percentile", measures=["dev.switch"])],
            notes=[
                f"One small file, changed {PAUSE_S} s after the last change was answered; from when it was written.",
                f"The function is called again {LOOK_S * 1000:.0f} ms after each answer of the old code.",
            ],
        )


@contextlib.contextmanager
def _dev(server: harness.Server, folder: Path) -> Iterator[None]:
    url = f"http://{server.host}:{server.port}"
    process = subprocess.Popen(
        [*harness.command(), "dev", str(folder), "--name", NAME, "--url", url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _changes(server: harness.Server, file: Path, numbers: range) -> tuple[histogram.Histogram, float]:
    """Change the file so many times; return how long each took to be answered, and how many calls went wrong."""
    taken, wrong = histogram.Recorder(), 0
    for number in numbers:
        time.sleep(PAUSE_S)
        file.write_text(_HANDLER.format(number), encoding="utf-8")
        began = time.monotonic_ns()
        new, old = b"%d" % number, b"%d" % (number - 1)
        end = time.monotonic() + TIMEOUT_S
        while (answer := _answer(server)) != new:
            wrong += answer != old
            if time.monotonic() > end:
                raise TimeoutError(f"change {number} was not answered within {TIMEOUT_S:.0f} s")
            time.sleep(LOOK_S)
        taken.record(time.monotonic_ns() - began)
    return taken.finish(), float(wrong)


def _answer(server: harness.Server) -> bytes:
    return server.api.raw("POST", client.invoke_path(NAME), b"{}")[1]


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("hotfork dev did not deploy the folder")
        time.sleep(LOOK_S)
