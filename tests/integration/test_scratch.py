"""The /tmp images with real loop devices."""

import asyncio
import errno
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys

import pytest

from runtime.pool import cgroups, instance, kernel, loop_image, scratch

MB = 1 << 20
INODES_OF_A_GROUP = 8192

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root"),
    pytest.mark.skipif(not pathlib.Path("/dev/loop-control").exists(), reason="this machine has no loop devices"),
    pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="mkfs.ext4 is not installed"),
]


def attached(folder):
    """Return the loop devices whose file lies, or lay, in a folder."""
    found = set()
    for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if path.read_text().startswith(f"{folder}/"):
                found.add(path.parent.parent.name)
        except OSError:
            continue  # it was detached as we looked
    return found


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def mounted():
    """Return the loop devices that are mounted where we can see it."""
    return "/dev/loop" in pathlib.Path("/proc/self/mountinfo").read_text()


@pytest.fixture(autouse=True)
async def nothing_left(tmp_path):
    assert not mounted()
    yield
    await until(lambda: not attached(tmp_path))
    assert not mounted()
    assert os.listdir(tmp_path) == []


@pytest.fixture
async def store(tmp_path):
    store = scratch.Store(tmp_path, ready=2, limit=4, reserve_bytes=0)
    yield store
    store.close()


async def take(store, size_mb=512):
    future = asyncio.get_running_loop().create_future()
    store.take(size_mb, future.set_result)
    async with asyncio.timeout(20):
        answer = await future
    if isinstance(answer, OSError):
        raise answer
    return answer


def opened(image):
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=image.fd)


def fill(image, name="full"):
    """Write a file until the disk is full; return how many bytes went in."""
    folder = opened(image)
    file = os.open(name, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=folder)
    written = 0
    try:
        while True:
            written += os.write(file, bytes(MB))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(file)
        os.close(folder)
    return written


@pytest.mark.parametrize("size_mb", [512, 777, 10240])
async def test_an_image_offers_the_configured_size_and_not_more(store, size_mb):
    image = await take(store, size_mb)
    folder = opened(image)
    offered = os.fstatvfs(folder)
    assert 0 <= offered.f_bavail * offered.f_frsize - size_mb * MB < MB
    assert stat.S_IMODE(os.fstat(folder).st_mode) == 0o1777
    assert os.listdir(folder) == []
    os.close(folder)
    assert image.disk_bytes() < MB, "what nobody wrote takes no disk"
    store.discard(image)


async def test_a_full_image_says_so_at_its_size(store):
    image = await take(store)
    assert 511 * MB <= fill(image) <= 512 * MB
    store.discard(image)


async def test_a_new_image_holds_nothing_of_the_one_before(store, tmp_path):
    for _ in range(3):
        image = await take(store)
        folder = opened(image)
        assert os.listdir(folder) == []
        file = os.open("secret", os.O_CREAT | os.O_RDWR, 0o600, dir_fd=folder)
        assert os.pread(file, 6, 0) == b""
        os.ftruncate(file, MB)
        assert os.pread(file, MB, 0) == bytes(MB)
        os.pwrite(file, b"secret" * 1000, 0)
        os.fsync(file)
        os.close(file)
        os.close(folder)
        store.discard(image)
    assert store.living == 0


def written_and_removed(folder):
    file = os.open("secret", os.O_CREAT | os.O_RDWR, 0o600, dir_fd=folder)
    os.write(file, b"secret")
    os.close(file)
    os.unlink("secret", dir_fd=folder)


USES = {
    "written": written_and_removed,
    "empty": lambda folder: os.mknod("empty", dir_fd=folder),
    "folder": lambda folder: os.mkdir("folder", dir_fd=folder),
    "nameless": lambda folder: os.close(os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o600, dir_fd=folder)),
    "mode": lambda folder: os.fchmod(folder, 0o777),
    "times": lambda folder: os.utime(folder, (0, 0)),
    "attribute": lambda folder: os.setxattr(folder, "user.secret", b"1"),
    "listed": os.listdir,
}


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("use", USES)
async def test_what_was_used_is_never_used_again(store, use, flushed):
    await until(lambda: store.ready == 2)
    image = await take(store)
    await until(lambda: store.ready == 2)
    folder = opened(image)
    if flushed:  # the kernel does so after half a minute
        kernel.syncfs(folder)
    USES[use](folder)
    os.close(folder)
    device = image.device
    store.discard(image, alone=True)
    await until(lambda: not pathlib.Path(f"/sys/fs/ext4/{device}").exists())
    assert store.ready == 2


@pytest.mark.parametrize("flushed", [False, True])
async def test_what_was_left_as_it_was_is_used_again_if_nobody_else_had_it(store, flushed):
    image = await take(store)
    await until(lambda: store.ready == 2)
    folder = opened(image)
    if flushed:
        kernel.syncfs(folder)
    with pytest.raises(FileNotFoundError):
        os.stat("missing", dir_fd=folder)
    os.close(folder)
    store.discard(image, alone=True)
    await until(lambda: store.ready == 3)
    again = [await take(store) for _ in range(3)]
    assert image.device in {one.device for one in again}
    for one in again:
        store.discard(one)  # others may have it
    await until(lambda: not pathlib.Path(f"/sys/fs/ext4/{image.device}").exists())


