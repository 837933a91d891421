"""What each filter answers to the system calls 0 to 1023, as a table to compare with; run it to write the files anew."""

import errno
from pathlib import Path

import bpf

from runtime.worker import seccomp, syscalls

HERE = Path(__file__).parent / "security"
LAST = 1023


def path(machine):
    return HERE / f"syscalls.{machine}.txt"


def answer(program, nr, arch):
    """Return what becomes of a call whose arguments are all zero, and of one whose are all ones."""
    found = {bpf.run(program, nr, arch, *(value,) * 6) for value in (0, (1 << 64) - 1)}
    names = {seccomp.ALLOW: "allow", seccomp.KILL: "kill"}
    names |= {seccomp.REFUSE: "EPERM", seccomp.UNKNOWN: errno.errorcode[errno.ENOSYS]}
    return "|".join(sorted(names[one] for one in found))


def table(machine):
    """Return lines of "first-last worker template name"; numbers without a name of ours that fare alike share one."""
    arch = seccomp.ARCHITECTURES[machine]
    names = {nr: name for name, nr in (syscalls.NUMBERS[machine] | syscalls.OF_TEMPLATES[machine]).items()}
    programs = seccomp.program(machine), seccomp.template_program(machine)
    lines, first = [], 0
    for nr in range(LAST + 1):
        row = *(answer(program, nr, arch) for program in programs), names.get(nr, "-")
        following = *(answer(program, nr + 1, arch) for program in programs), names.get(nr + 1, "-")
        if nr == LAST or row != following or row[2] != "-":
            span = str(nr) if first == nr else f"{first}-{nr}"
            lines.append(f"{span} {' '.join(row)}\n")
            first = nr + 1
    return "".join(lines)


if __name__ == "__main__":
    for each in syscalls.NUMBERS:
        path(each).write_text(table(each))
