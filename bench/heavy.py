"""A function with heavy imports (numpy, pandas, boto3), and its snapshot. The packages come from PyPI, and are kept."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from bench import client, harness, machine, plan

PACKAGES = ("numpy", "pandas")
"""boto3 is the runtime's own."""
HANDLER = client.BENCH_FUNCTIONS / "heavy.py"
ANSWER = '{"sum": 28}'
_LEFT_OUT = {"tests", "bin"}
_WAIT_S = 120.0


def files(say: Callable[[str], None]) -> dict[str, str | bytes]:
    """Return the function's files; raise NotReady where the packages cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hotfork-bench"
    folder = cache / f"heavy-{machine.runtime_name()}"
    if not folder.is_dir():
        say("installing numpy and pandas")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as making:
            _install(Path(making) / "packages")
            (Path(making) / "packages").rename(folder)
    found: dict[str, str | bytes] = {"handler.py": HANDLER.read_bytes()}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not path.name.endswith(".pyi") and not _LEFT_OUT.intersection(name.parts[:-1]):
            found[str(name)] = path.read_bytes()
    return found


def _install(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(folder), *PACKAGES]
    # Byte code that is good whatever time the files have: functions cannot write their own.
    compile_ = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)]
    for command in (pip, compile_):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and command is pip:
            raise harness.NotReady(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    for tests in [path for path in folder.rglob("tests") if path.is_dir()]:
        shutil.rmtree(tests, ignore_errors=True)


def publish(server: harness.Server, name: str, code: dict[str, str | bytes], **configuration: object) -> str:
    """Create a function with SnapStart, publish a version, wait for its snapshot, and return the version."""
    server.create(name, code, SnapStart={"ApplyOn": "PublishedVersions"}, **configuration)
    version = server.api.call("POST", f"{client.FUNCTIONS}/{name}/versions", {})["Version"]
    deadline = time.monotonic() + _WAIT_S
    while True:
        path = f"/_hotfork/starts/{urllib.parse.quote(f'{name}:{version}', safe='')}"
        said = server.api.call("GET", path)["Snapshot"]
        if said == "ready":
            return str(version)
        if said.startswith("refused") or time.monotonic() > deadline:
            raise harness.NotReady(f"{name} has no snapshot: {said}")
        time.sleep(0.05)


def call(name: str, version: str | None, *, body: str = "{}") -> plan.Call:
    """Return the call of a version."""
    path = client.invoke_path(name) + (f"?Qualifier={version}" if version else "")
    return plan.Call(path=path, body=body, equals=ANSWER)
