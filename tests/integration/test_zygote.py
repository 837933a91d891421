"""The zygote and the end state of its workers, as a function sees it from inside."""

import os
import resource
import signal
import sys
from pathlib import Path

import pytest
import pytest_asyncio
import sabotage
import sandbox_rig

from runtime import errors, wire
from runtime.worker import kernel

STATUS = "result = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines())"
OTHERS = (
    [str(path) for path in Path("/root/.pyenv/versions").glob("3.1[2-9].*/bin/python3")] if sandbox_rig.ROOT else []
)


def own_namespace(name):
    return str(Path(f"/proc/self/ns/{name}").readlink())


def environment_at_exec(pid):
    return Path(f"/proc/{pid}/environ").read_bytes()


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "sealed ahead"])
def ahead(request):
    return request.param


@pytest_asyncio.fixture(scope="module", params=sandbox_rig.STRONG, loop_scope="module")
async def rig(request, ahead):
    async with sandbox_rig.rig(sandbox_rig.public(), request.param, ahead=ahead) as one:
        yield one


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_has_no_privilege(rig):
    worker = await rig.worker()
    status = await worker.run(STATUS)
    uid, gid = (sandbox_rig.UID, sandbox_rig.UID) if rig.mode == "root" else (993, 990)
    assert status["Uid"].split() == [str(uid)] * 4
    assert status["Gid"].split() == [str(gid)] * 4
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["Seccomp_filters"] == "1"
    if rig.mode == "root":
        assert status["Groups"].strip() == ""
    assert await worker.run("import ctypes; result = ctypes.CDLL(None).prctl(3)") == 0  # PR_GET_DUMPABLE


async def test_it_is_alone_in_its_namespaces(rig):
    worker, sibling = await rig.worker(), await rig.worker()
    source = """
    import os
    result = {name: os.readlink("/proc/self/ns/" + name) for name in ("mnt", "pid", "ipc", "uts", "net", "cgroup", "user")}
    """
    inside, beside = await worker.run(source), await sibling.run(source)
    for name, link in inside.items():
        if (rig.mode, name) == ("root", "user"):
            continue  # a uid of its own instead
        assert link != own_namespace(name)
        assert link != beside[name]
    assert await worker.run("import os; result = [os.getpid(), os.getppid(), os.getpgrp()]") == [1, 0, 1]
    seen = "import os; result = [name for name in os.listdir('/proc') if name.isdigit()]"
    assert await worker.run(seen) == ["1"]
    assert await worker.run("import socket; result = socket.gethostname()") == "sandbox"
    interfaces = await worker.run("import socket; result = [name for _, name in socket.if_nameindex()]")
    assert "lo" in interfaces
    assert not {"eth0", "ens3", "docker0"} & set(interfaces)


async def test_it_sees_a_small_read_only_root(rig):
    worker = await rig.worker()
    source = """
    import os
    def read_only(path):
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    result = [os.listdir("/"), {path: read_only(path) for path in ("/", "/usr", "/var/task", "/tmp", "/dev/shm", "/dev/null")}]
    """
    names, read_only = await worker.run(source)
    expected = {"bin", "dev", "etc", "home", "lib", "mnt", "opt", "proc", "run", "sbin", "sys", "tmp", "usr", "var"}
    assert expected <= set(names) <= expected | {"lib32", "lib64", "libx32", "root", sys.base_prefix.split("/")[1]}
    assert read_only == {
        "/": True,
        "/usr": True,
        "/var/task": True,
        "/tmp": False,
        "/dev/shm": False,
        "/dev/null": False,
    }


async def test_mounts_are_what_was_ordered_and_no_host_path_shows(rig, tmp_path):
    layers = rig.folder / "layers"
    layers.mkdir(exist_ok=True)
    (layers / "here").write_text("a layer")
    worker = await rig.worker(layers=str(layers))
    assert await worker.run("result = open('/opt/here').read()") == "a layer"
    assert await worker.run("import os; result = [os.getcwd(), os.listdir('.')]") == ["/var/task", ["probe.py"]]
    assert await worker.run(f"import os; result = os.path.exists({str(rig.folder)!r})") is False
    mounts = await worker.run("result = [line.split()[4] for line in open('/proc/self/mountinfo')]")
    assert len(mounts) == len(set(mounts)), "something is hidden under a mount"
    places = {"/", "/usr", "/proc", "/tmp", "/opt", "/var/task", "/dev/shm", "/dev/null", "/dev/urandom"}
    assert places <= set(mounts)
    assert not [place for place in mounts if place.startswith(("/work", "/sys", "/boot"))]


async def test_tmp_has_the_ordered_size_and_is_empty(rig):
    worker = await rig.worker(limits={**sandbox_rig.LIMITS, "tmp_bytes": 4 << 20, "tmp_inodes": 20})
    assert await worker.run("import os; s = os.statvfs('/tmp'); result = s.f_blocks * s.f_frsize") == 4 << 20
    assert await worker.run("import os; result = os.listdir('/tmp')") == []
    full = await worker.attempt("with open('/tmp/big', 'wb') as f: f.write(bytes(5 << 20))")
    assert full["errno"] == 28
    many = await worker.attempt("for i in range(30): open(f'/tmp/{i}', 'w').close()")
    assert many["errno"] == 28


