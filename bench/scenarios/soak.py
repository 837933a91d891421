"""Soak: mixed invocations for long, with faults, redeploys and callers that leave: what grows, and what is lost."""

import base64
import collections
import itertools
import random
import time
from typing import Any

from bench import client, harness, machine, measure, pace, plan, procfs, result, setting

INVOCATIONS = 1_000_000
CONNECTIONS = 8
STEPS = 20
"""How often everything is looked at."""
FLAT = 1.1
"""What grows by less, from the greatest of one half of a run to that of the other, is taken for flat."""
_SLACK_COUNT = 30
"""What comes and goes with some workers more or less is no growth."""
_MB = 2**20
_SLACK = {"supervisor": 4 * _MB, "zygote": 4 * _MB, "descriptors": 100}
"""Each worker more takes up to ten descriptors; and since callers leave, some are on their way at each look."""
_FAULTS = """
import os, time


def handler(event, context):
    match event["do"]:
        case "raise":
            raise ValueError("as asked")
        case "crash":
            os._exit(3)
        case "stall":
            time.sleep(30)
    return {"ok": True}
"""
_SLOW = """
import os, time

time.sleep(0.2)


def handler(event, context):
    time.sleep(0.2)
    if event["exit"]:
        os._exit(3)
    return {"ok": True}
"""
"""Slower than those who call it are patient, in its init and in its call; and it exits, so that next time some wait for
a worker again."""
PLACES = 32
"""Reserved concurrency of that function: more than the mix has of its calls at any time."""
LEAVE_S = 0.02
_BURST_TIMEOUT_S = 30.0
_BIG = '"' + "x" * (_MB - 2) + '"'
_STREAM = "/2021-11-15/functions/slow/response-streaming-invocations"


def _mix() -> list[tuple[plan.Call, str]]:
    """Return the calls with their weights, and what each is to come to."""
    hello, faults, echo, slow = map(client.invoke_path, ("hello", "faults", "echo", "slow"))
    return [
        (plan.Call(path=hello, body="{}", equals='{"ok": true}', weight=0.898), "200"),
        (plan.Call(path=faults, body='{"do": "nothing"}', equals='{"ok": true}', weight=0.05), "200"),
        (plan.Call(path=faults, body='{"do": "raise"}', weight=0.04), "function-error"),
        (plan.Call(path=faults, body='{"do": "crash"}', weight=0.004), "function-error"),
        (plan.Call(path=faults, body='{"do": "stall"}', weight=0.0005), "function-error"),
        (plan.Call(path=echo, body=_BIG, equals=_BIG, weight=0.0055), "200"),
        (plan.Call(path=slow, body='{"exit": true}', leave_s=LEAVE_S, weight=0.001), "left"),
        (plan.Call(path=_STREAM, body='{"exit": true}', leave_s=LEAVE_S, weight=0.001), "left"),
    ]


_PLOTS: tuple[tuple[str, result.Unit, tuple[str, ...]], ...] = (
    ("Memory of the supervisor and the zygote (PSS)", "B", ("supervisor", "zygote")),
    ("What else might leak", "", ("descriptors", "threads", "workers", "mounts", "cgroups")),
)


