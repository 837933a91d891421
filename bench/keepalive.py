"""Keep-alive policies against a day of invocations: how many are cold, and how much memory waits in vain. Pure.

The trace counts invocations by the minute, and the simulation knows no finer time: an *idle gap* is a number of whole
minutes without an invocation between two with some. After a minute with invocations a function's worker is idle; the
policy says for how long it is let go (pre-warm window) and how long after that it is kept (keep-alive window), as in
Shahrad et al., "Serverless in the Wild" (USENIX ATC 2020), section 4. If the next invocation comes while it is kept,
it is warm; else it is cold, once for the minute: whatever comes with it in the same minute waits for the same start.

Waste is the time during which a worker was kept without an invocation: in minutes, every function alike, as in that
paper; and weighted by what the function's application uses in memory.
"""

import csv
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from runtime.pool import keepalive

MINUTES = 24 * 60


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """One function's day."""

    busy: tuple[int, ...]
    """The minutes in which it was invoked, in order."""
    invocations: int
    memory_mb: float


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """What a policy did to all functions."""

    invocations: int
    cold: int
    wasted_minutes: float
    wasted_mb_minutes: float

    @property
    def cold_share(self) -> float:
        """Cold invocations among all."""
        return self.cold / self.invocations if self.invocations else 0.0


def simulate(functions: Sequence[Function], make: Callable[[], keepalive.Policy]) -> Score:
    """Play the day with a fresh policy for each function; nothing runs when it begins."""
    cold = 0
    minutes = weighted = 0.0
    for function in functions:
        each_cold, each_minutes = _play(function.busy, make())
        cold += each_cold
        minutes += each_minutes
        weighted += each_minutes * function.memory_mb
    return Score(sum(function.invocations for function in functions), cold, minutes, weighted)


def _play(busy: Sequence[int], policy: keepalive.Policy) -> tuple[int, float]:
    """Return the cold starts and the wasted minutes of one function."""
    if not busy:
        return 0, 0.0
    cold, wasted = 1, 0.0
    for now, following in zip(busy, (*busy[1:], None), strict=True):
        prewarm, keep = policy.windows()
        if following is None:
            wasted += min(max(MINUTES - now - 1 - prewarm, 0.0), keep)
            break
        gap = following - now - 1
        if gap:
            # In the minute that follows a gap of just the length of the windows, the worker is still there.
            warm = prewarm <= gap <= prewarm + keep
            cold += not warm
            wasted += min(max(gap - prewarm, 0.0), keep)
            policy.gap(gap)
    return cold, wasted


def read(folder: Path) -> list[Function]:
    """Read a day of the Azure Functions 2019 trace; raise FileNotFoundError or ValueError where it is none.

    The folder holds ``*_inv.csv`` (invocations by the minute) and ``*_mem.csv`` (memory by application), with the
    columns of the data set: github.com/Azure/AzurePublicDataset.
    """
    try:
        return _functions(folder)
    except KeyError as error:
        raise ValueError(f"the trace in {folder} lacks the column {error}") from None


def _functions(folder: Path) -> list[Function]:
    memory = {row["HashApp"]: float(row["AverageAllocatedMb"]) for row in _rows(folder, "*_mem.csv")}
    usual = sorted(memory.values())[len(memory) // 2] if memory else 1.0
    found = []
    for row in _rows(folder, "*_inv.csv"):
        counts = [int(row[f"minute_{minute}"]) for minute in range(1, MINUTES + 1)]
        busy = tuple(minute for minute, count in enumerate(counts) if count)
        found.append(Function(busy, sum(counts), memory.get(row["HashApp"], usual)))
    return found


def _rows(folder: Path, pattern: str) -> Iterator[dict[str, str]]:
    path = next(iter(sorted(folder.glob(pattern))), None)
    if path is None:
        raise FileNotFoundError(f"{folder} holds no {pattern}")
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)
