"""A tiny interpreter of the classic BPF that seccomp accepts, to ask a filter what it would answer."""

import struct

_INSTRUCTION = struct.Struct("<HBBI")


def run(program, nr, arch, *arguments):
    """Return the action of a filter for one system call."""
    data = struct.pack("<IIQ6Q", nr, arch, 0, *(arguments + (0,) * (6 - len(arguments))))
    accumulator, at = 0, 0
    for _ in range(len(program)):
        code, jump_true, jump_false, value = _INSTRUCTION.unpack_from(program, 8 * at)
        at += 1
        if code == 0x20:
            assert value % 4 == 0
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            at += value
        elif code == 0x15:
            at += jump_true if accumulator == value else jump_false
        elif code == 0x35:
            at += jump_true if accumulator >= value else jump_false
        elif code == 0x06:
            return value
        else:
            raise AssertionError(f"instruction {code:#x} is not one of ours")
    raise AssertionError("the program does not end")


def instructions(program):
    """Return (code, jump if true, jump if false, value) of each instruction."""
    return list(_INSTRUCTION.iter_unpack(program))