def mounted_with(image):
    return pathlib.Path(f"/proc/fs/ext4/{image.device}/options").read_text().split()


async def test_nothing_is_read_ahead_of_a_new_image(store):
    image = await take(store)
    assert {"noinit_itable", "no_prefetch_block_bitmaps"} <= set(mounted_with(image))
    store.discard(image)


async def test_spares_are_made_ahead(store):
    await until(lambda: store.ready == 2)
    given = []
    store.take(512, given.append)
    assert isinstance(given[0], loop_image.Image)
    store.discard(given[0])


async def test_beyond_the_limit_there_is_none(store):
    images = [await take(store) for _ in range(4)]
    with pytest.raises(OSError, match="4 workers have a /tmp on disk already"):
        await take(store)
    store.discard(images.pop())
    images.append(await take(store))
    for image in images:
        store.discard(image)


async def test_no_image_is_made_that_the_disk_could_not_hold(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    store = scratch.Store(tmp_path, ready=0, reserve_bytes=free - 600 * MB)
    store.discard(await take(store, 512))
    with pytest.raises(OSError, match="has no room for 1000 MB"):
        await take(store, 1000)
    store.close()


async def test_the_images_lie_in_a_folder_of_their_own_while_there_are_some(tmp_path_factory):
    parent = tmp_path_factory.mktemp("scratch")
    left, strange, full = (parent / name for name in ("hotfork-1-1-1", "mine", "hotfork-2-2-2"))
    for folder in (left, strange, full):
        folder.mkdir()
    (full / "file").touch()
    store = scratch.Store(parent, ready=0)
    own = parent / instance.name()
    assert set(parent.iterdir()) == {own, strange, full}
    assert not list(own.iterdir())
    store.close()
    assert set(parent.iterdir()) == {strange, full}


async def test_ext4_puts_the_folders_of_one_whose_folders_are_spread_into_other_parts_of_the_disk(tmp_path_factory):
    beside, apart = tmp_path_factory.mktemp("beside"), tmp_path_factory.mktemp("apart")
    try:
        loop_image.spread_folders(apart)
    except OSError as error:
        pytest.skip(f"not on this file system: {error}")

    def parts(parent):
        folders = [parent / f"{number}" for number in range(16)]
        for folder in folders:
            folder.mkdir()
        return len({folder.stat().st_ino // INODES_OF_A_GROUP for folder in folders})

    assert parts(apart) > parts(beside)


PROGRAM = """
import os, sys
from pathlib import Path
from runtime.pool import loop_image
loops = loop_image.Loops()
folder = Path(sys.argv[1])
template = loop_image.template(loops, folder, 512)
images = [loop_image.make(loops, folder, template) for _ in range(3)]
directory = os.open(".", os.O_RDONLY, dir_fd=images[0].fd)
os.write(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=directory), bytes(1 << 20))
print("made", flush=True)
sys.stdin.read()
"""


def killed_supervisor(tmp_path):
    """Let a process make three images, one of them in use, and kill it."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"made\n"
    assert len(attached(tmp_path)) == 3
    process.kill()
    process.communicate()


async def test_a_killed_supervisor_leaves_nothing(tmp_path):
    killed_supervisor(tmp_path)
    await until(lambda: not attached(tmp_path))


async def test_a_full_image_goes_without_being_written_out(store, tmp_path):
    image = await take(store)
    folder = opened(image)
    file = os.open("dirty", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=folder)
    os.write(file, bytes(100 * MB))
    os.close(file)
    os.close(folder)
    keep = os.dup(image.file)
    before = os.fstat(keep).st_blocks * 512
    store.discard(image)
    await until(lambda: len(attached(tmp_path)) == store.ready)
    assert os.fstat(keep).st_blocks * 512 - before < 50 * MB
    os.close(keep)


WRITER = """
import os, sys
tasks, folder = sys.argv[1:]
for fd in map(int, tasks.split(",")):
    os.write(fd, b"0")
file = os.open("big", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=int(folder))
for _ in range(300):
    os.write(file, bytes(1 << 20))
os.lseek(file, 0, 0)
"""


def written_in_a_group(group, image):
    tasks = ",".join(map(str, group.join_fds))
    command = [sys.executable, "-I", "-S", "-c", WRITER, tasks, str(image.fd)]
    return subprocess.run(command, pass_fds=[*group.join_fds, image.fd], timeout=60, check=False).returncode


async def test_what_is_written_to_it_is_not_charged_to_the_function_until_it_dies(store):
    try:
        backend = cgroups.open_backend(only="v1")
    except cgroups.Unavailable as error:
        pytest.skip(str(error))
    limits = cgroups.Limits(memory_bytes=64 * MB, pids=10, cpu_share=1.0)
    image, group = await take(store), backend.acquire(limits)
    assert written_in_a_group(group, image) == 0, "five times its memory"
    assert group.oom_kills() == 0
    # The control: on a tmpfs the same function is killed.
    memory = loop_image.Image(
        size_mb=512,
        fd=kernel.new_filesystem("tmpfs", {"size": "512m"}, kernel.NODEV),
        file=os.open("/", os.O_RDONLY),
        device="",
        written_kb=0,
    )
    assert written_in_a_group(group, memory) == -signal.SIGKILL
    assert group.oom_kills() == 1
    os.close(memory.fd)
    os.close(memory.file)
    backend.release(group)
    backend.close()
    store.discard(image)
