"""What a function can read and change of the file system: its /tmp."""

import errno
import os
import sys

import attacks
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)

WRITES = {
    "create": "open('{place}/new', 'w').close()",
    "unlink": "os.unlink('{place}/{file}')",
    "overwrite": "open('{place}/{file}', 'r+').close()",
    "truncate": "os.truncate('{place}/{file}', 0)",
    "chmod": "os.chmod('{place}/{file}', 0o777)",
    "chown": "os.chown('{place}/{file}', os.getuid(), os.getgid())",
    "rename": "os.rename('{place}/{file}', '{place}/other')",
    "link": "os.link('{place}/{file}', '{place}/other')",
    "symlink": "os.symlink('/etc/passwd', '{place}/other')",
    "mkdir": "os.mkdir('{place}/folder')",
    "utime": "os.utime('{place}/{file}')",
    "setxattr": "os.setxattr('{place}/{file}', 'user.a', b'b')",
}


@pytest.mark.parametrize("attack", WRITES)
async def test_nothing_of_what_a_function_sees_can_be_changed(rig, attack):
    layers = rig.folder / "layers"
    layers.mkdir(exist_ok=True)
    (layers / "file").write_text("x")
    layers.chmod(0o777)
    (layers / "file").chmod(0o666)
    worker = await rig.worker(layers=str(layers))
    for place, file in (
        ("/var/task", "probe.py"),
        ("/opt", "file"),
        ("/usr/bin", "env"),
        ("/etc", "passwd"),
        ("", "bin"),
    ):
        answer = await worker.attempt(attacks.source(WRITES[attack].format(place=place, file=file)))
        assert answer.get("errno") in (*REFUSED, errno.EISDIR), (place, answer)
    assert {path.name: path.read_text() for path in layers.iterdir()} == {"file": "x"}


@pytest.mark.parametrize("attack", WRITES)
async def test_the_same_changes_succeed_where_no_mount_forbids_them(attack, tmp_path):
    (tmp_path / "file").write_text("x")
    answer = attacks.on_the_host(WRITES[attack].format(place=tmp_path, file="file"))
    assert answer == {"result": None}


async def test_tmp_is_for_everything(rig):
    worker = await rig.worker()
    for name, attack in WRITES.items():
        place = f"/tmp/{name}"
        await worker.run(f"import os; os.mkdir('{place}'); open('{place}/file', 'w').close()")
        answer = await worker.attempt(attacks.source(attack.format(place=place, file="file")))
        assert answer == {"result": None} or (name, answer["errno"]) == ("setxattr", errno.EOPNOTSUPP)
    await worker.run(
        "import os; os.mkdir('/tmp/a'); os.mkdir('/tmp/b'); open('/tmp/a/x', 'w').close(); os.rename('/tmp/a/x', '/tmp/b/x')"
    )
    ran = "import subprocess, shutil; shutil.copy('/bin/true', '/tmp/true'); result = subprocess.run(['/tmp/true']).returncode"
    assert await worker.run(ran) == 0


async def test_remounting_is_refused(rig):
    source = """
    for place in (b"/", b"/var/task", b"/usr", b"/proc"):
        for flags in (0x1020, 0x1000, 0x20, 0x40000, 0x80000):  # REMOUNT|BIND, BIND, REMOUNT, PRIVATE, SLAVE
            assert libc.mount(b"none", place, None, flags, None) == -1 and ctypes.get_errno() in (1, 13), (place, flags)
    assert libc.umount2(b"/proc", 2) == -1
    """
    worker = await rig.worker()
    await worker.run(attacks.source(source))
    control = "result = libc.mount(b'none', b'/', None, 0x44000, None)"
    assert attacks.on_the_host(control, privileged=True)["result"] == 0


async def test_another_functions_code_has_no_path(rig):
    other = rig.folder / "other function"
    other.mkdir(exist_ok=True)
    (other / "hotfork-secret").write_text("secret = 1")
    sibling = await rig.worker(layers=str(other))
    worker = await rig.worker()
    assert await sibling.run("result = open('/opt/hotfork-secret').read()") == "secret = 1"
    find = """
    found = []
    for base in ("/", "/opt", "/var", "/proc", "/tmp", "/mnt", "/run", "/home"):
        for folder, folders, files in os.walk(base):
            folders[:] = [name for name in folders if not folder.startswith(("/usr", "/proc/1/task"))]
            found += [os.path.join(folder, name) for name in files if name == "hotfork-secret"]
    result = found
    """
    assert await worker.run(attacks.source(find)) == []
    for path in (
        str(other),
        str(rig.folder),
        "/proc/1/root" + str(other),
        "/../.." + str(other),
        f"/proc/1/cwd/../../..{other}",
    ):
        assert await worker.run(f"import os; result = os.path.exists({path!r})") is False