def run(given: setting.Setting) -> result.Result:
    """Soak: a million mixed calls with faults, redeploys and callers that leave; every answer is accounted for."""
    given.demand_own_server("it looks into its processes")
    # As many in each step.
    total = max((given.count or INVOCATIONS) // STEPS, 1) * STEPS
    environment = machine.environment()
    mix = _mix()
    calls = [call for call, _ in mix]
    with given.server("[pool]\nkeep_alive = 'fixed'\nidle_ttl_s = 5.0\n") as server:
        server.create("hello")
        server.create("echo", MemorySize=1024)
        server.create("faults", {"handler.py": _FAULTS}, Timeout=1)
        server.create("slow", {"handler.py": _SLOW})
        server.api.call("PUT", "/2017-10-31/functions/slow/concurrency", {"ReservedConcurrentExecutions": PLACES})
        runs = measure.Runs([], [])
        looks: dict[str, list[float]] = collections.defaultdict(list)
        wanted: collections.Counter[str] = collections.Counter()
        for step in range(STEPS):
            given.say(f"{step * total // STEPS:,} of {total:,} invocations")
            fields: dict[str, Any] = {"count": total // STEPS, "order": "weighted", "seed": step}
            load = server.towards(calls, connections=CONNECTIONS, duration_s=1e6, **fields)
            wanted += _wanted(load, [outcome for _, outcome in mix])
            runs.results.append(server.run(calls, connections=CONNECTIONS, duration_s=1e6, **fields))
            _redeploy(server, step)
            _look(server, looks)
        given.say(f"a burst of {PLACES} calls, as many as there are places")
        lost = _places_lost(server)
        answers: collections.Counter[str] = collections.Counter()
        for each in runs.results:
            answers.update({name: histogram.count for name, histogram in each.outcomes.items()})
        unaccounted = sum((wanted - answers).values()) + sum((answers - wanted).values())
        steps = [float((step + 1) * total // STEPS) for step in range(STEPS)]
        return given.result(
            "soak",
            f"{total:,} mixed invocations",
            server,
            environment,
            measures=[
                *_measures(runs, looks),
                _count("unaccounted", "answers that were not as their call wanted them, or missing", unaccounted),
                _count("places_lost", f"of {PLACES} places, those still taken in the end", lost),
            ],
            tables=[_accounts(wanted, answers)],
            plots=[
                result.Lines(
                    title=title,
                    x="invocations",
                    y=title,
                    unit=unit,
                    series=[result.Series(name=name, x=steps, y=looks[name]) for name in names],
                )
                for title, unit, names in _PLOTS
            ],
            notes=[
                "NOT all accounted for: see the table."
                if unaccounted
                else "All accounted for: every answer is as its call wanted it.",
                f"{lost} of {PLACES} places are STILL TAKEN in the end: so many calls of a burst were refused."
                if lost
                else f"No place is still taken in the end: {PLACES} calls at once were answered, as many as there are.",
                verdict(looks),
                f"{CONNECTIONS} connections; after each step of {total // STEPS:,} one function is redeployed.",
            ],
        )


def _wanted(load: plan.Plan, outcomes: list[str]) -> collections.Counter[str]:
    """Return how many answers of each kind a load must have: the generator draws its calls from the same seed."""
    chance = random.Random(load.seed)  # noqa: S311
    drawn = itertools.islice(pace.choices(load, chance), load.count)
    return collections.Counter(outcomes[index] for index in drawn)


def _places_lost(server: harness.Server) -> int:
    """Return how many of as many calls at once as the function has places find none, when all others are over."""
    call = plan.Call(path=client.invoke_path("slow"), body='{"exit": false}', equals='{"ok": true}')
    deadline = time.monotonic() + _BURST_TIMEOUT_S
    while True:
        burst = server.run([call], connections=PLACES, count=PLACES, duration_s=_BURST_TIMEOUT_S)
        answered = sum(each.count for name, each in burst.outcomes.items() if plan.is_good(name))
        # Calls whose callers left may run still.
        if answered == PLACES or time.monotonic() > deadline:
            return PLACES - answered


def _redeploy(server: harness.Server, step: int) -> None:
    files = {**client.bench_function("hello"), "version.txt": str(step)}
    document = {"ZipFile": base64.b64encode(client.package(files)).decode()}
    server.api.call("PUT", f"{client.FUNCTIONS}/hello/code", document)


def _look(server: harness.Server, looks: dict[str, list[float]]) -> None:
    known = server.family()
    assert known is not None
    own = procfs.stat(known.supervisor)
    looks["supervisor"].append(float(procfs.pss(known.supervisor) or 0))
    looks["zygote"].append(float(sum(procfs.pss(pid) or 0 for pid in known.zygotes)))
    looks["descriptors"].append(float(procfs.descriptors(known.supervisor) or 0))
    looks["threads"].append(float(own.threads if own else 0))
    looks["workers"].append(float(len(known.workers)))
    looks["mounts"].append(float(procfs.mounts(known.supervisor) or 0))
    looks["cgroups"].append(float(procfs.cgroups()))


def growth(values: list[float]) -> float:
    """Return the greatest value of the second half of a run over the greatest of the first."""
    half = len(values) // 2
    return max(values[half:]) / max(*values[:half], 1.0)


def verdict(looks: dict[str, list[float]]) -> str:
    """Say what grew, of what was looked at in the course of a run."""
    grew = [
        f"{name} {growth(values):.2f}-fold"
        for name, values in looks.items()
        if growth(values) > FLAT and max(values) - max(values[: len(values) // 2]) > _SLACK.get(name, _SLACK_COUNT)
    ]
    if grew:
        return f"GREW from the first half of the run to the second: {', '.join(grew)}."
    less = f"or, of what is counted, by more than {_SLACK_COUNT} ({_SLACK['descriptors']} descriptors)"
    return f"Flat: nothing grew by more than {FLAT - 1:.0%} from the first half of the run to the second, {less}."


def _measures(runs: measure.Runs, looks: dict[str, list[float]]) -> list[result.Measure]:
    return [
        measure.latency("soak", "the mix", runs),
        measure.rate("soak", "the mix", runs),
        *(
            result.Scalar(
                name=f"soak.growth.{name}",
                title=f"{name}: second half of the run against the first",
                unit="",
                values=[growth(values)],
                better="lower",
            )
            for name, values in looks.items()
        ),
    ]


def _count(name: str, title: str, value: int) -> result.Scalar:
    return result.Scalar(name=f"soak.{name}", title=title, unit="", values=[float(value)], better="lower")


def _accounts(wanted: collections.Counter[str], answers: collections.Counter[str]) -> result.Table:
    rows = [[name, f"{wanted[name]:,}", f"{answers[name]:,}"] for name in sorted(wanted | answers)]
    return result.Table(title="Answers", columns=["answer", "wanted", "given"], rows=rows)
