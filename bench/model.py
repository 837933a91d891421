"""What larger machines would do, on paper: the CPU time of a call, and how many cores there are. Pure.

A call costs the supervisor ``s`` and a worker ``w`` seconds of CPU time (the kernel's share within). A supervisor runs
on one core at a time, so one of them dispatches at most 1/s calls a second, whatever the machine. Several share a port
by SO_REUSEPORT, each with its own workers: k of them on C cores dispatch min(k/s, (C - k)/w). Nothing else is modelled:
neither memory bandwidth nor caches nor locks in the kernel, all of which take their part on large machines, nor what
the function itself does, which comes on top of ``w``.
"""

import dataclasses

from bench import result, summary, text

CORES = (2, 8, 32, 128)


@dataclasses.dataclass(frozen=True, slots=True)
class Costs:
    """CPU time of a call, in seconds."""

    supervisor: float
    worker: float


def costs(found: result.Result, load: str) -> Costs:
    """Return what a load of a result took ("http.c8"); raise KeyError where it does not say."""
    known = {each.name: each for each in found.measures if isinstance(each, result.Scalar)}
    return Costs(*(summary.mean(known[f"{load}.cpu.{part}"]) for part in ("supervisor", "workers")))


def one_supervisor(cost: Costs, cores: int) -> float:
    """Return the calls a second that one supervisor can dispatch."""
    return min(1 / cost.supervisor, (cores - 1) / cost.worker)


def many_supervisors(cost: Costs, cores: int) -> tuple[int, float]:
    """Return how many supervisors are best, and the calls a second that they dispatch."""
    return max(
        ((count, min(count / cost.supervisor, (cores - count) / cost.worker)) for count in range(1, cores)),
        key=lambda each: each[1],
    )


def table(cost: Costs) -> result.Table:
    """Return the model's answers for a few sizes of machines."""
    rows = []
    for cores in CORES:
        count, rate = many_supervisors(cost, cores)
        rows.append(
            [str(cores), text.quantity(one_supervisor(cost, cores), "1/s"), str(count), text.quantity(rate, "1/s")]
        )
    took = f"supervisor {text.quantity(cost.supervisor, 's')}, worker {text.quantity(cost.worker, 's')} a call"
    return result.Table(
        title=f"On paper, from {took}",
        columns=["cores", "one supervisor", "best number of supervisors", "together"],
        rows=rows,
    )