async def test_its_descriptors_are_five(rig):
    worker = await rig.worker()
    source = """
    import os
    result = {}
    for fd in range(1024):
        try:
            result[fd] = os.readlink(f"/proc/self/fd/{fd}").split(":")[0], os.get_inheritable(fd)
        except OSError:
            pass
    """
    assert await worker.run(source) == {
        "0": ["/dev/null", True],
        "1": ["pipe", True],
        "2": ["pipe", True],
        "3": ["pipe", False],
        "4": ["pipe", False],
    }


async def test_its_limits_are_the_ordered_ones(rig):
    worker = await rig.worker()
    source = "import resource as r; result = [r.getrlimit(x) for x in (r.RLIMIT_NOFILE, r.RLIMIT_NPROC, r.RLIMIT_CORE)]"
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    core = 0 if hard == 0 and not sandbox_rig.ROOT else 1  # what is lower already, only root may raise
    assert await worker.run(source) == [[1024, 1024], [64, 64], [core, core]]


async def test_a_limit_that_may_not_be_raised_stays_as_it_is(rig):
    # More descriptors than fs.nr_open nobody may have, root neither.
    worker = await rig.worker(limits={**sandbox_rig.LIMITS, "NOFILE": 1 << 40})
    source = "import resource; result = resource.getrlimit(resource.RLIMIT_NOFILE)"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert await worker.run(source) == [hard, hard]


async def test_its_environment_is_what_it_was_given_even_at_exec(rig):
    worker = await rig.worker(environment={"GREETING": "hello"})
    environment = await worker.run("import os; result = dict(os.environ)")
    assert environment["GREETING"] == "hello"
    assert "HOME" not in environment
    if sandbox_rig.ROOT:  # an opaque process is for root's eyes only
        assert environment_at_exec(sandbox_rig.pid_of(await worker.listener.pidfd)) == b""


async def test_what_was_left_out_is_told(rig):
    worker = await rig.worker(skip={"landlock": "because", "network": "host"})
    assert worker.confined.missing == {"cgroup": "no cgroup in this test", "landlock": "because", "network": "host"}
    assert await worker.run("import os; result = os.readlink('/proc/self/ns/net')") == own_namespace("net")


@pytest.mark.parametrize("control", ["mounts", "descriptors", "identity", "nonsense"])
async def test_what_may_not_be_left_out_is_refused(rig, control):
    worker = rig.order(skip={control: "because"})
    refused = await worker.receive()
    assert (type(refused), refused.step) == (wire.Refused, "order")
    assert control in refused.reason
    assert await worker.ended() == ("exit", 70 << 8)


async def test_its_ends_are_told_as_waitpid_gives_them(rig):
    for source, status in (
        ("import os; os._exit(3)", 3 << 8),
        ("import os, signal; signal.signal(6, signal.SIG_DFL); os.abort()", None),
        ("import ctypes; ctypes.string_at(0)", signal.SIGSEGV),
    ):
        worker = await rig.worker()
        worker.send(sandbox_rig.invoke(source))
        assert await worker.receive() is None
        kind, ended = await worker.ended()
        assert kind == "exit"
        if status is not None:
            assert ended == status


async def test_siblings_draw_different_random_numbers(rig):
    source = "import random, os, uuid; result = [random.random(), os.urandom(8).hex(), str(uuid.uuid4())]"
    drawn = [await (await rig.worker()).run(source) for _ in range(5)]
    assert len({value for values in drawn for value in values}) == 15


async def test_the_interpreter_works_and_knows_its_own_library_only(rig):
    worker = await rig.worker()
    path = await worker.run("import sys; result = sys.path")
    assert path[0] == "/var/task"
    assert not [entry for entry in path if "hotfork-tests" in entry]
    source = """
    import concurrent.futures, ctypes, hashlib, multiprocessing, socket, sqlite3, ssl, subprocess, sys, tempfile, threading
    with tempfile.NamedTemporaryFile() as file:
        sqlite3.connect(file.name).execute("create table t (a)")
    version = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, check=True, text=True).stdout
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        total = sum(pool.map(abs, range(-5, 5)))
    lock = multiprocessing.Lock()
    result = [version, total, ssl.create_default_context().cert_store_stats()["x509_ca"] >= 0, len(socket.getaddrinfo("localhost", 80)) > 0]
    """
    assert await worker.run(source) == ["42\n", 25, True, True]


