"""System calls, sockets and ioctls that a function has no business with."""

import errno
import platform
import signal
import socket

import attacks
import golden
import pytest
import sandbox_rig

from runtime.worker import seccomp, syscalls

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(platform.machine() not in syscalls.NUMBERS, reason="no filter for this architecture"),
]
NUMBERS = syscalls.NUMBERS.get(platform.machine(), {})
NO_FILTER = {"seccomp": "the control of a test", "landlock": "the control of a test"}
UNFILTERED = {335, 336} if platform.machine() == "x86_64" else set()
"""uretprobe and uprobe: the kernel itself lets them past every filter, and kills who calls them uninvited."""
X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="x86 only")

SWEEP = """
result = {}
for nr in %r:
    try:
        syscall(nr, -1, -1, -1, -1, -1, -1)
        result[nr] = 0
    except OSError as error:
        result[nr] = error.errno
"""


async def test_every_system_call_that_is_not_listed_is_refused(rig):
    refused = [nr for nr in range(syscalls.NEWEST + 1) if nr not in NUMBERS.values() and nr not in UNFILTERED]
    unknown = list(range(syscalls.NEWEST + 1, 1024))
    worker = await rig.worker()
    answers = await worker.run(attacks.source(SWEEP % (refused + unknown,)))
    assert {int(nr) for nr, code in answers.items() if code != errno.EPERM} == set(unknown)
    assert {code for nr, code in answers.items() if int(nr) in unknown} == {errno.ENOSYS}


# With arguments that can do no harm: where nothing refuses them, the kernel says what is wrong with them.
CALLS = {
    "x86_64": {"ptrace": 101, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
               "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432, "mount_setattr": 442, "bpf": 321,
               "perf_event_open": 298, "userfaultfd": 323, "keyctl": 250, "add_key": 248, "request_key": 249,
               "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_getfd": 438, "kcmp": 312,
               "name_to_handle_at": 303, "mknodat": 259, "vmsplice": 278},
    "aarch64": {"ptrace": 117, "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
                "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432, "mount_setattr": 442, "bpf": 280,
                "perf_event_open": 241, "userfaultfd": 282, "keyctl": 219, "add_key": 217, "request_key": 218,
                "process_vm_readv": 270, "process_vm_writev": 271, "pidfd_getfd": 438, "kcmp": 272,
                "name_to_handle_at": 264, "mknodat": 33, "vmsplice": 75},
}.get(platform.machine(), {})  # fmt: skip


async def test_the_refusals_are_the_filters_doing(rig):
    """The control of the sweep: the same calls get other answers where there is no filter."""
    worker = await rig.worker()
    source = attacks.source(SWEEP % (list(CALLS.values()),))
    assert set((await worker.run(source)).values()) == {errno.EPERM}
    host = attacks.on_the_host(SWEEP % (list(CALLS.values()),), privileged=True)["result"]
    same = {name for name, nr in CALLS.items() if host[str(nr)] == errno.EPERM}
    assert not same - {"keyctl"}  # some machines have no keyrings


