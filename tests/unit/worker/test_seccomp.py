"""The filter's decisions, by interpreting its program: no kernel is asked."""

import stat

import bpf
import pytest

from runtime.worker import seccomp, syscalls

MACHINES = ["x86_64", "aarch64"]
PROGRAM = {machine: seccomp.program(machine) for machine in MACHINES}
FORBIDDEN = [
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "pidfd_getfd",
    "kcmp",
    "name_to_handle_at",
    "open_by_handle_at",
    "io_setup",
    "io_submit",
    "io_destroy",
    "io_getevents",
    "io_cancel",
    "vmsplice",
    "memfd_secret",
    "modify_ldt",
    "chroot",
    "mount",
    "umount2",
    "pivot_root",
    "unshare",
    "setns",
    "fsopen",
    "fsmount",
    "fsconfig",
    "fspick",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "quotactl",
    "syslog",
    "acct",
    "settimeofday",
    "clock_settime",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "vhangup",
    "fanotify_init",
    "lookup_dcookie",
    "personality_",
    "clone3_",
    "io_uring_",
]
NUMBERS_OF_FORBIDDEN = {
    "x86_64": {"ptrace": 101, "mount": 165, "unshare": 272, "setns": 308, "bpf": 321, "keyctl": 250, "userfaultfd": 323,
               "perf_event_open": 298, "pidfd_getfd": 438, "open_tree": 428, "fsopen": 430, "chroot": 161, "mknod": 133,
               "process_vm_readv": 310, "init_module": 175, "kexec_load": 246, "reboot": 169, "pivot_root": 155,
               "open_by_handle_at": 304, "modify_ldt": 154, "kcmp": 312, "vmsplice": 278, "io_setup": 206, "iopl": 172},
    "aarch64": {"ptrace": 117, "mount": 40, "unshare": 97, "setns": 268, "bpf": 280, "keyctl": 219, "userfaultfd": 282,
                "perf_event_open": 241, "pidfd_getfd": 438, "open_tree": 428, "fsopen": 430, "chroot": 51,
                "mknodat": 33, "process_vm_readv": 270, "init_module": 105, "kexec_load": 104, "reboot": 142,
                "pivot_root": 41, "open_by_handle_at": 265, "kcmp": 272, "vmsplice": 75, "io_setup": 0},
}  # fmt: skip


