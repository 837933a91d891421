import os
from pathlib import Path

import pytest

from runtime.pool.cgroups import place, stock

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw,nsdelegate
"""


def test_a_path_is_known_for_each_controller_even_where_two_are_mounted_together():
    text = "4:cpu,cpuacct:/a:b\n3:memory:/docker/abc\n1:name=systemd:/x\n0::/user.slice\n"
    assert place.parse_cgroup(text) == {
        "cpu": "/a:b",
        "cpuacct": "/a:b",
        "memory": "/docker/abc",
        "name=systemd": "/x",
        "": "/user.slice",
    }


def test_mounts_are_parsed_with_their_root_and_unescaped():
    assert place.parse_mounts(V1) == [
        (["rw", "cpu", "cpuacct"], "/", "/sys/fs/cgroup/cpu,cpuacct"),
        (["rw", "memory"], "/docker/abc", "/sys/fs/cgroup/memory"),
        ([""], "/", "/sys/fs/cgroup/uni fied"),
    ]


@pytest.fixture
def machine(tmp_path):
    """A root with a /proc of its own: one process, 77, that started at tick 500."""
    proc = tmp_path / "proc"
    (proc / "self/ns").mkdir(parents=True)
    (proc / "self/ns/pid").touch()
    for pid, ticks in ((77, 500), (os.getpid(), 9)):
        (proc / str(pid)).mkdir()
        fields = " ".join(["S", *["0"] * 18, str(ticks), "0"])
        (proc / str(pid) / "stat").write_text(f"{pid} (a ) b) {fields}\n")
    return tmp_path


def here(machine: Path) -> place.Place:
    return place.Place(own={}, mounts={}, proc=machine / "proc")


def test_own_directories_are_found_below_a_mount_that_shows_a_part_of_the_hierarchy(machine):
    proc = machine / "proc/self"
    proc.joinpath("mountinfo").write_text(V1)
    proc.joinpath("cgroup").write_text("3:memory:/docker/abc/inner\n2:cpu,cpuacct:/x\n0::/gone\n")
    for path in ("memory/inner", "cpu,cpuacct/x", "uni fied"):
        (machine / "sys/fs/cgroup" / path).mkdir(parents=True)
    found = place.read(machine)
    top = machine / "sys/fs/cgroup"
    assert found.own == {"memory": top / "memory/inner", "cpu": top / "cpu,cpuacct/x", "cpuacct": top / "cpu,cpuacct/x"}
    assert found.mounts["memory"] == top / "memory"


@pytest.mark.parametrize(
    ("group", "home"),
    [("x/hotfork-1-2-3-supervisor", "x"), ("x/hotfork-supervisor", "x/hotfork-supervisor"), ("my-supervisor",) * 2],
)
def test_only_a_group_that_a_supervisor_made_for_itself_counts_as_where_it_was_started(machine, group, home):
    proc = machine / "proc/self"
    proc.joinpath("mountinfo").write_text(V1)
    proc.joinpath("cgroup").write_text(f"3:memory:/docker/abc/inner\n2:cpu,cpuacct:/{group}\n")
    top = machine / "sys/fs/cgroup"
    for path in ("memory/inner", f"cpu,cpuacct/{group}"):
        (top / path).mkdir(parents=True)
    cpu = top / "cpu,cpuacct" / home
    assert place.read(machine).own == {"memory": top / "memory/inner", "cpu": cpu, "cpuacct": cpu}


def test_a_parent_is_an_orphan_only_when_its_supervisor_is_dead(machine):
    inode = (machine / "proc/self/ns/pid").stat().st_ino
    where = here(machine)
    assert not where.orphan(f"hotfork-77-500-{inode}")  # alive
    assert where.orphan(f"hotfork-77-499-{inode}")  # its pid was given to another process
    assert where.orphan(f"hotfork-78-500-{inode}")  # gone
    assert not where.orphan(f"hotfork-78-500-{inode + 1}")  # of another pid namespace: not ours to judge
    assert not where.orphan("hotfork-78-500")
    assert not where.orphan("system.slice")
    assert where.name() == f"hotfork-{os.getpid()}-9-{inode}"


def test_the_pid_zero_of_a_foreign_process_is_never_a_member(tmp_path):
    # kill(0, SIGKILL) would take our own process group.
    (tmp_path / "cgroup.procs").write_text("0\n12\n0\n")
    assert stock.members(tmp_path) == [12]
    assert stock.members(tmp_path / "gone") == []


def test_numbers_are_read_by_their_exact_name():
    assert stock.count(b"oom 3\noom_kill 7\noom_group_kill 2\n", b"oom_kill") == 7
    assert stock.count(b"oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", b"oom_kill") == 5
    assert stock.count(b"", b"oom_kill") == 0
