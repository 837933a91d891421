"""Why a control of the sandbox cannot be had, and what to do about it. Pure, but for ``read_facts``.

The kernel says EPERM for a dozen reasons; which one it was is told by facts of the machine.
"""

import dataclasses
import errno
import os
import platform
from pathlib import Path

_ROOT = "run it as root"
_CONTAINER = (
    "run the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined, and as root with --cap-add SYS_ADMIN --cap-add NET_ADMIN"
)
_APPARMOR = (
    "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or give the interpreter an AppArmor profile "
    "with 'userns,'), or run it as root"
)
_NAMESPACED = frozenset({"user", "pid", "mount", "mounts", "root", "proc", "ipc", "uts", "cgroup_view", "network"})
_KERNELS = {
    "mounts": "5.12 (mount_setattr)",
    "root": "5.12 (mount_setattr)",
    "proc": "5.8 (subset=pid)",
    "landlock": "5.13, with landlock among its active security modules (lsm=)",
    "signals": "6.12 (Landlock ABI 6)",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control of the sandbox: whether it is engaged; if not ``why``, and what to do (``cure``)."""

    name: str
    engaged: bool
    why: str = ""
    cure: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the machine."""

    root: bool
    release: str
    """Of the kernel."""
    container: bool
    filtered: bool
    """Whether a seccomp filter is around us."""
    apparmor_restricts: bool
    """Whether AppArmor keeps user namespaces from those without a profile (Ubuntu 23.10 and later)."""
    user_namespaces_off: str
    """The sysctl that forbids them, if one does."""


def explain(control: str, mode: str, code: int, reason: str, facts: Facts) -> tuple[str, str]:
    """Return why a control cannot be had, and what to do."""
    refused = code in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS)
    if refused and control in _NAMESPACED:
        return _refused(mode, reason, facts)
    if control == "identity" and refused:
        return f"changing the uid is not allowed: {reason}", _ROOT
    if code in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV):
        if facts.container and code == errno.ENOSYS:
            return f"the kernel, or the container's seccomp filter, does not offer it: {reason}", _CONTAINER
        needed = _KERNELS.get(control)
        cure = f"a kernel of {needed} or later is needed" if needed else "a newer kernel is needed"
        return f"Linux {facts.release} does not offer it: {reason}", cure
    return reason, _CONTAINER if facts.container else ""


def _refused(mode: str, reason: str, facts: Facts) -> tuple[str, str]:
    if mode == "user":
        if facts.user_namespaces_off:
            off = facts.user_namespaces_off
            value = 1 if off.endswith("clone") else 10000
            return f"user namespaces are switched off ({off})", f"sudo sysctl -w {off}={value}, or {_ROOT}"
        if facts.apparmor_restricts:
            return "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns=1)", _APPARMOR
    if facts.container or facts.filtered:
        return f"the container's seccomp filter, masked paths or missing capabilities forbid it: {reason}", _CONTAINER
    return f"not allowed: {reason}", "" if facts.root else _ROOT


def read_facts(root: Path = Path("/")) -> Facts:
    """Return the facts of this machine."""
    status = _read(root / "proc/self/status")
    systemd_says = _read(root / "run/systemd/container")
    marks = (root / ".dockerenv", root / "run/.containerenv")
    off = ""
    if _read(root / "proc/sys/kernel/unprivileged_userns_clone") == "0":  # Debian's own
        off = "kernel.unprivileged_userns_clone"
    if _read(root / "proc/sys/user/max_user_namespaces") == "0":
        off = "user.max_user_namespaces"
    return Facts(
        root=os.geteuid() == 0,
        release=platform.release(),
        container=bool(systemd_says) or any(mark.exists() for mark in marks),
        filtered="\nSeccomp:\t2" in status,
        apparmor_restricts=_read(root / "proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1",
        user_namespaces_off=off,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
