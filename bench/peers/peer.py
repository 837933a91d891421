"""A peer that serves HTTP: how it is installed, started and asked."""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench import client, machine, plan, procfs

START_TIMEOUT_S = 90.0
HELLO = plan.Call(path="/", body="{}", contains='"ok"')


class NotInstalled(Exception):
    """The peer is not in the cache; says how to get it there."""


class Unwilling(Exception):
    """The peer did not start, or does not answer."""


def cache() -> Path:
    """Return the folder in which peers are installed."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "hotfork-bench"


@dataclasses.dataclass(frozen=True, slots=True)
class Started:
    """How to start a peer: in a folder, with arguments and variables added to the environment."""

    arguments: list[str]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server that runs the same function."""

    name: str
    note: str
    """Its settings here, and what it does less."""
    command: Callable[[Path, Path, int], Started]
    """From its installation, a folder of its own and a port."""
    python: tuple[str, ...] = ()
    """What to install from PyPI."""
    node: tuple[str, ...] = ()
    """What to install from npm."""
    call: plan.Call = HELLO
    create: Callable[[client.Client, str], None] | None = None
    """Makes the hello function under a name, where the peer has the Lambda API; the call above is to "hello"."""

    @property
    def home(self) -> Path:
        """Where it is installed."""
        return cache() / self.name

    def install(self, say: Callable[[str], None]) -> None:
        """Install it, unless just this is installed; raise CalledProcessError where that fails."""
        wanted = "\n".join((*self.python, *self.node))
        mark = self.home / "installed"
        if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
            return
        say(f"installing {self.name}")
        self.home.mkdir(parents=True, exist_ok=True)
        install(self.home, self.python, self.node)
        mark.write_text(wanted, encoding="utf-8")

    def demand(self) -> None:
        """Raise NotInstalled where it is not installed."""
        if not (self.home / "installed").exists():
            raise NotInstalled(f"{self.name} is not installed: --peers installs it into {self.home}")


def install(home: Path, python: tuple[str, ...], node: tuple[str, ...] = ()) -> None:
    """Install packages into a folder: from PyPI into a virtual environment, from npm beside it."""
    if python:
        # The interpreter that we run on, so that all peers run on the same.
        _run([machine.base_python(), "-m", "venv", str(home / "venv")])
        _run([str(home / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *python])
    if node:
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(home), *node])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=900)


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """A peer that serves."""

    host: str
    port: int
    pid: int | None
    call: plan.Call
    create: Callable[[client.Client, str], None] | None = None

    def memory(self) -> int | None:
        """Return the PSS of all its processes."""
        if self.pid is None:
            return None
        return sum(procfs.pss(pid) or 0 for pid in procfs.below([self.pid], procfs.children()))

    def cpu_s(self) -> float | None:
        """Return the CPU time that all its processes have taken so far."""
        return None if self.pid is None else procfs.tree_cpu(self.pid)


@contextlib.contextmanager
def running(peer: Peer) -> Iterator[Running]:
    """Start a peer and wait until it answers its call; end it with the block. Raises NotInstalled or Unwilling."""
    peer.demand()
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="hotfork-bench-") as name:
        folder = Path(name)
        started = peer.command(peer.home, folder, port)
        with (folder / "output").open("wb") as sink:
            process = subprocess.Popen(
                started.arguments,
                cwd=folder,
                env={**os.environ, **started.environment},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _until_it_answers(peer, port, process, folder / "output")
            yield Running("127.0.0.1", port, process.pid, peer.call, peer.create)
        finally:
            _end(process)


def started(
    peer: Peer, stack: contextlib.ExitStack, notes: list[str], say: Callable[[str], None], *, may_install: bool
) -> Running | None:
    """Start a peer until the stack ends; where it cannot be, note why and return None."""
    try:
        if may_install:
            peer.install(say)
        say(f"starting {peer.name}")
        found = stack.enter_context(running(peer))
    except (NotInstalled, Unwilling, subprocess.CalledProcessError, OSError) as error:
        notes.append(f"Left out: {error}")
        return None
    notes.append(f"{peer.name}: {peer.note}")
    return found


def _until_it_answers(peer: Peer, port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    created = peer.create is None
    answer: object = "nothing"
    with contextlib.closing(client.Client("127.0.0.1", port)) as api:
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, client.Refused):
                if not created and peer.create is not None:
                    peer.create(api, "hello")
                    created = True
                answer = api.raw(peer.call.method, peer.call.path, peer.call.body.encode(), peer.call.headers)
                if answer[0] == 200 and b'"ok"' in answer[1]:  # noqa: PLR2004
                    return
            time.sleep(0.1)
    said = output.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    raise Unwilling(f"{peer.name} did not answer as it should ({answer!r}):\n{said}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a peer and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
        return port
