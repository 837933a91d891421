"""Using more than one's share: processes, threads, descriptors, disk, memory."""

import contextlib
import errno
import signal

import attacks
import pytest
import sandbox_rig

from runtime.pool import cgroups
from runtime.worker import rights

pytestmark = pytest.mark.asyncio(loop_scope="module")
MB = 1 << 20

BOMB = """
children = []
try:
    for _ in range(%d):
        pid = os.fork()
        if not pid:
            signal.pause()
        children.append(pid)
except OSError as error:
    pass
result = len(children)
"""


async def test_a_fork_bomb_ends_at_the_limit_and_starves_no_sibling(rig):
    worker, sibling = await rig.worker(uid=sandbox_rig.UID + 9, gid=sandbox_rig.UID + 9), await rig.worker()
    made = await worker.run(attacks.source(BOMB % 300))
    assert made == sandbox_rig.LIMITS["NPROC"] - 1
    # In mode "user" both have the same uid on the host, and count in user namespaces of their own.
    assert await sibling.run(attacks.source(BOMB % 10)) == 10
    rig.spawner.kill(worker.slot)
    assert await worker.ended() == ("exit", signal.SIGKILL)


async def test_without_the_limit_there_are_more(rig):
    """The control of the fork bomb."""
    limits = {name: value for name, value in sandbox_rig.LIMITS.items() if name != "NPROC"}
    worker = await rig.worker(limits=limits, uid=sandbox_rig.UID + 2, gid=sandbox_rig.UID + 2)
    assert await worker.run(attacks.source(BOMB % 150)) == 150


async def test_threads_count_as_processes(rig):
    worker = await rig.worker(uid=sandbox_rig.UID + 3, gid=sandbox_rig.UID + 3)
    source = """
    import threading
    stop, threads = threading.Event(), []
    try:
        for _ in range(200):
            thread = threading.Thread(target=stop.wait)
            thread.start()
            threads.append(thread)
    except RuntimeError:
        pass
    result = len(threads)
    stop.set()
    """
    assert await worker.run(attacks.source(source)) == sandbox_rig.LIMITS["NPROC"] - 1


async def test_descriptors_end_at_the_limit(rig):
    worker = await rig.worker()
    source = """
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        result = [len(held) + 5, error.errno]
    for fd in held:
        os.close(fd)
    """
    assert await worker.run(attacks.source(source)) == [1024, 24]
    assert await worker.run("result = 'alive'") == "alive"


async def test_disk_ends_at_the_size_of_tmp_and_of_shm(rig):
    worker = await rig.worker(limits={**sandbox_rig.LIMITS, "tmp_bytes": 2 * MB, "shm_bytes": MB})
    source = """
    result = {}
    for place in ("/tmp", "/dev/shm"):
        with open(place + "/big", "wb", 0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError as error:
                result[place] = [file.tell(), error.errno]
    """
    assert await worker.run(attacks.source(source)) == {"/tmp": [2 * MB, 28], "/dev/shm": [MB, 28]}


async def test_inodes_end_at_their_number(rig):
    worker = await rig.worker(limits={**sandbox_rig.LIMITS, "tmp_inodes": 50})
    source = """
    made = 0
    try:
        while made < 10_000:
            os.symlink("x", f"/tmp/{made}")
            made += 1
    except OSError as error:
        result = [made < 50, error.errno]
    """
    assert await worker.run(attacks.source(source)) == [True, 28]


@contextlib.contextmanager
def group(backend, megabytes):
    one = backend.acquire(cgroups.Limits(memory_bytes=megabytes * MB, pids=100, cpu_share=1))
    try:
        yield one
    finally:
        backend.release(one)


