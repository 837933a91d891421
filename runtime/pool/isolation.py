"""What this machine lets a sandbox do, as a report: probed by doing it in throw-away processes, then judged.

    report = isolation.probe("strong")     # raises IsolationError below level 3, with cause and cure
    report.mode                            # of the zygotes: "root", "user" or "bare"
    report.skip                            # what every order is to leave out, with reasons

Levels: 3 strong (pid, mount, ipc, uts and net namespaces, cgroup limits of memory and processes, seccomp, and a uid or
user namespace for each worker); 2 namespaced (some of these is missing or soft); 1 confined (Landlock, seccomp and
rlimits); 0 none.

Controls are named as the steps of ``runtime.worker.sandbox``; those of the supervisor's side are ``cgroup_*``,
``scratch`` (a /tmp on disk) and ``egress``.
"""

import concurrent.futures
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime import errors
from runtime.pool import diagnosis, trials

OPTIONAL = ("cgroup", "ipc", "uts", "cgroup_view", "network", "landlock", "seccomp")
"""What an order may leave out: ``runtime.worker.sandbox.OPTIONAL``."""

STRONG, NAMESPACED, CONFINED, NONE = 3, 2, 1, 0

_NAMES = {STRONG: "strong", NAMESPACED: "namespaced", CONFINED: "confined", NONE: "none"}
_NEEDED = {
    "root": ("pid", "mount", "mounts", "root", "proc", "identity", "privileges"),
    "user": ("user", "pid", "mount", "mounts", "root", "proc", "identity", "privileges"),
    "bare": ("privileges",),
}
"""Without these there is no worker of that mode."""
_STRONG = ("ipc", "uts", "network", "seccomp", "cgroup_memory", "cgroup_pids")
_CONFINED = ("landlock", "seccomp")
_BARE = "no namespaces can be made"
_NO_SANDBOX = (
    "ISOLATION: NONE. Whoever can deploy a function here, or whose code a function takes in, can read and change what "
    "this user can, and every other function: this is for measuring what the sandbox costs (--isolation none)."
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the sandbox of this machine is made of."""

    level: int
    mode: str
    """Of the zygotes."""
    cgroups: str
    """ "v2", "v1" or "none"."""
    controls: tuple[diagnosis.Control, ...]

    @property
    def skip(self) -> dict[str, str]:
        """Return the controls that every order is to leave out, with reasons."""
        return {one.name: one.why for one in self.controls if not one.engaged and one.name in OPTIONAL}

    def control(self, name: str) -> diagnosis.Control:
        """Return one control; raise KeyError where there is none of the name."""
        return {one.name: one for one in self.controls}[name]

    def summary(self) -> str:
        """Return one line for the start-up banner."""
        if self == off():
            return _NO_SANDBOX
        line = f"Isolation: level {self.level} of 3 ({_NAMES[self.level]}), mode {self.mode}, cgroups {self.cgroups}"
        missing = [one.name for one in self.controls if not one.engaged]
        return f"{line}. Not engaged: {', '.join(missing)} (see hotfork doctor)." if missing else f"{line}."

    def document(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return dataclasses.asdict(self)

    def demand_strong(self) -> None:
        """Raise IsolationError, with cause and cure of all that is missing, below level 3."""
        if self.level >= STRONG:
            return
        needed = {*_NEEDED["user" if self.mode == "bare" else self.mode], *_STRONG}
        missing: dict[tuple[str, str], list[str]] = {}
        for one in self.controls:
            if not one.engaged and one.name in needed:
                missing.setdefault((one.why, one.cure), []).append(one.name)
        lines = [
            f"  {', '.join(names)}: {why}{f' -> {cure}' if cure else ''}" for (why, cure), names in missing.items()
        ]
        raise errors.IsolationError(
            f"This machine gives isolation level {self.level} ({_NAMES[self.level]}), and --isolation strong needs 3. "
            "Missing:\n" + "\n".join(lines) + "\nOr start with --isolation auto, which takes the best there is."
        )


def probe(isolation: str = "auto", *, uid: int = 1_900_000_000, folder: Path | None = None) -> Report:
    """Try everything and return the report; "strong" raises IsolationError below level 3, "none" is ``off``.

    ``uid`` is one that a function could get, ``folder`` where images of /tmp would lie. Blocks for about half a
    second; call it before this process opens cgroups of its own. Leaves nothing behind.
    """
    if isolation == "none":
        return off()
    facts = diagnosis.read_facts()
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        of_groups = executor.submit(trials.groups)
        of_host = [executor.submit(trials.scratch, folder, facts), executor.submit(trials.egress, uid, facts)]
        mode, controls = _choose(uid, facts)
    backend, found = of_groups.result()
    report = judge(mode, backend, (*controls, *found, *(one.result() for one in of_host)))
    if isolation == "strong":
        report.demand_strong()
    return report


def off() -> Report:
    """Return the report of no sandbox: what workers can do without is left out, whatever this machine gives."""
    why, cure = "--isolation none", "start with --isolation strong, or auto"
    names = (*_NEEDED["user"], *_STRONG, *OPTIONAL, "scratch", "egress")
    controls = [
        diagnosis.Control(name=name, engaged=False, why=why, cure=cure)
        for name in dict.fromkeys(names)
        if name not in _NEEDED["bare"]
    ]
    return Report(level=NONE, mode="bare", cgroups="none", controls=tuple(controls))


def judge(mode: str, backend: str, controls: Sequence[diagnosis.Control]) -> Report:
    """Return the report on what was found; pure."""
    engaged = {one.name for one in controls if one.engaged}
    if mode != "bare" and engaged.issuperset((*_NEEDED[mode], *_STRONG)):
        level = STRONG
    elif mode != "bare" and "seccomp" in engaged:
        level = NAMESPACED
    elif engaged.issuperset(_CONFINED):
        level = CONFINED
    else:
        level = NONE
    return Report(level=level, mode=mode, cgroups=backend, controls=tuple(controls))


def _choose(uid: int, facts: diagnosis.Facts) -> tuple[str, list[diagnosis.Control]]:
    """Return the best mode that works, and the controls of its workers; raise IsolationError where none does."""
    best: dict[str, diagnosis.Control] = {}
    for mode in ("root", "user", "bare") if facts.root else ("user", "bare"):
        found = trials.worker(mode, uid, facts)
        if all(found[name].engaged for name in _NEEDED[mode]):
            # Where no namespaces are made, the mode that would have had them tells why.
            lost = {name: _without(one) for name, one in best.items()} if mode == "bare" else {}
            return mode, list({**lost, **found}.values())
        best = best or found
    raise errors.IsolationError(
        "no worker can be confined here: " + "; ".join(one.why for one in found.values() if not one.engaged)
    )


def _without(control: diagnosis.Control) -> diagnosis.Control:
    """Return a control as it is where no namespaces are made."""
    return dataclasses.replace(control, engaged=False, why=_BARE) if control.engaged else control
