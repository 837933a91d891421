"""The wrappers of system calls: what they raise, and what they tell the kernel, in throw-away children."""

import errno
import os
import struct
from pathlib import Path

import pytest

from runtime.worker import kernel


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: kernel.setns(-1, kernel.CLONE_NEWNET), "setns"),
        (lambda: kernel.unshare(0x3), "unshare"),
        (lambda: kernel.unmount("/nowhere"), "umount2"),
        (lambda: kernel.pivot_root("/nowhere", "/nowhere"), "pivot_root"),
        (lambda: kernel.clone_tree("/nowhere"), "open_tree"),
        (lambda: kernel.place_mount(-1, "/"), "move_mount"),
        (lambda: kernel.restrict_mount(-1, kernel.RDONLY), "mount_setattr"),
        (lambda: kernel.new_filesystem("no such filesystem", {}, 0), "fsopen"),
        (lambda: kernel.make_slave("/nowhere"), "mount"),
        (lambda: kernel.prctl(-1), "prctl"),
        (lambda: kernel.load_filter(b""), "seccomp"),
        (lambda: kernel.landlock_create(b"x"), "landlock_create_ruleset"),
        (lambda: kernel.landlock_allow(-1, 1, -1), "landlock_add_rule"),
        (lambda: kernel.landlock_restrict(-1), "landlock_restrict_self"),
    ],
)
def test_a_failed_call_is_an_oserror_with_its_name(call, name):
    with pytest.raises(OSError, match=f"{name}: ") as caught:
        call()
    assert caught.value.errno in errno.errorcode


def test_a_path_holds_no_nul():
    with pytest.raises(ValueError, match="null"):
        kernel.clone_tree("/usr\0/../etc")


def test_close_from_closes_all_above():
    def child():
        before = os.open("/dev/null", os.O_RDONLY)
        os.dup2(before, 200)
        kernel.close_from(50)
        os.fstat(before) if before < 50 else None
        return 1 if exists(200) or exists(50) else 0

    assert in_child(child) == 0


def test_capabilities_are_gone_for_good():
    def child():
        kernel.drop_capabilities()
        status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
        return sum(int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh")) and 1

    assert in_child(child) == 0


def test_a_filter_acts():
    # Refuse getppid with errno 7, allow all else: x86_64 110, aarch64 173.
    number = {"x86_64": 110, "aarch64": 173}[kernel.MACHINE]
    program = b"".join(
        struct.pack("<HBBI", *instruction)
        for instruction in ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50007), (0x06, 0, 0, 0x7FFF0000))
    )

    def child():
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.load_filter(program)
        return 0 if os.getppid() in (-1, 0xFFFFFFF9, -7) else 1

    assert in_child(child) == 0


def exists(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def in_child(function):
    """Run a function in a fork; return its exit status."""
    pid = os.fork()
    if not pid:
        status = 99
        try:
            status = function()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