def ask(machine, name_or_nr, *arguments):
    nr = syscalls.NUMBERS[machine][name_or_nr] if isinstance(name_or_nr, str) else name_or_nr
    return bpf.run(PROGRAM[machine], nr, seccomp.ARCHITECTURES[machine], *arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_is_treated_as_the_tables_say(machine):
    names = {nr: name for name, nr in syscalls.NUMBERS[machine].items()}
    for nr in range(1024):
        name = names.get(nr)
        if name in seccomp.RULES:
            continue
        unlisted = seccomp.UNKNOWN if nr > syscalls.NEWEST else seccomp.REFUSE
        expected = seccomp.ALLOW if name else unlisted
        assert ask(machine, nr) == expected, (nr, name)


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_dangerous_is_in_the_tables(machine):
    assert not set(FORBIDDEN) & syscalls.NUMBERS[machine].keys()
    for name, nr in NUMBERS_OF_FORBIDDEN[machine].items():
        assert ask(machine, nr) == seccomp.REFUSE, name


@pytest.mark.parametrize("machine", MACHINES)
def test_another_architecture_is_killed(machine):
    for arch in (0x40000003, 0xC0000028, 0, 0xC00000B7 if machine == "x86_64" else 0xC000003E):
        assert bpf.run(PROGRAM[machine], 0, arch) == seccomp.KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_a_mounter_may_call_what_it_needs_and_nothing_else(machine):
    program, arch = seccomp.mounter_program(machine), seccomp.ARCHITECTURES[machine]
    names = {nr: name for name, nr in syscalls.OF_MOUNTERS[machine].items()}
    for nr in range(1024):
        if names.get(nr) == "setns":
            continue
        unlisted = seccomp.UNKNOWN if nr > syscalls.NEWEST else seccomp.REFUSE
        assert bpf.run(program, nr, arch) == (seccomp.ALLOW if nr in names else unlisted), nr
    reaching_out = "open openat execve clone fork socket connect bind kill prctl unlink pidfd_open setresuid"
    needed = {"open_tree", "move_mount", "mount_setattr", "setns"}
    assert needed < {*names.values()}
    assert not {*reaching_out.split(), *FORBIDDEN} & {*names.values()} - needed


@pytest.mark.parametrize("machine", MACHINES)
def test_of_namespaces_a_mounter_may_join_those_of_mounts_alone(machine):
    program, arch = seccomp.mounter_program(machine), seccomp.ARCHITECTURES[machine]
    setns = syscalls.OF_MOUNTERS[machine]["setns"]
    for kind in (0, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30, 1 << 17 | 1 << 29):
        assert bpf.run(program, setns, arch, 5, kind) == seccomp.REFUSE
    assert bpf.run(program, setns, arch, 5, 1 << 17) == seccomp.ALLOW


def test_x32_numbers_are_refused():
    for nr in range(600):
        assert ask("x86_64", seccomp.X32_BIT | nr) == seccomp.REFUSE
    assert ask("x86_64", 0xFFFFFFFF) == seccomp.REFUSE


@pytest.mark.parametrize("machine", MACHINES)
def test_clone_makes_threads_and_processes_but_no_namespaces(machine):
    assert ask(machine, "clone", 17) == seccomp.ALLOW  # fork: SIGCHLD
    assert ask(machine, "clone", 0x3D0F00) == seccomp.ALLOW  # pthread_create
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert ask(machine, "clone", flag | 17) == seccomp.REFUSE
    assert ask(machine, "clone3") == seccomp.UNKNOWN


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["io_uring_setup", "io_uring_enter", "io_uring_register"])
def test_io_uring_is_as_if_it_did_not_exist(machine, name):
    assert ask(machine, name) == seccomp.UNKNOWN


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("family", "kind", "protocol", "allowed"),
    [
        (1, 1, 0, True),
        (1, 2, 0, True),
        (2, 1, 0, True),
        (2, 1, 6, True),
        (2, 2, 17, True),
        (2, 1 | 0o2000000 | 0o4000, 0, True),  # SOCK_CLOEXEC and SOCK_NONBLOCK
        (10, 1, 0, True),
        (10, 2, 17, True),
        (16, 3, 0, True),  # NETLINK_ROUTE
        (16, 2, 0, True),
        (2, 3, 1, False),  # raw
        (2, 3 | 0o2000000, 6, False),
        (10, 3, 58, False),
        (2, 10, 0, False),  # SOCK_PACKET
        (2, 1, 132, False),  # SCTP
        (2, 2, 1, False),  # ping
        (16, 3, 15, False),  # NETLINK_KOBJECT_UEVENT
        (16, 3, 4, False),  # NETLINK_SOCK_DIAG
        (17, 3, 0, False),  # PACKET
        (38, 5, 0, False),  # ALG
        (40, 1, 0, False),  # VSOCK
        (44, 3, 0, False),  # XDP
        (0, 1, 0, False),
        (9, 5, 0, False),
        (31, 1, 0, False),  # BLUETOOTH
    ],
)
def test_socket_families(machine, family, kind, protocol, allowed):
    expected = seccomp.ALLOW if allowed else seccomp.REFUSE
    assert ask(machine, "socket", family, kind, protocol) == expected
    # The kernel takes ints: what stands in the upper half changes nothing.
    high = 0xDEADBEEF << 32
    assert ask(machine, "socket", high | family, high | kind, high | protocol) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_ioctl_refuses_by_the_low_half(machine):
    for request in (0x5412, 0x541C, 0x5423):
        for high in (0, 1 << 32, 0xFFFFFFFF << 32):
            assert ask(machine, "ioctl", 0, high | request) == seccomp.REFUSE
    assert ask(machine, "ioctl", 0, 0x5401) == seccomp.ALLOW  # TCGETS


