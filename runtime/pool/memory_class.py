"""Memory classes: what a worker of a given MemorySize may use besides memory; pure.

A class is what a worker can be prepared for before its function is known: a blank waits in a class, and gets the
function's exact memory limit when it is assigned. Everything else grows with memory, as on Lambda
(docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html, gettingstarted-limits.html).
"""

import bisect
import dataclasses
from collections.abc import Sequence

from runtime import errors

CORE_MB = 1769
"""MemorySize that is worth one core."""

PIDS = 1024
"""Processes and threads of a worker, whatever its memory."""

TMP_MB = 512
"""EphemeralStorage of a blank: Lambda's default. A function that wants more is started without a blank."""

_BLANKS = ((512, 2), (3008, 1))
"""Blanks kept in classes up to a size; a blank costs about a megabyte, however large its class."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MemoryClass:
    """What workers of one class may use."""

    memory_mb: int
    """The most; a function's own limit may be less."""
    cpu_share: float
    """Of one core."""
    pids: int = PIDS
    tmp_mb: int = TMP_MB
    blanks: int = 0
    """Workers kept forked and confined, waiting for a function."""


def cpu_share(memory_mb: int) -> float:
    """Return the share of one core that goes with a MemorySize in MB."""
    return memory_mb / CORE_MB


def make(sizes_mb: Sequence[int]) -> tuple[MemoryClass, ...]:
    """Return the classes of the given sizes, in MB and rising."""
    return tuple(
        MemoryClass(
            memory_mb=size,
            cpu_share=cpu_share(size),
            blanks=next((blanks for largest, blanks in _BLANKS if size <= largest), 0),
        )
        for size in sizes_mb
    )


def of(classes: Sequence[MemoryClass], memory_mb: int) -> MemoryClass:
    """Return the smallest class that holds a MemorySize; raise ConfigError where none does."""
    place = bisect.bisect_left(classes, memory_mb, key=lambda one: one.memory_mb)
    if place == len(classes):
        raise errors.ConfigError(f"no memory class holds {memory_mb} MB")
    return classes[place]
