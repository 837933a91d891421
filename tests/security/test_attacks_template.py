"""Templates: what a function may do in one beyond what it may in a worker, and what it may not all the same.

A template ran its function's code and then forks copies, so its filter lets it make the namespaces of a copy and mount
in them, and it has no Landlock. docs/security.md says by how much it is weaker; these tests hold it to that.
"""

import errno
import json
import os
import platform
import socket
import textwrap

import attacks
import pytest
import pytest_asyncio
import sandbox_rig
import template_rig

from runtime import wire
from runtime.pool import copied
from runtime.worker import seccomp, syscalls

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(platform.machine() not in syscalls.NUMBERS, reason="no filter for this architecture"),
]
CALLS = {**syscalls.NUMBERS.get(platform.machine(), {}), **syscalls.OF_TEMPLATES.get(platform.machine(), {})}
NO_FILTER = {"seccomp": "the control of a test"}
COPIES = """
import json
def in_copy(function):
    # A process as a copy is born: in namespaces of its own, with every right over them.
    ours, theirs = os.pipe()
    pid = syscall(CLONE, COPY | signal.SIGCHLD, 0, 0, 0, 0)
    if not pid:
        try:
            libc.prctl(4, 1, 0, 0, 0)
            for name, text in (("setgroups", "deny"), ("uid_map", f"{IDS[0]} {IDS[0]} 1"), ("gid_map", f"{IDS[1]} {IDS[1]} 1")):
                open("/proc/self/" + name, "w").write(text)
            told = function()
        except OSError as error:
            told = errno.errorcode[error.errno]
        except BaseException as error:
            told = repr(error)
        os.write(theirs, json.dumps(told).encode())
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(told)
def outcome(function):
    try:
        return function()
    except OSError as error:
        return errno.errorcode[error.errno]
IDS = os.getuid(), os.getgid()
"""
COPIES += f"CLONE, COPY = {CALLS.get('clone', 0)}, {seccomp.COPY}\n"


@pytest_asyncio.fixture(scope="module", params=sandbox_rig.STRONG, loop_scope="module")
async def rig(request):
    async with sandbox_rig.rig(sandbox_rig.public(), request.param) as one:
        template_rig.furnish(one)
        yield one


async def in_template(rig, source, **changes):
    """Run an attack in the init of a template; return what it left in ``result``."""
    init = f"import errno, json\n{attacks.source(COPIES + textwrap.dedent(source))}\nprint('RESULT', json.dumps(result), flush=True)"
    async with template_rig.ordered(rig, **changes) as template:
        answer = await template.snap({"INIT": init})
        log = template.read_log().decode()
        assert "RESULT" in log, (answer, log)
        return json.loads(log.partition("RESULT ")[2].splitlines()[0])


NEW = {"NS": 0x20000, "CGROUP": 0x2000000, "UTS": 0x4000000, "IPC": 0x8000000, "USER": 0x10000000, "PID": 0x20000000, "NET": 0x40000000}  # fmt: skip
OTHER_SETS = {
    **NEW,
    "a copy's and a network": seccomp.COPY | NEW["NET"],
    "a copy's and a name": seccomp.COPY | NEW["UTS"],
    "a copy's without pids": seccomp.COPY & ~NEW["PID"],
    "a copy's without mounts": seccomp.COPY & ~NEW["NS"],
    "all": sum(NEW.values()),
}


async def test_a_template_makes_a_copys_namespaces_and_no_others(rig):
    source = f"""
    result = {{}}
    for name, flags in {OTHER_SETS!r}.items():
        def clone():
            pid = syscall({CALLS["clone"]}, flags | signal.SIGCHLD, 0, 0, 0, 0)
            if not pid:
                os._exit(0)
            os.waitpid(pid, 0)
        result[name] = outcome(clone)
        result["unshare " + name] = outcome(lambda: syscall({CALLS["unshare"]}, flags))
    result["a copy's"] = in_copy(os.getpid)
    """
    found = await in_template(rig, source)
    assert found.pop("a copy's") == 1
    assert set(found.values()) == {"EPERM"}
    unfiltered = source.replace("syscall(%d, flags))" % CALLS["unshare"], "0)").replace("in_copy(os.getpid)", "0")  # noqa: UP031
    control = await in_template(rig, unfiltered, skip=NO_FILTER)
    assert [control[name] for name in ("USER", "all", "a copy's and a network")] == [None] * 3


