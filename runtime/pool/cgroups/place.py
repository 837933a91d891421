"""Where this process's cgroups are, and whose the groups beside ours are.

Pure parsing of /proc/self/cgroup and /proc/self/mountinfo (cgroups(7), proc(5)), and the names of parents.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path

UNIFIED = ""
"""Key of cgroup v2 among the hierarchies."""

_NAME = re.compile(r"hotfork-(\d+)-(\d+)-(\d+)")
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Directories of the cgroups that this process is in: by v1 controller, and ``UNIFIED`` for v2."""

    own: Mapping[str, Path]
    mounts: Mapping[str, Path]
    """Where each hierarchy is mounted."""
    proc: Path

    def name(self) -> str:
        """Return the name of a parent for groups of this process."""
        pid = os.getpid()
        return f"hotfork-{pid}-{started(self.proc, pid)}-{_pid_namespace(self.proc)}"

    def orphan(self, name: str) -> bool:
        """Return whether a directory is the parent of a supervisor that is dead.

        Pids mean something only in their own pid namespace: a parent made in another one is never an orphan.
        """
        match = _NAME.fullmatch(name)
        if match is None or int(match[3]) != _pid_namespace(self.proc):
            return False
        return started(self.proc, int(match[1])) != int(match[2])


def read(root: Path = Path("/")) -> Place:
    """Return the place of this process; hierarchies that we cannot see are left out."""
    proc = root / "proc"
    paths = parse_cgroup((proc / "self/cgroup").read_text())
    own: dict[str, Path] = {}
    mounts: dict[str, Path] = {}
    for controllers, mount_root, mount in parse_mounts((proc / "self/mountinfo").read_text()):
        for controller in controllers:
            path = paths.get(controller)
            if path is None or controller in own:
                continue
            # In a container the mount may show only a part of the hierarchy, and our path is told from its top.
            inside = os.path.relpath(path, mount_root) if _below(path, mount_root) else path.lstrip("/")
            directory = root / mount.lstrip("/") / inside
            if directory.is_dir():
                own[controller] = directory
                mounts[controller] = root / mount.lstrip("/")
    return Place(own=own, mounts=mounts, proc=proc)


def parse_cgroup(text: str) -> dict[str, str]:
    """Return our path in each hierarchy, from /proc/self/cgroup."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def parse_mounts(text: str) -> list[tuple[list[str], str, str]]:
    """Return (controllers, root inside the hierarchy, mount point) of each cgroup mount, from mountinfo."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        fields = before.split(" ")
        controllers = [UNIFIED] if kind == "cgroup2" else options.split(",")
        found.append((controllers, _unescape(fields[3]), _unescape(fields[4])))
    return found


def started(proc: Path, pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None where there is none."""
    try:
        stat = (proc / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name of the program, in parentheses, may hold anything; field 22 counts from after it (proc(5)).
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def _pid_namespace(proc: Path) -> int:
    return (proc / "self/ns/pid").stat().st_ino


def _below(path: str, top: str) -> bool:
    return top in ("/", path) or path.startswith(top + "/")


def _unescape(field: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)
