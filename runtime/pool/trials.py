"""The trials behind the report on isolation: each does, in a process that is thrown away, what the sandbox will do."""

import errno
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime import errors
from runtime.pool import cgroups, diagnosis, loop_image

_PROGRAM = """\
import sys
sys.path += sys.argv[1].split(":")
from runtime.worker import probe
probe.main(sys.argv[2:])
"""
_EGRESS = """\
import asyncio, sys
sys.path += sys.argv[1].split(":")
from runtime import errors
from runtime.pool import kernel
from runtime.pool.network import netlink, nftables, pasta

async def by_router():
    pasta.Egress(ready=0).close()

def by_rules():
    # In a network of its own, so that the host's rules are left alone.
    kernel.unshare(kernel.CLONE_NEWNET)
    netlink.Netlink().ask(netlink.raise_link(netlink.LOOPBACK))
    nftables.Egress(range(int(sys.argv[2]), int(sys.argv[2]) + 1)).close()

try:
    asyncio.run(by_router())
except errors.IsolationError as error:
    if sys.argv[3] != "root":
        sys.exit(error.message)
    try:
        by_rules()
    except errors.IsolationError as error:
        sys.exit(error.message)
"""
_TIMEOUT_S = 30.0


def worker(mode: str, uid: int, facts: diagnosis.Facts) -> dict[str, diagnosis.Control]:
    """Return the controls that a worker of a mode engages by itself."""
    done = _run(_PROGRAM, mode, str(uid))
    try:
        results: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise errors.IsolationError(f"the probe of mode {mode} failed: {last}") from None
    controls: dict[str, diagnosis.Control] = {}
    for name, failure in results.items():
        if name == "user" and mode == "root":
            continue  # not needed
        why, cure = diagnosis.explain(name, mode, failure[0], failure[1], facts) if failure else ("", "")
        controls[name] = diagnosis.Control(name=name, engaged=failure is None, why=why, cure=cure)
    return controls


def groups() -> tuple[str, list[diagnosis.Control]]:
    """Return the kind of cgroups there are, and what they control, after a process went through one."""
    backend = cgroups.open_backend()
    try:
        found = dict(backend.controls)
        group = backend.acquire(cgroups.Limits(memory_bytes=1 << 26, pids=64, cpu_share=1.0))
        try:
            program = "import os, sys; [os.write(int(fd), b'0') for fd in sys.argv[1:]]"
            command = [sys.executable, "-I", "-S", "-c", program, *map(str, group.join_fds)]
            done = subprocess.run(  # noqa: S603 - our own interpreter
                command, pass_fds=group.join_fds, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
            )
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                found = dict.fromkeys(found, cgroups.Control(engaged=False, why=f"a process cannot join: {last}"))
        finally:
            backend.release(group)
    finally:
        backend.close()
    controls = [
        diagnosis.Control(name=f"cgroup_{name}", engaged=one.engaged, why=one.why, cure=one.cure)
        for name, one in found.items()
        if name != "kill"  # where a group cannot be killed as a whole, the pid namespace can
    ]
    memory = found["memory"]
    whole = diagnosis.Control(name="cgroup", engaged=memory.engaged, why=memory.why, cure=memory.cure)
    return backend.kind if memory.engaged else "none", [whole, *controls]


def scratch(folder: Path | None, facts: diagnosis.Facts) -> diagnosis.Control:
    """Return whether /tmp can be on disk."""
    named = functools.partial(diagnosis.Control, name="scratch")
    if not facts.root:
        why = "a file system in a file needs root: /tmp is memory, and charged to the function"
        return named(engaged=False, why=why, cure="run it as root")
    try:
        loops = loop_image.Loops()
        try:
            target = folder or Path(tempfile.gettempdir())
            loop_image.destroy(loop_image.make(loops, target, loop_image.template(loops, target, 16)))
        finally:
            loops.close()
    except OSError as error:
        if error.errno == errno.ENOENT and "mkfs" in str(error):
            return named(engaged=False, why="mkfs.ext4 is not installed", cure="install e2fsprogs")
        why = f"no loop device can be had, so /tmp is memory: {error.strerror or error}"
        return named(engaged=False, why=why, cure="give the container --privileged, or /dev with its loop devices")
    return named(engaged=True)


def egress(uid: int, facts: diagnosis.Facts) -> diagnosis.Control:
    """Return whether functions can be given the Internet and nothing nearer."""
    named = functools.partial(diagnosis.Control, name="egress")
    done = _run(_EGRESS, str(uid), "root" if facts.root else "user")
    if done.returncode:
        why, _, cure = (done.stderr.strip().splitlines() or ["no reason given"])[-1].partition("; ")
        return named(engaged=False, why=why, cure=cure)
    return named(engaged=True)


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of ours in a process that is thrown away."""
    library = ":".join(path for path in sys.path if path and os.path.isdir(path))  # noqa: PTH112 - one call
    here = str(Path(__file__).parent.parent.parent)
    return subprocess.run(  # noqa: S603 - our own interpreter
        [os.path.realpath(sys.executable), "-I", "-S", "-c", program, f"{here}:{library}", *arguments],
        env={"PATH": os.environ.get("PATH") or os.defpath},  # where the server itself looks for tools
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
