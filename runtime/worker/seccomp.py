"""The seccomp filter of a worker: from a policy to a BPF program, without a library.

The kernel runs the program on ``struct seccomp_data`` {nr, arch, instruction_pointer, args[6]} for every system call;
the program answers with an action (seccomp(2)). Ours finds the number by binary search over ranges of equal
treatment; a few calls then look at their arguments. Arguments are 64 bits wide, but where the kernel itself takes an
int it ignores the upper half, and so must the rule: the TIOCSTI that carries bit 32 is TIOCSTI.
"""

import dataclasses
import errno
import struct
from collections.abc import Collection, Mapping, Sequence

from runtime.worker import syscalls

ALLOW = 0x7FFF0000
KILL = 0x80000000
_ERRNO = 0x00050000
REFUSE = _ERRNO | errno.EPERM
UNKNOWN = _ERRNO | errno.ENOSYS

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_*: what the kernel puts into seccomp_data.arch."""
X32_BIT = 0x40000000
"""Set in the numbers of the x32 ABI, which shares its arch with x86_64."""

_LOAD, _AND, _JUMP, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
_NR, _ARCH, _ARGS = 0, 4, 16


@dataclasses.dataclass(frozen=True, slots=True)
class Where:
    """The 32 bits at ``word`` (low half of argument 0, high half of argument 0, low half of argument 1 ...)."""

    word: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF

    @classmethod
    def low(cls, argument: int, *values: int, mask: int = 0xFFFFFFFF) -> "Where":
        """Match where the masked low half of an argument is one of the values."""
        return cls(2 * argument, values, mask)

    @classmethod
    def high(cls, argument: int, *values: int) -> "Where":
        """Match where the high half of an argument is one of the values."""
        return cls(2 * argument + 1, values)


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """The first clause whose conditions all hold decides; else ``otherwise`` does."""

    clauses: tuple[tuple[tuple[Where, ...], int], ...]
    otherwise: int


_CLONE_NEW = 0x7E020000
"""All CLONE_NEW* but NEWTIME, whose bit is part of the exit signal in clone(2)."""
_CLONE_NEWCGROUP = 0x02000000
_CLONE_NEWNS = 0x00020000
COPY = 0x38020000
"""CLONE_NEWUSER, NEWPID, NEWIPC and NEWNS: what a copy of a template is born into."""
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _DATAGRAM, _TYPE_MASK = 1, 2, 0xF
_TCP, _UDP = 6, 17
_TIOCSTI, _TIOCSETD, _TIOCLINUX = 0x5412, 0x5423, 0x541C
_RLIMIT_CORE = 4
_S_IFMT, _S_IFIFO = 0o170000, 0o010000

RULES: dict[str, Rule] = {
    "clone": Rule((((Where.low(0, 0, mask=_CLONE_NEW),), ALLOW),), REFUSE),
    # Its flags lie in memory, where no filter can look; glibc falls back to clone on ENOSYS.
    "clone3": Rule((), UNKNOWN),
    "io_uring_setup": Rule((), UNKNOWN),
    "io_uring_enter": Rule((), UNKNOWN),
    "io_uring_register": Rule((), UNKNOWN),
    "socket": Rule(
        (
            ((Where.low(0, _UNIX),), ALLOW),
            (
                (
                    Where.low(0, _INET, _INET6),
                    Where.low(1, _STREAM, _DATAGRAM, mask=_TYPE_MASK),
                    Where.low(2, 0, _TCP, _UDP),
                ),
                ALLOW,
            ),
            # NETLINK_ROUTE is protocol 0: getaddrinfo and friends list interfaces by it.
            ((Where.low(0, _NETLINK), Where.low(2, 0)), ALLOW),
        ),
        REFUSE,
    ),
    "socketpair": Rule((((Where.low(0, _UNIX),), ALLOW),), REFUSE),
    "ioctl": Rule((((Where.low(1, _TIOCSTI, _TIOCSETD, _TIOCLINUX),), REFUSE),), ALLOW),
    # As Docker: PER_LINUX, PER_LINUX32, UNAME26, both, and the query.
    "personality": Rule((((Where.low(0, 0, 8, 0x20000, 0x20008, 0xFFFFFFFF),), ALLOW),), REFUSE),
    # The core limit is ours; reading it (no new value) is anybody's.
    "prlimit64": Rule(
        (
            ((Where.low(2, 0), Where.high(2, 0)), ALLOW),
            ((Where.low(1, _RLIMIT_CORE),), REFUSE),
        ),
        ALLOW,
    ),
    "setrlimit": Rule((((Where.low(0, _RLIMIT_CORE),), REFUSE),), ALLOW),
    # mkfifo(3) is one of these.
    "mknod": Rule((((Where.low(1, _S_IFIFO, mask=_S_IFMT),), ALLOW),), REFUSE),
    "mknodat": Rule((((Where.low(2, _S_IFIFO, mask=_S_IFMT),), ALLOW),), REFUSE),
}


TEMPLATE_RULES: dict[str, Rule] = {
    **RULES,
    # A copy is born into namespaces of its own, and leaves its cgroup's when it has joined it.
    "clone": Rule(
        (((Where.low(0, 0, mask=_CLONE_NEW),), ALLOW), ((Where.low(0, COPY, mask=_CLONE_NEW),), ALLOW)), REFUSE
    ),
    "unshare": Rule((((Where.low(0, _CLONE_NEWCGROUP),), ALLOW),), REFUSE),
}


MOUNTER_RULES: dict[str, Rule] = {"setns": Rule((((Where.low(1, _CLONE_NEWNS),), ALLOW),), REFUSE)}


class _Assembler:
    """Instructions with labels: conditional jumps reach 255 instructions ahead, plain ones any distance."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, str, str]] = []
        self._labels: dict[str, int] = {}

    def add(self, code: int, value: int, then: str = "", otherwise: str = "") -> None:
        """Add an instruction; an empty label is the next one."""
        self._code.append((code, value, then, otherwise))

    def label(self, name: str) -> None:
        """Name the next instruction."""
        self._labels[name] = len(self._code)

    def assemble(self) -> bytes:
        """Return the array of struct sock_filter."""
        return b"".join(self._instruction(at, *parts) for at, parts in enumerate(self._code))

    def _instruction(self, at: int, code: int, value: int, then: str, otherwise: str) -> bytes:
        jump_true, jump_false = (self._labels[name] - at - 1 if name else 0 for name in (then, otherwise))
        if code == _JUMP:
            return struct.pack("<HBBI", code, 0, 0, jump_true)
        return struct.pack("<HBBI", code, jump_true, jump_false, value)