@pytest.mark.parametrize("flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
async def test_clone_makes_no_namespace(rig, flag):
    worker = await rig.worker()
    source = f"""
    pid = syscall({NUMBERS["clone"]}, {flag} | signal.SIGCHLD, 0, 0, 0, 0)
    if not pid: os._exit(0)
    result = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    """
    assert (await worker.attempt(attacks.source(source)))["errno"] == errno.EPERM
    assert attacks.on_the_host(source, privileged=True)["result"] == 0


async def test_clone3_and_io_uring_are_as_if_they_did_not_exist(rig):
    worker = await rig.worker()
    for name in ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"):
        answer = await worker.attempt(attacks.source(f"syscall({NUMBERS[name]}, -1, -1, -1, -1, -1, -1)"))
        assert answer["errno"] == errno.ENOSYS


SOCKETS = [
    ("raw", socket.AF_INET, socket.SOCK_RAW, 1),
    ("raw6", socket.AF_INET6, socket.SOCK_RAW, 58),
    ("packet", socket.AF_PACKET, socket.SOCK_RAW, 0),
    ("netlink generic", socket.AF_NETLINK, socket.SOCK_RAW, 16),
    ("netlink audit", socket.AF_NETLINK, socket.SOCK_RAW, 9),
]


@pytest.mark.parametrize(
    ("family", "kind", "protocol"), [case[1:] for case in SOCKETS], ids=[case[0] for case in SOCKETS]
)
async def test_sockets_that_are_not_for_functions(rig, family, kind, protocol):
    worker = await rig.worker()
    source = f"result = socket.socket({int(family)}, {int(kind)}, {protocol}).fileno()"
    assert (await worker.attempt(attacks.source(source)))["errno"] == errno.EPERM
    assert attacks.on_the_host(source, privileged=True)["result"] > 2


@pytest.mark.parametrize("family", [17, 31, 38, 40, 44])  # PACKET, BLUETOOTH, ALG, VSOCK, XDP
async def test_families_are_refused_before_the_kernel_looks_for_them(rig, family):
    worker = await rig.worker()
    answer = await worker.attempt(attacks.source(f"socket.socket({family}, 3, 0)"))
    assert answer["errno"] == errno.EPERM


async def test_sockets_that_are_for_functions(rig):
    worker = await rig.worker()
    source = """
    sockets = [socket.socket(f, k) for f in (socket.AF_INET, socket.AF_INET6) for k in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    sockets += socket.socketpair()
    sockets.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
    result = len(sockets)
    """
    assert await worker.run(attacks.source(source)) == 7


@pytest.mark.parametrize("request_number", [0x5412, 0x541C, 0x5423])
@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
async def test_terminal_ioctls_are_refused_with_and_without_high_bits(rig, request_number, high):
    source = attacks.source(f"syscall({NUMBERS['ioctl']}, 0, {high | request_number}, 0)")
    worker = await rig.worker()
    assert (await worker.attempt(source))["errno"] == errno.EPERM
    control = await rig.worker(skip=NO_FILTER)
    assert (await control.attempt(source))["errno"] == errno.ENOTTY


INT80 = """
import mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex("5389c0b814000000cd805bc3"))  # push rbx; mov eax, 20 (getpid); int 0x80; pop rbx; ret
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
result = in_child(ctypes.CFUNCTYPE(ctypes.c_int)(address))
"""


@X86
async def test_int_0x80_kills(rig):
    worker = await rig.worker()
    assert await worker.run(attacks.source(INT80)) & 0x7F == signal.SIGSYS
    control = await rig.worker(skip=NO_FILTER)
    assert await control.run(attacks.source(INT80)) in (0, signal.SIGSEGV)  # a kernel without 32-bit calls


@X86
async def test_x32_is_refused(rig):
    worker = await rig.worker()
    source = attacks.source(f"syscall({seccomp.X32_BIT} | 39)")
    assert (await worker.attempt(source))["errno"] == errno.EPERM
    control = await rig.worker(skip=NO_FILTER)
    answer = await control.attempt(source)
    assert answer.get("errno") in (None, errno.ENOSYS)


async def test_the_filter_cannot_be_taken_off(rig):
    worker = await rig.worker()
    for mode in (0, 1):
        answer = await worker.attempt(
            attacks.source(f"if libc.prctl(22, {mode}, 0, 0, 0): raise OSError(ctypes.get_errno(), '')")
        )
        assert answer["errno"] == errno.EINVAL
    assert (await worker.attempt(attacks.source(f"syscall({CALLS['unshare']}, 0)")))["errno"] == errno.EPERM


async def test_a_program_that_is_executed_has_the_filter_too(rig):
    worker = await rig.worker()
    source = "result = subprocess.run(['/usr/bin/unshare', '-U', 'true'], capture_output=True, text=True).stderr"
    assert "Operation not permitted" in await worker.run(attacks.source(source))
    if not sandbox_rig.ROOT:
        return
    host = attacks.on_the_host("result = subprocess.run(['/usr/bin/unshare', '-U', 'true']).returncode")
    assert host["result"] == 0


CLOCK = """
import errno
result = {}
for name, call in {
    "settimeofday": lambda: libc.settimeofday(struct.pack("qq", 1, 0), None),
    "clock_settime": lambda: libc.clock_settime(0, struct.pack("qq", 1, 0)),
    "adjtimex": lambda: libc.adjtimex(struct.pack("I4xq", 2, 1) + bytes(200)),
    "sethostname": lambda: libc.sethostname(b"x", 1),
    "setdomainname": lambda: libc.setdomainname(b"x", 1),
    "setpriority": lambda: libc.setpriority(0, 0, -5),
    "scheduler": lambda: libc.sched_setscheduler(0, 1, struct.pack("i", 50)),
    "realtime io": lambda: libc.syscall(IOPRIO_SET, 1, 0, 1 << 13),
}.items():
    result[name] = errno.errorcode[ctypes.get_errno()] if call() < 0 else 0
"""


async def test_clock_name_and_rank_are_not_a_functions_to_set(rig):
    worker = await rig.worker()
    source = f"IOPRIO_SET = {NUMBERS['ioprio_set']}\n{attacks.textwrap.dedent(CLOCK)}"
    found = await worker.run(attacks.source(source))
    assert set(found.values()) <= {"EPERM", "EACCES"}, found
    if sandbox_rig.ROOT:
        host = attacks.on_the_host("result = libc.sched_setscheduler(0, 1, struct.pack('i', 50))")
        assert host["result"] == 0, "the control"


async def test_the_filters_are_those_of_the_golden_files():
    """What a function may call changes by intent only: write the file anew with ``python tests/golden.py``."""
    for machine in syscalls.NUMBERS:
        assert golden.path(machine).read_text() == golden.table(machine)
