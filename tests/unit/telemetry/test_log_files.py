import os
import stat

import pytest

from runtime.telemetry import files, folders

GROUP = "/aws/lambda/hello"


def content(root, group=GROUP):
    folder = folders.of_group(root, group)
    return [(folder / folders.file_name(begun)).read_bytes() for begun in folders.files(folder)]


@pytest.fixture
def make(tmp_path):
    made = []

    def build(**limits):
        made.append(files.Files(tmp_path, files.Limits(**limits)))
        return made[-1]

    yield build
    for store in made:
        store.close()


def test_lines_are_appended_and_current_points_at_them(make, tmp_path):
    store = make()
    store.append(GROUP, b"one\n", 1000)
    store.append(GROUP, b"two\n", 2000)
    assert content(tmp_path) == [b"one\ntwo\n"]
    current = tmp_path / "aws/lambda/hello/current.log"
    assert current.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(current.stat().st_mode) == 0o600
    assert stat.S_IMODE(current.parent.stat().st_mode) == 0o700


def test_a_file_of_full_size_is_followed_by_another_and_few_are_kept(make, tmp_path):
    store = make(file_bytes=10, files=2)
    for i in range(8):
        store.append(GROUP, b"line %d\n" % i, 1000)
    assert content(tmp_path) == [b"line 5\n", b"line 6\n", b"line 7\n"]
    assert (tmp_path / "aws/lambda/hello/current.log").read_bytes() == b"line 7\n"


def test_a_line_longer_than_a_file_is_kept_whole(make, tmp_path):
    store = make(file_bytes=10)
    store.append(GROUP, b"x" * 50 + b"\n", 1)
    store.append(GROUP, b"y\n", 2)
    assert content(tmp_path) == [b"x" * 50 + b"\n", b"y\n"]


def test_after_a_restart_writing_goes_on_in_the_newest_file(make, tmp_path):
    make(file_bytes=12).append(GROUP, b"before\n", 5000)
    store = make(file_bytes=12)
    store.append(GROUP, b"aft\n", 100)  # the clock was set back
    store.append(GROUP, b"later\n", 100)
    assert content(tmp_path) == [b"before\naft\n", b"later\n"]


def test_a_line_that_a_crash_cut_off_stays_apart_from_what_follows(make, tmp_path):
    make().append(GROUP, b"whole\ncut o", 1)
    make().append(GROUP, b"next\n", 2)
    assert content(tmp_path) == [b"whole\ncut o\nnext\n"]


def test_few_files_are_open_however_many_groups_log(make, tmp_path):
    store = make()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        for i in range(3 * files.OPEN_FILES):
            store.append(f"/aws/lambda/f{i}", b"x\n", 1)
    assert len(os.listdir("/proc/self/fd")) - before == files.OPEN_FILES
    assert content(tmp_path, "/aws/lambda/f0") == [b"x\nx\n"]
    store.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_over_the_total_the_oldest_files_go_whoever_they_belong_to(make, tmp_path):
    make().append("/aws/lambda/idle", b"x" * 99 + b"\n", 1)
    os.utime(tmp_path / "aws/lambda/idle" / folders.file_name(1), (1, 1))
    store = make(file_bytes=100, files=50, total_bytes=1000)
    for i in range(30):
        store.append(GROUP, b"%098d\n" % i, 1000 + i)
        newest = folders.of_group(tmp_path, GROUP) / folders.file_name(1000 + i)
        os.utime(newest, (1000 + i, 1000 + i))
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.log") if not path.is_symlink()) <= 1000
    assert content(tmp_path, "/aws/lambda/idle") == []
    kept = content(tmp_path)
    assert len(kept) >= 8
    assert kept == [b"%098d\n" % i for i in range(30 - len(kept), 30)]


def test_a_disk_that_refuses_is_an_error_and_writing_goes_on_afterwards(make, tmp_path, monkeypatch):
    store = make()
    store.append(GROUP, b"one\n", 1)
    real, calls = os.write, []

    def write(fd, data):
        calls.append(len(data))
        if len(calls) == 1:
            return real(fd, data[:3])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space"):
            store.append(GROUP, b"broken line\n", 2)
    store.append(GROUP, b"two\n", 3)
    assert content(tmp_path) == [b"one\nbro\ntwo\n"]


def test_a_planted_link_is_not_followed(make, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = folders.of_group(tmp_path / "logs", GROUP)
    folder.mkdir(parents=True)
    (folder / folders.file_name(1)).symlink_to(victim)
    store = files.Files(tmp_path / "logs", files.Limits())
    with pytest.raises(OSError, match=r"symbolic links|Too many levels"):
        store.append(GROUP, b"x\n", 2)
    assert victim.read_bytes() == b"precious"
