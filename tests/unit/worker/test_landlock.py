"""Which rights a ruleset handles and hands out, with the system calls recorded instead of made."""

import errno
import os
import stat
import struct
from pathlib import Path

import pytest

from runtime.worker import kernel, landlock


@pytest.mark.parametrize(
    ("abi", "last_right"),
    [(1, 1 << 12), (2, 1 << 13), (3, 1 << 14), (4, 1 << 14), (5, 1 << 15), (6, 1 << 15), (7, 1 << 15)],
)
def test_all_rights_of_an_abi_are_handled(abi, last_right):
    assert landlock.handled(abi) == 2 * last_right - 1


def test_scopes_from_abi_6_on():
    assert landlock.attributes(5) == struct.pack("<Q", 0xFFFF)
    assert landlock.attributes(6) == struct.pack("<QQQ", 0xFFFF, 0, 3)


class Kernel:
    def __init__(self, monkeypatch):
        self.rules = {}
        self.restricted = 0
        self.ruleset = os.open("/dev/null", os.O_RDONLY)
        monkeypatch.setattr(kernel, "landlock_create", lambda attributes: self.ruleset)
        monkeypatch.setattr(kernel, "landlock_allow", self.allow)
        monkeypatch.setattr(kernel, "landlock_restrict", self.restrict)

    def allow(self, ruleset, rights, fd):
        assert ruleset == self.ruleset
        if not stat.S_ISDIR(os.fstat(fd).st_mode) and rights & landlock.READ_DIR:
            raise OSError(errno.EINVAL, "a right over directories, for a file")
        if rights == 0:
            raise OSError(errno.ENOMSG, "no right at all")
        self.rules[str(Path(f"/proc/self/fd/{fd}").readlink())] = rights

    def restrict(self, ruleset):
        self.restricted += 1


def test_rights_by_kind_of_place(monkeypatch, tmp_path):
    recorded = Kernel(monkeypatch)
    file = tmp_path / "file"
    file.write_text("")
    landlock.confine(7, ["/usr", str(file)], [str(tmp_path)], ["/dev/null"])
    assert recorded.restricted == 1
    assert recorded.rules["/usr"] == landlock.EXECUTE | landlock.READ_FILE | landlock.READ_DIR
    assert recorded.rules[str(file)] == landlock.EXECUTE | landlock.READ_FILE
    assert recorded.rules["/dev/null"] == landlock.READ_FILE | landlock.WRITE_FILE | landlock.IOCTL_DEV
    assert recorded.rules[str(tmp_path)] == landlock.handled(7) & ~landlock.IOCTL_DEV
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(recorded.ruleset)


def test_an_old_abi_is_given_no_right_it_does_not_know(monkeypatch, tmp_path):
    recorded = Kernel(monkeypatch)
    landlock.confine(1, ["/usr"], [str(tmp_path)], ["/dev/null"])
    assert all(rights < 1 << 13 for rights in recorded.rules.values())


def test_a_path_that_does_not_exist_is_left_out(monkeypatch):
    recorded = Kernel(monkeypatch)
    landlock.confine(7, ["/nowhere/at/all"], [], [])
    assert recorded.rules == {}
    assert recorded.restricted == 1


def test_a_path_that_cannot_be_opened_is_an_error_not_a_gap(monkeypatch):
    Kernel(monkeypatch)
    with pytest.raises(OSError, match="Not a directory"):
        landlock.confine(7, ["/dev/null/inside"], [], [])
