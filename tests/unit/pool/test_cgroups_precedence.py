"""The supervisor's own group in the v1 hierarchy of the cpu controller, against a fake tree of plain files."""

import os
import pathlib
import shutil

import pytest

from runtime.pool.cgroups import place, precedence

FILES = {"cpu.shares": "1024", "cgroup.procs": ""}


@pytest.fixture
def home(tmp_path, monkeypatch):
    real_mkdir = pathlib.Path.mkdir

    def mkdir(path, *args, **kwargs):
        real_mkdir(path, *args, **kwargs)
        for name, text in FILES.items():
            (path / name).write_text(text)

    home = tmp_path / "cpu"
    home.mkdir()
    (home / "cgroup.procs").touch()
    monkeypatch.setattr(pathlib.Path, "mkdir", mkdir)
    monkeypatch.setattr(pathlib.Path, "rmdir", shutil.rmtree)
    return home


def where(home):
    return place.Place(own={"cpu": home, "memory": home}, mounts={}, proc=pathlib.Path("/proc"))


def own(home):
    return home / f"{where(home).name()}-supervisor"


def test_it_weighs_more_than_all_workers_until_that_is_undone(home):
    leave = precedence.take(where(home))
    assert (own(home) / "cpu.shares").read_text() == "8192"
    assert (own(home) / "cgroup.procs").read_text() == str(os.getpid())
    leave()
    assert not own(home).exists()
    assert (home / "cgroup.procs").read_text() == str(os.getpid())


def test_what_it_starts_can_be_left_out(home):
    precedence.leave_out(where(home), 4711)
    assert (home / "cgroup.procs").read_text() == ""  # there is no group to be taken out of
    leave = precedence.take(where(home))
    precedence.leave_out(where(home), 4711)
    assert (home / "cgroup.procs").read_text() == "4711"
    leave()


def test_without_the_controller_nothing_is_done(home):
    precedence.take(place.Place(own={"memory": home}, mounts={}, proc=pathlib.Path("/proc")))()
    assert [entry.name for entry in home.iterdir()] == ["cgroup.procs"]


def test_where_it_cannot_be_had_that_is_said_and_nothing_is_left(home, monkeypatch, caplog):
    real = precedence.stock.write

    def write(path, value):
        if path.endswith("-supervisor/cgroup.procs"):
            raise OSError(22, "Invalid argument")
        return real(path, value)

    monkeypatch.setattr(precedence.stock, "write", write)
    precedence.take(where(home))()
    assert "does not run before its workers" in caplog.text
    assert "Invalid argument" in caplog.text
    assert not own(home).exists()


def test_what_dead_supervisors_left_is_dissolved_and_nobody_in_it_is_hurt(home):
    inode = pathlib.Path("/proc/self/ns/pid").stat().st_ino
    names = {
        "dead": f"hotfork-4194305-1-{inode}-supervisor",
        "foreign": f"hotfork-4194305-1-{inode + 1}-supervisor",
        "workers": f"hotfork-4194305-1-{inode}",
        "other": "mine-supervisor",
    }
    for name in names.values():
        (home / name).mkdir()
    (home / names["dead"] / "cgroup.procs").write_text(f"{os.getppid()}\n")
    moved = []
    real = precedence.stock.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precedence.stock, "write", lambda path, value: moved.append((path, value)) or real(path, value))
        leave = precedence.take(where(home))
    assert (f"{home}/cgroup.procs", b"%d" % os.getppid()) in moved
    assert {entry.name for entry in home.iterdir() if entry.is_dir()} == {
        *(names[key] for key in ("foreign", "workers", "other")),
        own(home).name,
    }
    leave()