@pytest.mark.parametrize("machine", MACHINES)
def test_the_core_limit_can_be_read_but_not_set(machine):
    assert ask(machine, "prlimit64", 0, 4, 0, 0x7FFF0000) == seccomp.ALLOW
    for pointer in (0x1000, 1 << 32, 0x7FFF_0000_1000):
        assert ask(machine, "prlimit64", 0, 4, pointer, 0) == seccomp.REFUSE
        assert ask(machine, "prlimit64", 0, 7, pointer, 0) == seccomp.ALLOW
    assert ask(machine, "setrlimit", 4) == seccomp.REFUSE
    assert ask(machine, "setrlimit", 7) == seccomp.ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_personality(machine):
    assert ask(machine, "personality", 0xFFFFFFFF) == seccomp.ALLOW
    assert ask(machine, "personality", 0x0040000) == seccomp.REFUSE  # ADDR_NO_RANDOMIZE


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_is_one_that_the_kernel_takes(machine):
    code = bpf.instructions(PROGRAM[machine])
    assert len(code) <= 4096
    for at, (kind, jump_true, jump_false, value) in enumerate(code):
        targets = [at + 1 + value] if kind == 0x05 else [at + 1 + jump_true, at + 1 + jump_false]
        if kind != 0x06:
            assert all(target < len(code) for target in targets)
    assert code[-1][0] == 0x06


@pytest.mark.parametrize("machine", MACHINES)
def test_a_filter_without_some_calls_refuses_them_and_treats_all_others_as_before(machine):
    numbers = syscalls.NUMBERS[machine]
    less = seccomp.program(machine, without=["socket", "clone3", "getpid", "fork"])
    arch = seccomp.ARCHITECTURES[machine]
    for name in {"socket", "clone3", "getpid"} & numbers.keys():
        assert bpf.run(less, numbers[name], arch, 1) == seccomp.REFUSE
    for name in numbers.keys() - {"socket", "clone3", "getpid", "fork"}:
        assert bpf.run(less, numbers[name], arch, 1) == bpf.run(PROGRAM[machine], numbers[name], arch, 1)


def test_an_architecture_without_tables_is_an_error():
    with pytest.raises(KeyError):
        seccomp.program("riscv64")


@pytest.mark.parametrize("machine", sorted(syscalls.NUMBERS))
@pytest.mark.parametrize("template", [False, True])
def test_of_nodes_only_named_pipes_are_made(machine, template):
    program = seccomp.template_program(machine) if template else seccomp.program(machine)
    arch = seccomp.ARCHITECTURES[machine]
    for name, before in (("mknod", (0,)), ("mknodat", (0, 0))):
        if name not in syscalls.NUMBERS[machine]:
            continue
        nr = syscalls.NUMBERS[machine][name]
        assert bpf.run(program, nr, arch, *before, stat.S_IFIFO | 0o600) == seccomp.ALLOW
        for kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFREG, stat.S_IFSOCK, stat.S_IFDIR, 0, 1 << 32):
            assert bpf.run(program, nr, arch, *before, kind | 0o600) == seccomp.REFUSE, oct(kind)


@pytest.mark.parametrize("machine", sorted(syscalls.NUMBERS))
def test_a_refusal_refuses_what_it_names_and_nothing_else(machine):
    program = seccomp.refusal(machine, syscalls.UNSEEN)
    arch = seccomp.ARCHITECTURES[machine]
    answers = {nr: bpf.run(program, nr, arch) for nr in range(1024)}
    refused = {nr for nr, answer in answers.items() if answer == seccomp.REFUSE}
    assert refused == {syscalls.NUMBERS[machine][name] for name in syscalls.UNSEEN}
    assert set(answers.values()) == {seccomp.ALLOW, seccomp.REFUSE}
    assert bpf.run(program, 1, 1) == seccomp.KILL
