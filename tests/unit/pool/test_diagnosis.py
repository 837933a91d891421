import dataclasses
import errno

import pytest

from runtime.pool import diagnosis

PLAIN = diagnosis.Facts(
    root=False, release="6.1.0", container=False, filtered=False, apparmor_restricts=False, user_namespaces_off=""
)


def explain(control, code, *, mode="user", **facts):
    return diagnosis.explain(control, mode, code, "reason", dataclasses.replace(PLAIN, **facts))


@pytest.mark.parametrize("control", ["user", "mount", "proc"])
def test_apparmor_of_ubuntu_is_named_with_its_sysctl(control):
    # There the namespace is made, but without rights in it: what fails is the first mount.
    why, cure = explain(control, errno.EPERM, apparmor_restricts=True)
    assert "AppArmor restricts user namespaces" in why
    assert "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in cure


@pytest.mark.parametrize(
    ("switch", "value"), [("user.max_user_namespaces", "10000"), ("kernel.unprivileged_userns_clone", "1")]
)
def test_namespaces_that_are_switched_off_are_named(switch, value):
    why, cure = explain("user", errno.ENOSPC, user_namespaces_off=switch)
    assert switch in why
    assert f"sysctl -w {switch}={value}" in cure


@pytest.mark.parametrize("facts", [{"container": True}, {"filtered": True}])
def test_a_container_is_told_its_flags(facts):
    why, cure = explain("proc", errno.EPERM, **facts)
    assert "container" in why
    assert "seccomp=unconfined" in cure
    assert "systempaths=unconfined" in cure


@pytest.mark.parametrize(
    ("control", "code", "needed"),
    [
        ("mounts", errno.ENOSYS, "5.12"),
        ("landlock", errno.EOPNOTSUPP, "5.13"),
        ("signals", errno.EOPNOTSUPP, "6.12"),
        ("proc", errno.EINVAL, "5.8"),
    ],
)
def test_an_old_kernel_is_told_which_one_is_needed(control, code, needed):
    why, cure = explain(control, code)
    assert "Linux 6.1.0 does not offer it" in why
    assert needed in cure


def test_where_nothing_else_is_known_root_may_help():
    assert explain("user", errno.EPERM) == ("not allowed: reason", "run it as root")
    assert explain("pid", errno.EPERM, mode="root", root=True) == ("not allowed: reason", "")
    assert explain("identity", errno.EPERM)[1] == "run it as root"


def test_facts_are_read_from_the_machine(tmp_path):
    def put(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    empty = diagnosis.read_facts(tmp_path)
    assert (empty.container, empty.filtered, empty.apparmor_restricts, empty.user_namespaces_off) == (
        False,
        False,
        False,
        "",
    )
    put("proc/self/status", "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n")
    put("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")
    put("proc/sys/user/max_user_namespaces", "0\n")
    put(".dockerenv", "")
    full = diagnosis.read_facts(tmp_path)
    assert (full.container, full.filtered, full.apparmor_restricts, full.user_namespaces_off) == (
        True,
        True,
        True,
        "user.max_user_namespaces",
    )