MOUNTS = """
def mount(kind, place=b"/mnt"):
    context = syscall({fsopen}, kind, 0)
    syscall({fsconfig}, context, 6, None, None, 0)
    fd = syscall({fsmount}, context, 0, 0)
    syscall({move_mount}, fd, b"", -100, place, 4)
    return os.listdir(place.decode())
"""


async def test_a_template_itself_mounts_nothing(rig):
    source = (
        MOUNTS.format(**CALLS) + 'result = [outcome(lambda: mount(kind)) for kind in (b"tmpfs", b"proc", b"ramfs")]'
    )
    assert set(await in_template(rig, source)) == {"EPERM"}
    copies = MOUNTS.format(**CALLS) + 'result = in_copy(lambda: mount(b"tmpfs"))'
    assert await in_template(rig, copies) == [], "the control: what it starts as a copy does mount"


async def test_what_copies_can_mount_shows_nothing_of_others(rig):
    source = (
        MOUNTS.format(**CALLS)
        + """
kinds = (b"sysfs", b"cgroup", b"cgroup2", b"ext4", b"squashfs", b"devtmpfs", b"securityfs", b"debugfs", b"tracefs",
         b"configfs", b"efivarfs", b"pstore")
result = {kind.decode(): in_copy(lambda: outcome(lambda: mount(kind))) for kind in kinds}
result["proc"] = in_copy(lambda: [name for name in mount(b"proc") if name.isdigit()])
result["devices"] = in_copy(lambda: (mount(b"tmpfs"), outcome(lambda: os.mknod("/mnt/mem", 0o20666, os.makedev(1, 1))))[1])
"""
    )
    found = await in_template(rig, source)
    assert found.pop("proc") == ["1"], "only its own processes"
    assert set(found.values()) <= {"EPERM", "EACCES", "ENODEV", "EINVAL", "ENOTBLK"}, found
    host = attacks.on_the_host("import os; result = len([name for name in os.listdir('/proc') if name.isdigit()]) > 1")
    assert host["result"] is True


WRITES = ("kernel/core_pattern", "kernel/modprobe", "vm/overcommit_memory", "net/ipv4/ip_forward", "kernel/hostname")


async def test_the_machines_settings_cannot_be_written_by_a_proc_of_a_copys_own(rig):
    source = (
        MOUNTS.format(**CALLS)
        + f"""
def write():
    mount(b"proc")
    names = [f"/mnt/sys/{{name}}" for name in {WRITES!r}] + ["/mnt/sysrq-trigger"]
    return {{name: outcome(lambda: open(name, "w").write("0")) for name in names}}
result = in_copy(write)
"""
    )
    found = await in_template(rig, source)
    assert set(found.values()) <= {"EACCES", "EPERM", "EROFS", "ENOENT"}, found


async def test_what_a_template_starts_reaches_nobody(rig):
    """Neither the template nor siblings, by signal, by tracing, nor by /proc."""
    sibling = await rig.worker()
    pid = sandbox_rig.pid_of(await sibling.listener.pidfd)
    source = f"""
    victim = os.fork()
    if not victim:
        time.sleep(1000)
    def reach():
        found = []
        for target in (victim, os.getppid(), 2, {pid}):
            found.append(outcome(lambda: os.kill(target, 9)) if target > 0 else "ESRCH")
            found.append(outcome(lambda: syscall({CALLS.get("ptrace", 101)}, 16, target, 0, 0)))
        try:
            os.kill(-1, 9)
        except OSError as error:
            found.append(errno.errorcode[error.errno])
        return found
    told = in_copy(reach)
    alive = os.waitpid(victim, os.WNOHANG) == (0, 0)
    os.kill(victim, 9)
    os.waitpid(victim, 0)
    result = [told, alive]
    """
    told, alive = await in_template(rig, source)
    assert alive is True
    assert set(told) <= {"ESRCH", "EPERM"}, told
    assert await sibling.run("result = 'alive'") == "alive"