async def test_an_sdk_folder_is_var_runtime():
    folder = sandbox_rig.public()
    sdk = folder / "sdk"
    sdk.mkdir()
    (sdk / "offered.py").write_text("value = 5")
    sdk.chmod(0o755)
    async with sandbox_rig.rig(folder, "root" if sandbox_rig.ROOT else "user", sdk=str(sdk)) as one:
        worker = await one.worker()
        assert await worker.run("import offered; result = [offered.value, offered.__file__]") == [
            5,
            "/var/runtime/offered.py",
        ]


@pytest.mark.skipif(not OTHERS or not sandbox_rig.ROOT, reason="needs root, and other interpreters of pyenv's")
@pytest.mark.parametrize("python", OTHERS)
async def test_other_interpreters_serve_too(python):
    async with sandbox_rig.rig(sandbox_rig.public(), "root", python=python) as one:
        worker = await one.worker()
        assert python.startswith(await worker.run("import sys; result = sys.prefix"))


@pytest.mark.parametrize("mode", sandbox_rig.MODES)
async def test_a_step_that_fails_is_named_and_no_worker_comes_of_it(mode):
    async with sabotage.rig(sandbox_rig.public(), mode) as one:
        absent = one.spawner.missing.keys()
        assert mode == "bare" or not absent - {"identity"}
        steps = [step for step in sabotage.STEPS if step not in absent]
        assert {"limits", "privileges", "landlock", "descriptors", "seccomp"} <= set(steps)
        for step in steps:
            worker = one.order(hostname=f"fail.{step}")
            refused = await worker.receive()
            assert refused == wire.Refused(step, 1, "[Errno 1] sabotage")
            assert await worker.receive() is None
            assert await worker.ended() == ("exit", 70 << 8)
        assert type(await one.order().receive()) is wire.Confined, "the control"


@pytest.mark.parametrize("step", sabotage.STEPS)
async def test_a_worker_killed_at_a_step_leaves_nothing(step):
    mode = "root" if sandbox_rig.ROOT else "user"
    async with sabotage.rig(sandbox_rig.public(), mode) as one:
        worker = one.order(hostname=f"hang.{step}")
        await worker.logged()
        signal.pidfd_send_signal(await worker.listener.pidfd, signal.SIGKILL)
        assert await worker.ended() == ("exit", signal.SIGKILL)
        assert await worker.receive() is None
        assert type(await one.order().receive()) is wire.Confined


async def test_a_narrow_umask_of_the_supervisor_hides_nothing_from_workers():
    folder = sandbox_rig.public()
    before = os.umask(0o077)
    try:
        async with sandbox_rig.rig(folder, "root" if sandbox_rig.ROOT else "user") as one:
            worker = await one.worker()
            assert await worker.run("import os; result = [os.listdir('/usr') != [], os.getcwd()]") == [
                True,
                "/var/task",
            ]
            assert await worker.run("import os; old = os.umask(0); os.umask(old); result = old") == 0o022
    finally:
        os.umask(before)


async def test_an_interpreter_that_workers_could_not_see_is_refused():
    folder = sandbox_rig.public()
    python = interpreter_below(folder)
    with pytest.raises(errors.IsolationError, match="the interpreter lies in"):
        async with sandbox_rig.rig(folder, "root" if sandbox_rig.ROOT else "user", python=python):
            pass


def interpreter_below(folder):
    """Return the path of an interpreter whose home, found from its own place, is the folder."""
    (folder / "bin").mkdir()
    python = folder / "bin" / "python3"
    python.write_bytes(Path("/usr/bin/python3").read_bytes())
    python.chmod(0o755)
    (folder / "lib").mkdir()
    library = next(Path("/usr/lib").glob("python3.1[1-9]"))
    (folder / "lib" / library.name).symlink_to(library)
    return str(python)


@pytest.mark.skipif(not sandbox_rig.ROOT, reason="needs root")
async def test_a_mount_and_a_network_of_the_supervisors_making_are_used():
    async with sandbox_rig.rig(sandbox_rig.public(), "root") as one:
        tmp = kernel.new_filesystem("tmpfs", {"size": "3m", "mode": "1777"}, kernel.NOSUID | kernel.NODEV)
        network = network_namespace()
        worker = await one.worker(tmp_fd=tmp, netns_fd=network)
        size = "import os; s = os.statvfs('/tmp'); result = s.f_blocks * s.f_frsize"
        assert await worker.run(size) == 3 << 20
        await worker.run("open('/tmp/x', 'w').close()")
        inode = await worker.run("import os; result = os.stat('/proc/self/ns/net').st_ino")
        assert inode == os.fstat(network).st_ino
        # Moved, not copied: it cannot become another worker's as well.
        refused = await one.order(tmp_fd=tmp).receive()
        assert (type(refused), refused.step) == (wire.Refused, "tmp")
        os.close(tmp)
        os.close(network)


def network_namespace():
    """Return a descriptor of a new network namespace."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        kernel.unshare(kernel.CLONE_NEWNET)
        os.write(write_end, b"x")
        signal.pause()
    os.read(read_end, 1)
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(read_end)
    os.close(write_end)
    return fd
