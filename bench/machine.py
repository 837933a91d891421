"""What a result was measured on: machine, kernel, versions, load."""

import datetime as dt
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import msgspec

BUSY_ABOVE = 1.5
"""A run that starts at a higher load average shared the machine with others, and is marked."""

_PACKAGES = ("hotfork", "uvloop", "httptools", "msgpack")


class Environment(msgspec.Struct, frozen=True):
    """Where and when."""

    machine: str
    cpu: str
    cores: int
    memory_mb: int
    kernel: str
    python: str
    versions: dict[str, str]
    commit: str
    """Of the source tree, with "+" where files differ from it; "" outside of one."""
    date: str
    """UTC, ISO 8601."""
    load_average: float
    """Over the last minute, at the start."""
    busy: bool
    """Whether the machine was busy with something else."""


def environment() -> Environment:
    """Return what can be known."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^(?:model name|Hardware|CPU part)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    load = os.getloadavg()[0]
    return Environment(
        machine=platform.machine() + (", virtual" if "hypervisor" in cpuinfo else ""),
        cpu=model.group(1) if model else "unknown",
        cores=len(os.sched_getaffinity(0)),
        memory_mb=memory_mb(),
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions={name: _version(name) for name in _PACKAGES},
        commit=_commit(),
        date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        load_average=round(load, 2),
        busy=load > BUSY_ABOVE,
    )


def memory_mb() -> int:
    """Return how much memory the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20


def runtime_name() -> str:
    """Return the Lambda runtime that stands for the interpreter we run on."""
    return f"python3.{sys.version_info.minor}"


def base_python() -> str:
    """Return the interpreter that we run on, outside of any virtual environment."""
    return os.path.realpath(sys.executable)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    here = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", here, *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