def program(machine: str, *, without: Collection[str] = ()) -> bytes:
    """Return the filter for an architecture, an array of struct sock_filter. Raises KeyError for an unknown one.

    ``without`` names calls that are refused although a worker may make them.
    """
    numbers = {name: nr for name, nr in syscalls.NUMBERS[machine].items() if name not in without}
    return _program(machine, numbers, RULES)


def template_program(machine: str) -> bytes:
    """Return the filter of a template: it may also make copies of itself, and these mounts of their own.

    A copy loads ``program`` on top of it.
    """
    return _program(machine, syscalls.NUMBERS[machine] | syscalls.OF_TEMPLATES[machine], TEMPLATE_RULES)


def mounter_program(machine: str) -> bytes:
    """Return the filter of a mounter: of namespaces it may join those of mounts alone."""
    return _program(machine, syscalls.OF_MOUNTERS[machine], MOUNTER_RULES)


def refusal(machine: str, names: Collection[str]) -> bytes:
    """Return a filter that refuses some calls and lets all others pass, to be loaded beside one of those above."""
    code = _Assembler()
    code.add(_LOAD, _ARCH)
    code.add(_JUMP_EQUAL, ARCHITECTURES[machine], "known")
    code.add(_RETURN, KILL)
    code.label("known")
    code.add(_LOAD, _NR)
    for name in names:
        code.add(_JUMP_EQUAL, syscalls.NUMBERS[machine][name], "refused")
    code.add(_RETURN, ALLOW)
    code.label("refused")
    code.add(_RETURN, REFUSE)
    return code.assemble()


def _program(machine: str, numbers: Mapping[str, int], rules: Mapping[str, Rule]) -> bytes:
    code = _Assembler()
    code.add(_LOAD, _ARCH)
    code.add(_JUMP_EQUAL, ARCHITECTURES[machine], "known")
    code.add(_RETURN, KILL)
    code.label("known")
    code.add(_LOAD, _NR)
    _search(code, _ranges(numbers, rules))
    for name, rule in rules.items():
        if name in numbers:
            _rule(code, name, rule)
    return code.assemble()


def _ranges(numbers: Mapping[str, int], rules: Mapping[str, Rule]) -> list[tuple[int, int | str]]:
    """Return (first number, treatment) for each run of equal treatment: an action or the name of a rule."""
    treatment: dict[int, int | str] = {nr: name if name in rules else ALLOW for name, nr in numbers.items()}
    ranges: list[tuple[int, int | str]] = []
    for nr in range(syscalls.NEWEST + 1):
        wanted = treatment.get(nr, REFUSE)
        if not ranges or ranges[-1][1] != wanted:
            ranges.append((nr, wanted))
    return [*ranges, (syscalls.NEWEST + 1, UNKNOWN), (X32_BIT, REFUSE)]


def _search(code: _Assembler, ranges: Sequence[tuple[int, int | str]]) -> None:
    if len(ranges) == 1:
        treatment = ranges[0][1]
        if isinstance(treatment, str):
            code.add(_JUMP, 0, f"rule {treatment}")
        else:
            code.add(_RETURN, treatment)
        return
    middle = len(ranges) // 2
    upper = f"from {ranges[middle][0]}"
    code.add(_JUMP_AT_LEAST, ranges[middle][0], upper)
    _search(code, ranges[:middle])
    code.label(upper)
    _search(code, ranges[middle:])


def _rule(code: _Assembler, name: str, rule: Rule) -> None:
    code.label(f"rule {name}")
    for index, (conditions, action) in enumerate(rule.clauses):
        following = f"{name} {index + 1}"
        for part, where in enumerate(conditions):
            matched = f"{name} {index} {part}"
            code.add(_LOAD, _ARGS + 4 * where.word)
            if where.mask != 0xFFFFFFFF:  # noqa: PLR2004 - all bits
                code.add(_AND, where.mask)
            for value in where.values[:-1]:
                code.add(_JUMP_EQUAL, value, matched)
            code.add(_JUMP_EQUAL, where.values[-1], matched, following)
            code.label(matched)
        code.add(_RETURN, action)
        code.label(following)
    code.add(_RETURN, rule.otherwise)
