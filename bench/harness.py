"""A server to measure: ``hotfork serve`` on a free port with a temporary state folder, or one that runs already."""

import atexit
import contextlib
import dataclasses
import functools
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import client, load, machine, metrics, plan, procfs

WORKERS_END_S = 60.0
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0


class NotReady(Exception):
    """The server did not come up."""


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A server under measurement."""

    host: str
    port: int
    pid: int | None
    """None where the server is not ours: then neither CPU time nor memory can be told."""
    confinement: str
    """What it says about its isolation."""
    start_s: float
    """From the command to the first 200 of /readyz."""
    api: client.Client

    def create(self, name: str, files: Mapping[str, str | bytes] | None = None, **configuration: Any) -> None:
        """Create a function: of these files, or the one of that name among bench/functions."""
        self.api.create(
            name, client.bench_function(name) if files is None else files, machine.runtime_name(), **configuration
        )

    def towards(self, calls: list[plan.Call], **changes: Any) -> plan.Plan:
        """Return a plan that leads here."""
        return plan.Plan(host=self.host, port=self.port, calls=calls, **changes)

    def run(self, calls: list[plan.Call], **changes: Any) -> plan.Result:
        """Run a load against this server."""
        return load.run(self.towards(calls, **changes))

    def cpu(self) -> procfs.FamilyCpu | None:
        """Return the CPU time taken so far."""
        return None if self.pid is None else procfs.family_cpu(self.pid)

    def family(self) -> procfs.Family | None:
        """Return the server's processes."""
        return None if self.pid is None else procfs.family(self.pid)

    def scrape(self) -> dict[metrics.Sample, float]:
        """Return the server's metrics."""
        _, page = self.api.raw("GET", "/metrics")
        return metrics.parse(page.decode())

    def await_end_of_workers(self, *, but: int = 0) -> None:
        """Wait until no more workers than these are left, blanks not counted; raise NotReady after a minute."""
        deadline = time.monotonic() + WORKERS_END_S
        while (left := sum(metrics.by(self.scrape(), "hotfork_workers", "state").values())) > but:
            if time.monotonic() > deadline:
                raise NotReady(f"{left:g} workers are left after {WORKERS_END_S:g} s")
            time.sleep(0.1)


@contextlib.contextmanager
def serve(isolation: str, settings: str = "", state_dir: Path | None = None) -> Iterator[Server]:
    """Start a server, and end it with the block. ``settings`` is the text of a configuration file.

    The state folder is a temporary one, unless one is given, which is left as it is. Raises NotReady.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hotfork-bench-")))
        # A worker's uid must be able to reach the code below it.
        folder.chmod(0o755)
        configuration = folder / "hotfork.toml"
        configuration.write_text(settings, encoding="utf-8")
        output = folder / "output"
        if state_dir is None:
            state_dir = folder / "state"
            state_dir.mkdir()
            (state_dir / "sdk").symlink_to(_sdk())
        began = time.monotonic()
        with output.open("wb") as sink:
            process = subprocess.Popen(
                [
                    *command(),
                    "serve",
                    *("--port", "0", "--config", configuration, "--isolation", isolation),
                    *("--state-dir", state_dir),
                ],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        stack.callback(_stop, process)
        host, port, confinement = _announced(process, output, began + START_TIMEOUT_S)
        api = client.Client(host, port)
        stack.callback(api.close)
        _until_ready(api, process, output, began + START_TIMEOUT_S)
        try:
            yield Server(host, port, process.pid, confinement, time.monotonic() - began, api)
        except (OSError, load.LoadFailed) as error:
            if process.poll() is None:
                raise
            raise NotReady(f"the server ended, status {process.returncode}:\n{_last(output)}") from error


@contextlib.contextmanager
def attach(url: str) -> Iterator[Server]:
    """Use a server that runs already."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise NotReady(f"{url!r} is not a URL such as http://127.0.0.1:3001")
    with contextlib.closing(client.Client(parts.hostname, parts.port or 80)) as api:
        yield Server(parts.hostname, parts.port or 80, None, f"as {url} has it", 0.0, api)


def command() -> list[str]:
    """Return the command line of hotfork, without arguments."""
    beside = Path(sys.executable).parent / "hotfork"
    found = str(beside) if beside.exists() else shutil.which("hotfork")
    return [found] if found else [sys.executable, "-c", "from runtime import cli; cli.main()"]


@functools.cache
def _sdk() -> Path:
    """Return the folder for the packages that Lambda offers to every function: one for all servers of this run.

    To copy some thousand files for each, and to delete them, is not what is measured; and it makes files slow to
    create for the next minute where the file system has no journal.
    """
    folder = Path(tempfile.mkdtemp(prefix="hotfork-bench-sdk-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    return folder


def _announced(process: subprocess.Popen[bytes], output: Path, deadline: float) -> tuple[str, int, str]:
    """Wait until the server says where it listens; return that, and the line behind it."""
    while True:
        text = output.read_text(encoding="utf-8", errors="replace")
        match = re.search(r"listens on http://([^:\s]+):(\d+)\n(.*)\n", text)
        if match:
            return match.group(1), int(match.group(2)), match.group(3)
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotReady(f"hotfork serve did not start:\n{text.strip()}")
        time.sleep(0.005)


def _until_ready(api: client.Client, process: subprocess.Popen[bytes], output: Path, deadline: float) -> None:
    while api.raw("GET", "/readyz")[0] != 200:  # noqa: PLR2004
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotReady(f"the server is not ready:\n{output.read_text(encoding='utf-8', errors='replace').strip()}")
        time.sleep(0.01)


def _last(output: Path) -> str:
    return output.read_text(encoding="utf-8", errors="replace").strip()[-2000:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