async def test_memory_and_files_of_a_copy_cannot_be_opened_by_its_template(rig):
    """The template sees its copies' pids; they are opaque, and the calls that read memory are refused."""
    init = attacks.source("""
    def look(pid):
        found = {}
        for name in ("mem", "environ", "maps", "root/tmp", "cwd", "fd", "ns/mnt"):
            try:
                os.listdir(f"/proc/{pid}/{name}") if name in ("root/tmp", "cwd", "fd") else os.open(f"/proc/{pid}/{name}", 0)
                found[name] = 0
            except OSError as error:
                found[name] = error.errno
        return found
    frame = sys._getframe()
    while "_Template" not in frame.f_globals:
        frame = frame.f_back
    template = frame.f_globals["_Template"]
    say = template._say
    def reap(self):
        if self.copies:
            print("FOUND", {pid: look(pid) for pid in self.copies}, "SELF", look(os.getpid()), flush=True)
        original(self)
    original = template._reap
    template._reap = reap
    import signal
    """)
    async with template_rig.snapped(rig, {"INIT": init}) as template:
        copy, other = await template.copy(), await template.copy()
        os.kill(other.pid, 9)  # has the template look
        await template.hear()
        log = template.read_log().decode()
        seen, _, own = log.partition("FOUND ")[2].splitlines()[0].partition(" SELF ")
        seen = eval(seen)
        assert seen
        assert copy.pid
        first, *_ = seen  # the one that lives: they are in the order of their birth
        assert set(seen[first].values()) == {errno.EACCES}, seen
        assert eval(own)["fd"] == 0, "the control: what it may, it finds"
        assert await copy.run("result = 'alive'") == "alive"


async def test_nobody_says_to_be_another_process(rig):
    """The kernel lets a sender name only its own pid, or, with rights over its namespace, one within it."""
    source = f"""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    def claim(pid):
        return theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, 2, struct.pack("iII", pid, *IDS))])
    result = [outcome(lambda: claim(pid)) for pid in (1, {os.getpid()}, os.getppid())]
    result += in_copy(lambda: [outcome(lambda: claim(pid)) for pid in (2, {os.getpid()}, 1)])
    ours.close(), theirs.close()
    """
    assert await in_template(rig, source) == ["EPERM", "EPERM", "EPERM", "ESRCH", "ESRCH", 1]


async def test_the_supervisor_knows_a_copy_from_what_is_none(rig):
    async with template_rig.snapped(rig) as template:
        copy = await template.copy()
        first = sandbox_rig.pid_of(await template.listener.pidfd)
        runner = int(copied._status(copy.pid)["PPid"])
        plain = sandbox_rig.pid_of(await (await rig.worker()).listener.pidfd)
        assert copied._is_copy(copy.pid, first)
        for other in (first, runner, plain, os.getpid(), 1, 2**22 - 1):
            assert not copied._is_copy(other, first)
        assert copied._flaw(copy.pid, 2) == ""
        assert copied._flaw(runner, 2) == "a copy did not seal itself"
        assert copied._flaw(os.getpid(), 0) != "", "this process is not sealed, and as root has capabilities"


SWEEP = """
result = {}
for nr in %r:
    try:
        syscall(nr, -1, -1, -1, -1, -1, -1)
        result[nr] = 0
    except OSError as error:
        result[nr] = error.errno
"""


