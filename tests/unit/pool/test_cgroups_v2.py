"""The v2 back-end against a fake tree: plain files, made with each directory as the kernel makes them."""

import errno
import os
import pathlib
import shutil

import pytest

from runtime.pool import cgroups
from runtime.pool.cgroups import page_cache, place, stock, v2

FILES = {
    "cgroup.type": "domain",
    "cgroup.procs": "",
    "cgroup.events": "populated 0\nfrozen 0\n",
    "cgroup.freeze": "0",
    "cgroup.kill": "",
    "cgroup.controllers": "cpu memory pids",
    "cgroup.subtree_control": "",
    "cpu.stat": "usage_usec 0\nuser_usec 0\n",
    "cpu.max": "max 100000",
    "cpu.weight": "100",
    "memory.current": "0",
    "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
    "memory.max": "max",
    "memory.oom.group": "0",
    "memory.peak": "0",
    "memory.reclaim": "",
    "memory.stat": "anon 0\nfile 0\ninactive_file 0\nactive_file 0\n",
    "memory.swap.max": "max",
    "pids.max": "max",
}
LIMITS = cgroups.Limits(memory_bytes=128 << 20, pids=1024, cpu_share=0.25, cpu_mode=cgroups.CpuMode.QUOTA)


class Tree:
    """A cgroup2 mount; ``absent`` files are those of a newer kernel."""

    def __init__(self, top: pathlib.Path) -> None:
        self.top = top
        self.absent: set[str] = set()
        self.real_mkdir = pathlib.Path.mkdir

    def mkdir(self, path, mode=0o777, parents=False, exist_ok=False):
        fresh = not path.exists()
        self.real_mkdir(path, mode, parents, exist_ok)
        if fresh and path.is_relative_to(self.top):
            for name, text in FILES.items():
                if name not in self.absent:
                    (path / name).write_text(text)

    def place(self, own: str) -> place.Place:
        return place.Place(own={"": self.top / own}, mounts={"": self.top}, proc=pathlib.Path("/proc"))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    top = tmp_path / "cgroup"
    top.mkdir()
    for name in ("cgroup.procs", "cgroup.controllers", "cgroup.subtree_control"):
        (top / name).write_text(FILES[name])
    tree = Tree(top)

    def mkdir(path, mode=0o777, parents=False, exist_ok=False):
        tree.mkdir(path, mode, parents, exist_ok)

    monkeypatch.setattr(pathlib.Path, "mkdir", mkdir)
    monkeypatch.setattr(pathlib.Path, "rmdir", shutil.rmtree)
    return tree


@pytest.fixture
def backend(tree):
    (tree.top / "own").mkdir()
    backend = v2.open_backend(tree.place("own"))
    yield backend
    backend.close()
    assert sorted(entry.name for entry in (tree.top / "own").iterdir() if entry.is_dir()) == ["supervisor"]


def text(group, file):
    return (group.directory / file).read_text()