async def test_the_hosts_files_have_no_path(rig):
    worker = await rig.worker()
    # What lies beside the interpreter (its prefix) is there, and nothing else of its parents.
    parents = [path for path in ("/root", "/home") if not sys.base_prefix.startswith(path)]
    for path in ("/etc/shadow", "/boot", "/sys/kernel", "/sys/fs", "/var/lib", "/var/log", "/dev/mem", "/dev/kmsg", "/dev/fuse",
                 "/dev/kvm", "/dev/vda", "/dev/tty", "/dev/pts", "/run/user", "/proc/kcore", "/proc/sys", "/proc/sysrq-trigger",
                 "/proc/kallsyms", "/proc/modules", "/proc/keys", "/proc/bus", "/proc/meminfo"):  # fmt: skip
        assert await worker.run(f"import os; result = os.path.exists({path!r})") is False, path
    for path in parents:
        assert await worker.run(f"import os; result = os.path.exists({path!r}) and os.listdir({path!r})") in (False, [])
    assert os.path.exists("/proc/sys")  # noqa: ASYNC240, PTH110 - the control


async def test_processes_of_the_host_have_no_path(rig):
    worker = await rig.worker()
    pids = [os.getpid(), rig.spawner.pid, 2]
    for pid in pids:
        assert await worker.run(f"import os; result = os.path.exists('/proc/{pid}')") is False
    for name in ("environ", "mem", "io", "auxv"):
        assert (await worker.attempt(f"open('/proc/1/{name}', 'rb').read(10)"))["errno"] in REFUSED


async def test_its_own_interpreter_cannot_be_overwritten(rig):
    worker = await rig.worker()
    for mode in ("r+b", "wb", "ab"):
        answer = await worker.attempt(f"open('/proc/self/exe', {mode!r})")
        assert answer["errno"] in (*REFUSED, errno.ETXTBSY)


async def test_oom_score_and_the_like_cannot_be_written(rig):
    worker = await rig.worker()
    for name in (
        "oom_score_adj",
        "coredump_filter",
        "uid_map",
        "setgroups",
        "attr/current",
        "clear_refs",
        "timerslack_ns",
    ):
        answer = await worker.attempt(f"open('/proc/self/{name}', 'w').write('0')")
        assert answer["errno"] in (*REFUSED, errno.ENOENT, errno.EINVAL), name
    assert attacks.on_the_host("result = open('/proc/self/oom_score_adj', 'w').write('500')") == {"result": 3}


async def test_no_mount_honours_set_user_id_bits(rig):
    worker = await rig.worker()
    lines = await worker.run("result = open('/proc/self/mountinfo').read().splitlines()")
    assert lines
    assert [line for line in lines if "nosuid" not in line.split()[5].split(",")] == []
    source = """
    import shutil
    shutil.copy("/usr/bin/id", "/tmp/id")
    os.chmod("/tmp/id", 0o6755)
    result = subprocess.run(["/tmp/id", "-u"], capture_output=True, text=True).stdout.strip()
    """
    assert await worker.run(attacks.source(source)) == await worker.run("import os; result = str(os.getuid())")


async def test_device_nodes_cannot_be_made(rig):
    worker = await rig.worker()
    assert (await worker.attempt("import os; os.mknod('/tmp/mem', 0o20666, os.makedev(1, 1))"))["errno"] == errno.EPERM
    lines = await worker.run("result = open('/proc/self/mountinfo').read().splitlines()")
    with_devices = {line.split()[4] for line in lines if "nodev" not in line.split()[5].split(",")}
    assert with_devices - {"/"} == {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}


async def test_landlock_is_a_second_wall(rig):
    """Without the filter and with a writable mount, as a mistake of ours would leave it, the path is still refused."""
    source = "import os; result = open('/dev/null', 'w').write('x')"
    worker = await rig.worker(skip={"seccomp": "the control of a test"})
    assert await worker.run(source) == 1
    status = "result = [line for line in open('/proc/self/status') if line.startswith('Seccomp:')]"
    assert await worker.run(status) == ["Seccomp:\t0\n"]
    assert (await worker.attempt("open('/proc/self/comm', 'w').write('x')"))["errno"] == errno.EACCES


async def test_chroot_and_its_escapes(rig):
    worker = await rig.worker()
    assert (await worker.attempt("import os; os.mkdir('/tmp/jail'); os.chroot('/tmp/jail')"))["errno"] == errno.EPERM
    listed = await worker.run(
        "import os; os.chdir('/..'); result = sorted(os.listdir('../../..')) == sorted(os.listdir('/'))"
    )
    assert listed is True


async def test_no_core_is_left(rig):
    source = """
    os.chdir("/tmp")
    status = in_child(lambda: ctypes.string_at(0))
    result = [os.WTERMSIG(status), os.WCOREDUMP(status), os.listdir("/tmp")]
    """
    worker = await rig.worker()
    assert await worker.run(attacks.source(source)) == [11, False, []]
    raise_it = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
    assert (await worker.attempt(raise_it))["error"] in ("PermissionError", "ValueError")