async def test_a_copy_is_refused_every_system_call_that_a_worker_is(rig):
    listed = syscalls.NUMBERS[platform.machine()].values()
    unfiltered = {335, 336} if platform.machine() == "x86_64" else set()
    refused = [nr for nr in range(syscalls.NEWEST + 1) if nr not in listed and nr not in unfiltered]
    unknown = list(range(syscalls.NEWEST + 1, 1024))
    async with template_rig.snapped(rig) as template:
        copy = await template.copy()
        answers = await copy.run(attacks.source(SWEEP % (refused + unknown,)))
        assert {int(nr) for nr, code in answers.items() if code != errno.EPERM} == set(unknown)
        answer = await copy.attempt(
            attacks.source(f"syscall({CALLS['clone']}, {seccomp.COPY} | signal.SIGCHLD, 0, 0, 0, 0)")
        )
        assert answer["errno"] == errno.EPERM, "a copy makes no copies"
        plain = await rig.worker({"WHO": "plain"})
        assert await plain.run(attacks.source(SWEEP % (refused + unknown,))) == answers


COPY_WALLS = {
    "write to /var/task": "open('/var/task/new', 'w')",
    "write to /usr": "open('/usr/new', 'w')",
    "write to /proc": "open('/proc/self/comm', 'w').write('x')",
    "mount": "import ctypes; l = ctypes.CDLL(None, use_errno=True)\nif l.mount(b'none', b'/mnt', b'tmpfs', 0, None): raise OSError(ctypes.get_errno(), '')",
    "device": "import os; os.mknod('/tmp/mem', 0o20666, os.makedev(1, 1))",
    "raw socket": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
}


@pytest.mark.parametrize("attack", COPY_WALLS)
async def test_a_copy_has_a_workers_walls(rig, attack):
    async with template_rig.snapped(rig) as template:
        copy, plain = await template.copy(), await rig.worker({"WHO": "plain"})
        answers = [(await one.attempt(COPY_WALLS[attack])).get("errno") for one in (copy, plain)]
        assert answers[0] in (errno.EACCES, errno.EPERM, errno.EROFS)
        assert answers[0] == answers[1]


async def test_copies_of_one_template_share_its_network_and_nothing_else(rig):
    """Said in docs/security.md: a copy reaches what another of the same template listens to."""
    async with template_rig.snapped(rig) as template:
        one, other = await template.copy(), await template.copy()
        listen = """
        import builtins, socket
        builtins.kept = socket.create_server(("127.0.0.1", 0))
        builtins.abstract = socket.socket(socket.AF_UNIX)
        builtins.abstract.bind("\\0of a copy")
        builtins.abstract.listen()
        result = kept.getsockname()[1]
        """
        port = await one.run(listen)
        connect = "import socket; c = socket.socket(socket.{0}); c.connect({1!r}); result = 'connected'"
        assert await other.run(connect.format("AF_INET", ("127.0.0.1", port))) == "connected"
        assert (await other.attempt(connect.format("AF_UNIX", "\0of a copy")))["errno"] == errno.EPERM
        plain = await rig.worker({"WHO": "plain"})
        assert (await plain.attempt(connect.format("AF_INET", ("127.0.0.1", port))))["errno"] == errno.ECONNREFUSED


async def test_descriptors_that_a_template_sends_go_nowhere(rig):
    """Neither by its door nor by its pipes does the supervisor take any."""
    async with template_rig.ordered(rig) as template:
        init = attacks.source("""
        door = socket.socket(fileno=os.dup(5))
        socket.send_fds(door, [b"x"], [0, 1])
        door.close()
        """)
        await template.snap({"INIT": init})
        template.door.setblocking(False)
        packet, ancillary, flags, _ = template.door.recvmsg(wire.PACKET_LIMIT, socket.CMSG_SPACE(12))
        assert packet == b"x"
        assert [kind for _, kind, _ in ancillary] == [2]  # SCM_CREDENTIALS
        assert flags & socket.MSG_CTRUNC
