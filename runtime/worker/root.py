"""The root that a zygote and its workers live in: small, read-only, without anything of the supervisor's.

A tmpfs with read-only binds of the system's programs and libraries and of the interpreter, copies of a few files of
/etc, a handful of devices, and empty folders for what each worker mounts. The host's root is gone after
``enter``: no path leads to the code store, the state, or another function.
"""
# Strings, because pathlib is one more module for every worker to carry.
# ruff: noqa: PTH103, PTH112, PTH114, PTH115, PTH120, PTH123, PTH211

import errno
import os
import sys

from runtime.worker import kernel, rights

_STAGE = "/tmp"
"""Any folder that exists everywhere; the new root is put together over it, in our own mount namespace."""

_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
_ETC_FILES = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/protocols",
    "/etc/services",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/ssl/openssl.cnf",
)
"""Copied: they are small, and a copy is one mount less for every worker to clone."""
_ETC_FOLDERS = (
    "/etc/ssl/certs",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    "/etc/crypto-policies",
)
_RESOLV_CONF = "/etc/resolv.conf"
_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"))
_COVERED = ("/tmp", "/var/task", "/var/runtime", "/proc", "/dev", "/etc")
"""Where no interpreter may lie: something else comes to stand there."""
_EMPTY = ("/var/task", "/var/runtime", "/opt", "/tmp", "/proc", "/dev/shm", "/sys", "/run", "/home", "/mnt")

REHEARSAL = "/var/task/rehearsal.py"
"""A function of ours, in sight until a function's folder is mounted there (``bootstrap.rest``)."""
_REHEARSAL = b"def handler(event, context):\n    return {**event}\n"

_USERS = "root:x:0:0:root:/root:/sbin/nologin\nsbx_user1051:x:993:990::/tmp:/sbin/nologin\n"
_GROUPS = "root:x:0:\nsbx_user1051:x:990:\n"
_NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"

_READ_ONLY = kernel.RDONLY | kernel.NOSUID | kernel.NODEV


def interpreter_folders() -> list[str]:
    """Return the folders of this interpreter that are not part of /usr."""
    folders = {os.path.realpath(sys.base_prefix), os.path.realpath(sys.base_exec_prefix)}
    folders.add(os.path.dirname(os.path.realpath(sys.executable)))
    # As the interpreter spells them too: sys.path and sys.prefix are not resolved.
    folders |= {sys.base_prefix, sys.base_exec_prefix, os.path.dirname(sys.executable)}
    outside = sorted(path for path in folders if not (path + "/").startswith("/usr/") and path not in _PROGRAMS)
    kept: list[str] = []
    for path in outside:
        if not any((path + "/").startswith(parent + "/") for parent in kept):
            kept.append(path)
    return kept


def enter(sdk: str, resolv_conf: str = _RESOLV_CONF) -> None:
    """Leave the host's root for a new one.

    ``sdk`` is the host folder that becomes /var/runtime, or ""; ``resolv_conf`` the file that becomes /etc/resolv.conf.

    The process must be in a mount namespace of its own, cut off from propagation. Raises OSError.
    """
    for path in interpreter_folders():
        if (path + "/").startswith(tuple(place + "/" for place in _COVERED)):
            raise OSError(errno.EINVAL, f"the interpreter lies in {path}, which workers cannot see")
    binds = {path: kernel.clone_tree(path, recursive=True) for path in _sources()}
    devices = {path: kernel.clone_tree(path) for path in rights.DEVICES}
    if sdk:
        binds["/var/runtime"] = kernel.clone_tree(sdk, recursive=True)
    files = _read_files(resolv_conf)
    links = {path: os.readlink(path) for path in _PROGRAMS if os.path.islink(path)}
    # Made while the host's /proc is in sight: a user namespace needs to see one to be given another.
    proc = kernel.new_filesystem("proc", {}, kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)

    root = kernel.new_filesystem("tmpfs", {"size": "16m", "nr_inodes": "4096", "mode": "755"}, kernel.NOSUID)
    kernel.place_mount(root, _STAGE)
    _fill(files, links)
    for path, fd in binds.items():
        os.makedirs(_STAGE + path, exist_ok=True)
        kernel.restrict_mount(fd, _READ_ONLY, recursive=True)
        kernel.place_mount(fd, _STAGE + path)
        os.close(fd)
    for path, fd in devices.items():
        _write(path, b"")
        kernel.restrict_mount(fd, kernel.NOSUID | kernel.NOEXEC)
        kernel.place_mount(fd, _STAGE + path)
        os.close(fd)
    kernel.place_mount(proc, _STAGE + "/proc")
    os.close(proc)
    kernel.restrict_mount(root, _READ_ONLY)
    os.close(root)
    os.chdir(_STAGE)
    kernel.pivot_root(".", ".")
    kernel.unmount(".")
    os.chdir("/")


def _sources() -> list[str]:
    folders = [path for path in (*_PROGRAMS, *_ETC_FOLDERS) if os.path.isdir(path) and not os.path.islink(path)]
    return folders + interpreter_folders()


def _read_files(resolv_conf: str) -> dict[str, bytes]:
    files = {}
    for path in _ETC_FILES:
        try:
            with open(resolv_conf if path == _RESOLV_CONF else path, "rb") as file:
                files[path] = file.read()
        except OSError:
            continue  # not every system has every one of them
    files["/etc/passwd"] = _USERS.encode()
    files["/etc/group"] = _GROUPS.encode()
    files["/etc/nsswitch.conf"] = _NSSWITCH.encode()
    files[REHEARSAL] = _REHEARSAL
    return files


def _fill(files: dict[str, bytes], links: dict[str, str]) -> None:
    for path in _EMPTY:
        os.makedirs(_STAGE + path, exist_ok=True)
    for path, content in files.items():
        _write(path, content)
    for path, target in links.items():
        os.symlink(target, _STAGE + path)
    for name, target in _LINKS:
        os.symlink(target, f"{_STAGE}/dev/{name}")


def _write(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(_STAGE + path), exist_ok=True)
    with open(_STAGE + path, "wb") as file:
        file.write(content)