async def test_a_memory_bomb_kills_its_own_worker_only(rig):
    try:
        backend = cgroups.open_backend()
    except cgroups.Unavailable as error:
        pytest.skip(str(error))
    if not backend.controls["memory"].engaged or backend.kind == "none":
        backend.close()
        pytest.skip(backend.controls["memory"].why)
    try:
        with group(backend, 64) as small, group(backend, 64) as beside:
            worker, sibling = await rig.worker(**joining(small)), await rig.worker(**joining(beside))
            bomb = attacks.source("bytearray(os.urandom(1 << 20) * 300)")
            worker.send(sandbox_rig.invoke(bomb))
            assert await worker.receive() is None
            assert await worker.ended() == ("exit", signal.SIGKILL)
            assert small.oom_kills() == 1
            assert await sibling.run("result = len(bytearray(30 << 20))") == 30 << 20
            assert beside.oom_kills() == 0
            rig.spawner.kill(sibling.slot)
            await sibling.ended()
        with group(backend, 1000) as large:
            control = await rig.worker(**joining(large))
            assert await control.run(bomb) is None
            rig.spawner.kill(control.slot)
            await control.ended()
    finally:
        backend.close()


def joining(one):
    return {"cgroup_fds": one.join_fds, "cgroup_folder_fd": one.clone_fd}


UNCOUNTED = """
import errno
result = {}
for name, call in {
    "memfd": lambda: os.memfd_create("x"),
    "shm": lambda: libc.shmget(4713, 4096, 0o1600),
    "messages": lambda: libc.msgget(4713, 0o1600),
    "semaphores": lambda: libc.semget(4713, 1, 0o1600),
}.items():
    try:
        if call() < 0:
            raise OSError(ctypes.get_errno(), name)
        result[name] = 0
    except OSError as error:
        result[name] = error.errno
"""


async def test_memory_that_no_look_at_a_process_shows_cannot_be_had_where_no_cgroup_counts_it(rig):
    """RLIMIT_AS is what stands in for a cgroup; with it goes the refusal."""
    soft = await rig.worker(limits={**sandbox_rig.LIMITS, "AS": 1 << 40})
    assert set((await soft.run(attacks.source(UNCOUNTED))).values()) == {errno.EPERM}
    counted = await rig.worker()
    assert set((await counted.run(attacks.source(UNCOUNTED))).values()) == {0}


WATCHES = """
held = []
try:
    while len(held) < 1000:
        fd = libc.inotify_init()
        if fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init")
        held.append(fd)
except OSError as error:
    pass
result = len(held)
"""


async def test_one_worker_does_not_use_up_what_all_may_watch(rig):
    """As root each function has a uid, and so a share, of its own; else all are one user to the kernel."""
    greedy = await rig.worker(uid=sandbox_rig.UID + 11, gid=sandbox_rig.UID + 11)
    others = [await rig.worker(uid=sandbox_rig.UID + at, gid=sandbox_rig.UID + at) for at in (12, 13, 14)]
    taken = await greedy.run(attacks.source(WATCHES))
    assert taken > 0
    for other in others:
        assert await other.run(attacks.source(WATCHES)) > 0
    if rig.mode == "user":
        assert taken <= rights.INOTIFY_INSTANCES
        assert attacks.on_the_host(WATCHES)["result"] > rights.INOTIFY_INSTANCES, "the control"


async def test_a_named_pipe_can_be_made_and_no_other_node(rig):
    worker = await rig.worker()
    source = """
    os.mkfifo("/tmp/pipe")
    os.mkdir("/tmp/folder")
    os.mkfifo("pipe", dir_fd=os.open("/tmp/folder", os.O_RDONLY))
    if os.fork() == 0:
        open("/tmp/pipe", "w").write("through")
        os._exit(0)
    result = open("/tmp/pipe").read()
    """
    assert await worker.run(attacks.source(source)) == "through"
    for kind in ("S_IFCHR", "S_IFBLK"):
        answer = await worker.attempt(f"import os, stat; os.mknod('/tmp/node', stat.{kind} | 0o600, os.makedev(1, 3))")
        assert answer["errno"] == errno.EPERM