def test_the_supervisor_moves_into_a_leaf_and_hands_controllers_down(tree, backend):
    own = tree.top / "own"
    assert (own / "supervisor/cgroup.procs").read_text() == str(os.getpid())
    assert (own / "supervisor/cpu.weight").read_text() == "800"
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    parent = backend.parents[""]
    assert parent.parent == own
    assert (parent / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert all(control.engaged for control in backend.controls.values())


def test_a_supervisor_that_starts_inside_an_old_leaf_does_not_nest(tree):
    (tree.top / "own").mkdir()
    (tree.top / "own/supervisor").mkdir()
    backend = v2.open_backend(tree.place("own/supervisor"))
    assert backend.parents[""].parent == tree.top / "own"
    backend.close()


def test_limits_are_written_and_the_quota_waits_for_throttle(backend):
    group = backend.acquire(LIMITS)
    assert text(group, "memory.max") == str(128 << 20)
    assert text(group, "memory.swap.max").startswith("0")
    assert text(group, "memory.oom.group") == "1"
    assert text(group, "pids.max").startswith("1024")
    assert text(group, "cpu.weight").startswith("25")
    assert text(group, "cpu.max") == "max 100000"
    group.throttle()
    assert text(group, "cpu.max").startswith("5000 20000")
    backend.release(group)


def test_counters_are_differences_from_the_time_of_acquire(backend):
    group = backend.acquire(LIMITS)
    backend.release(group)
    (group.directory / "memory.events").write_text("oom 9\noom_kill 3\n")
    (group.directory / "cpu.stat").write_text("usage_usec 700\n")
    backend.recycle(1)
    again = backend.acquire(LIMITS)
    assert again is group
    assert (again.oom_kills(), again.cpu_us()) == (0, 0)
    (group.directory / "memory.events").write_text("oom 9\noom_kill 4\n")
    (group.directory / "cpu.stat").write_text("usage_usec 750\n")
    assert (again.oom_kills(), again.cpu_us()) == (1, 50)
    backend.release(again)


def test_the_peak_leaves_out_page_cache_and_is_reset(backend):
    group = backend.acquire(LIMITS)
    (group.directory / "memory.peak").write_text("5000000")
    (group.directory / "memory.stat").write_text("anon 1\ninactive_file 1000000\nactive_file 500000\n")
    assert group.peak_bytes() == 3_500_000
    # To read it is dear: what is known of the page cache is good until the peak has moved.
    (group.directory / "memory.stat").write_text("anon 1\ninactive_file 0\nactive_file 200000\n")
    (group.directory / "memory.peak").write_text("5100000")
    assert group.peak_bytes() == 3_600_000
    (group.directory / "memory.peak").write_text(f"{5_000_000 + page_cache.STEP}")
    assert group.peak_bytes() == 4_800_000 + page_cache.STEP
    group.reset_peak()
    assert text(group, "memory.peak").startswith("0")
    backend.release(group)


def test_without_a_peak_file_it_is_the_most_that_was_seen(tree):
    tree.absent |= {"memory.peak"}
    (tree.top / "own").mkdir()
    backend = v2.open_backend(tree.place("own"))
    group = backend.acquire(LIMITS)
    for current in ("300", "700", "200"):
        (group.directory / "memory.current").write_text(current)
        group.peak_bytes()
    assert group.peak_bytes() == 700
    group.reset_peak()
    assert group.peak_bytes() == 200
    backend.release(group)
    backend.close()


def test_a_group_whose_peak_cannot_be_reset_is_replaced_after_use(backend, monkeypatch):
    # Linux before 6.12: opening memory.peak for writing answers EINVAL.
    real = os.open

    def old_kernel(path, flags, *rest, **named):
        if str(path).endswith("memory.peak") and flags & os.O_ACCMODE:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", old_kernel)
    group = backend.acquire(LIMITS)
    backend.release(group)
    backend.recycle(1)
    assert not group.directory.exists()
    again = backend.acquire(LIMITS)
    assert again is not group
    backend.release(again)


def test_a_group_that_holds_a_process_is_not_used_again(backend):
    group = backend.acquire(LIMITS)
    (group.directory / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    backend.release(group)
    assert backend.recycle(1) == 1
    other = backend.acquire(LIMITS)
    assert other is not group
    (group.directory / "cgroup.events").write_text("populated 0\nfrozen 0\n")
    assert backend.recycle(1) == 0
    backend.release(other)


def test_freeze_and_kill_are_files(backend):
    group = backend.acquire(LIMITS)
    assert group.freeze()
    assert text(group, "cgroup.freeze") == "1"
    group.thaw()
    assert text(group, "cgroup.freeze") == "0"
    assert group.kill()
    assert text(group, "cgroup.kill") == "1"
    backend.release(group)


@pytest.mark.parametrize(("left_bytes", "reclaimed"), [(20 << 10, ""), (3 << 20, str(3 << 20))])
def test_of_what_a_worker_left_only_what_is_worth_it_is_freed(backend, left_bytes, reclaimed):
    group = backend.acquire(LIMITS)
    backend.release(group)
    (group.directory / "memory.current").write_text(f"{left_bytes}\n")
    backend.recycle(1)
    assert backend.acquire(LIMITS) is group
    assert text(group, "memory.reclaim") == reclaimed
    backend.release(group)


def test_an_orphan_that_another_supervisor_collects_meanwhile_is_left_to_it(tree):
    stock.collect(tree.top / "gone")
    assert not (tree.top / "gone").exists()


def test_an_orphan_of_a_dead_supervisor_is_collected(tree):
    inode = pathlib.Path("/proc/self/ns/pid").stat().st_ino
    (tree.top / "own").mkdir()
    orphan = tree.top / f"own/hotfork-{2**22 + 1}-5-{inode}"
    orphan.mkdir()
    (orphan / "000001").mkdir()
    backend = v2.open_backend(tree.place("own"))
    assert not orphan.exists()
    backend.close()


@pytest.mark.parametrize("lacking", ["memory", "pids"])
def test_a_missing_controller_is_named_with_its_cure(tree, lacking, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    own = tree.top / "own"
    own.mkdir()
    (own / "cgroup.controllers").write_text("cpu memory pids".replace(lacking, ""))
    with pytest.raises(cgroups.Unavailable, match=f"the {lacking} controller.*Delegate=yes"):
        v2.open_backend(tree.place("own"))


def test_cpu_may_be_missing_and_is_reported(tree):
    own = tree.top / "own"
    own.mkdir()
    (own / "cgroup.controllers").write_text("memory pids")
    backend = v2.open_backend(tree.place("own"))
    assert not backend.controls["cpu"].engaged
    assert "Delegate" in backend.controls["cpu"].cure
    backend.close()


def test_a_cgroup_shared_with_others_is_left_alone_and_root_uses_the_top(tree, monkeypatch):
    own = tree.top / "session.scope"
    own.mkdir()
    (tree.top / "supervisor").mkdir()  # somebody else's: root's top needs no leaf of ours
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n0\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    backend = v2.open_backend(tree.place("session.scope"))
    assert backend.parents[""].parent == tree.top
    assert not (own / "supervisor").exists()
    assert (tree.top / "supervisor/cpu.weight").read_text() == "100"
    backend.close()


def test_a_delegated_cgroup_may_hold_the_shell_that_started_us(tree, monkeypatch):
    own = tree.top / "run.scope"
    own.mkdir()
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n4711\n")
    moved = []
    real = v2.stock.write
    monkeypatch.setattr(v2.stock, "write", lambda path, value: moved.append((path, value)) or real(path, value))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    backend = v2.open_backend(tree.place("run.scope"))
    leaf = f"{own}/supervisor/cgroup.procs"
    assert {value for path, value in moved if path == leaf} == {b"%d" % os.getpid(), b"4711"}
    backend.close()


def test_a_directory_that_is_not_ours_to_write_is_named(tree, monkeypatch):
    (tree.top / "own").mkdir()

    def refuse(directory, controllers):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(v2, "_enable", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(cgroups.Unavailable, match=r"own is not delegated to this user: Permission denied"):
        v2.open_backend(tree.place("own"))
