"""Where this process's cgroups are, and whose the groups beside ours are.

Pure parsing of /proc/self/cgroup and /proc/self/mountinfo (cgroups(7), proc(5)), and the names of parents.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path

from runtime.pool import instance

UNIFIED = ""
"""Key of cgroup v2 among the hierarchies."""

SUPERVISOR = "-supervisor"
"""Behind a parent's name: of the v1 group that the supervisor itself is in; see ``precedence``."""

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
        return instance.name(self.proc)

    def orphan(self, name: str) -> bool:
        """Return whether a directory is the parent of a supervisor that is dead."""
        return instance.orphan(name, self.proc)


def read(root: Path = Path("/")) -> Place:
    """Return where this process was started; hierarchies that we cannot see are left out."""
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
            if _is_supervisors(directory.name):  # we were moved into it, or started by who was
                directory = directory.parent
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


def _is_supervisors(name: str) -> bool:
    return name.endswith(SUPERVISOR) and instance.is_name(name.removesuffix(SUPERVISOR))


def _below(path: str, top: str) -> bool:
    return top in ("/", path) or path.startswith(top + "/")


def _unescape(field: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)
