"""The probe on this machine, and with rights taken away one by one."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from runtime.pool import cgroups, isolation

SYSTEM_PYTHON = "/usr/bin/python3"
PROBE = """
import dataclasses, json, sys
from runtime import errors
from runtime.pool import isolation
try:
    report = isolation.probe(sys.argv[1])
except errors.IsolationError as error:
    print(json.dumps({"error": error.message}))
else:
    print(json.dumps(report.document()))
"""


def probed(*wrapper, python=sys.executable, isolation="auto"):
    """Return the report, or the error, of a probe that is started through other commands."""
    paths = [str(Path.cwd()), sysconfig.get_paths()["purelib"]]
    done = subprocess.run(
        [*wrapper, python, "-c", PROBE, isolation],
        env={**os.environ, "PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def state(report, name):
    return {one["name"]: one for one in report["controls"]}[name]


def left_behind():
    mounts = Path("/proc/self/mountinfo").read_text()
    here = cgroups.place.read()
    groups = [name for path in set(here.own.values()) for name in os.listdir(path) if f"hotfork-{os.getpid()}-" in name]
    return mounts, groups


def test_the_probe_leaves_nothing_and_names_every_control():
    before = left_behind()
    report = isolation.probe()
    assert left_behind() == before
    names = {one.name for one in report.controls}
    assert names >= {"pid", "mount", "network", "seccomp", "landlock", "identity", "cgroup_memory", "scratch", "egress"}
    for one in report.controls:
        assert one.engaged or one.why, f"{one.name} must say why it is not engaged"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_works_without_a_user_namespace():
    report = isolation.probe()
    assert report.mode == "root"
    assert "user" not in {one.name for one in report.controls}


needs_tools = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed"),
]


def with_marks(test):
    for mark in needs_tools:
        test = mark(test)
    return test


def system_python_fits():
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, check=False
    )
    return done.stdout.decode().strip() == str(sys.version_info[:2])


@with_marks
@pytest.mark.skipif(
    not Path(SYSTEM_PYTHON).exists() or not system_python_fits(), reason="no interpreter for other users"
)
def test_an_ordinary_user_gets_namespaces_and_is_told_what_is_soft():
    ordinary = ("setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups")
    report = probed(*ordinary, python=SYSTEM_PYTHON)
    if not state(report, "user")["engaged"]:
        pytest.skip(f"this machine has no user namespaces: {state(report, 'user')['why']}")
    assert report["mode"] == "user"
    for name in ("pid", "mount", "network", "identity", "seccomp"):
        assert state(report, name)["engaged"]
    assert not state(report, "scratch")["engaged"]
    egress, tun = state(report, "egress"), Path("/dev/net/tun")
    installed = all(shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin") for tool in ("pasta", "nft"))
    assert ("is not installed" in egress["why"]) == (not installed)
    assert egress["engaged"] == (installed and tun.exists() and tun.stat().st_mode & 0o006 == 0o006)
    if not state(report, "cgroup_memory")["engaged"]:
        assert report["level"] == 2
        refusal = probed(*ordinary, python=SYSTEM_PYTHON, isolation="strong")["error"]
        assert "level 2" in refusal
        assert "cgroup_memory" in refusal


@with_marks
def test_root_without_the_right_to_namespaces_falls_back_and_says_why():
    report = probed("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")
    assert report["mode"] in ("user", "bare")


@with_marks
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_where_there_are_no_namespaces_workers_are_confined_by_landlock_and_seccomp():
    # In a user namespace of its own the limit of namespaces is the test's to set.
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$@"'
    wrapper = ("unshare", "-r", "sh", "-c", script, "sh")
    report = probed(*wrapper)
    assert (report["mode"], report["level"]) == ("bare", 1)
    assert not state(report, "mount")["engaged"]
    assert state(report, "mount")["why"]
    refusal = probed(*wrapper, isolation="strong")["error"]
    assert "level 1" in refusal
    assert "mount" in refusal
