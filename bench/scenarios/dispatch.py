"""Dispatch in the server's process, without HTTP: supervisor to worker and back."""

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from bench import floors, harness, histogram, machine, order, result, setting

COLD = 100
"""Cold calls in each run."""
_IN_FLIGHT = (1, 8)


def run(given: setting.Setting) -> result.Result:
    """Dispatch in the server's process, without HTTP: supervisor to worker and back."""
    given.demand_own_server("it runs inside the server")
    environment = machine.environment()
    floor: list[histogram.Histogram] = []
    taken: dict[int, list[order.Taken]] = {count: [] for count in _IN_FLIGHT}
    for turn in given.turns():
        given.say(f"raw pipes: run {turn + 1} of {given.repeat}")
        floor.append(floors.pipe())
        for count, found in taken.items():
            given.say(f"{count} in flight: run {turn + 1} of {given.repeat}")
            found.append(inside_run(given, count, COLD if count == 1 else 0))
    one = taken[1]
    measures: list[result.Measure] = [
        result.Distribution(name="dispatch.floor.pipe", title="raw pipes, round trip", runs=floor, better="neither"),
        result.Distribution(name="dispatch.warm", title="warm, 1 in flight", runs=[each.warm for each in one]),
        *(
            result.Scalar(
                name=f"dispatch.rate.{count}",
                title=f"calls, {count} in flight",
                unit="1/s",
                values=[each.warm_rate for each in found],
                better="higher",
            )
            for count, found in taken.items()
        ),
        result.Distribution(name="dispatch.cold", title="cold, 1 in flight", runs=[each.cold for each in one]),
        *(
            result.Distribution(
                name=f"dispatch.cold.{phase}",
                title=f"cold: {phase}",
                runs=[each.phases[phase] for each in one],
            )
            for phase in one[0].phases
        ),
    ]
    notes = [
        "A call is timed from its function's name to its outcome, on the server's event loop, logs and metrics on."
    ]
    kinds = sorted({kind for each in one for kind in each.starts})
    notes.append(f"How the workers of the cold calls were made: {', '.join(kinds)}.")
    failed = sum(each.failed for found in taken.values() for each in found)
    if failed:
        notes.insert(0, f"{failed} calls failed.")
    found_result = given.result(
        "dispatch",
        "Dispatch without HTTP",
        None,
        environment,
        measures=measures,
        plots=[
            result.Latency(
                title="Latency by percentile", measures=["dispatch.floor.pipe", "dispatch.warm", "dispatch.cold"]
            )
        ],
        notes=notes,
    )
    return msgspec.structs.replace(found_result, isolation=one[0].confinement)


def inside_run(given: setting.Setting, in_flight: int, cold: int) -> order.Taken:
    """Run a server that measures itself from inside."""
    with tempfile.TemporaryDirectory(prefix="hotfork-bench-") as folder:
        Path(folder).chmod(0o755)
        wanted = order.Order(
            isolation=given.isolation,
            state_dir=f"{folder}/state",
            warm_s=given.duration_s,
            in_flight=in_flight,
            cold=cold,
        )
        ended = subprocess.run(
            [sys.executable, "-m", "bench.inside"], input=msgspec.json.encode(wanted), capture_output=True, check=False
        )
    if not ended.stdout:
        raise harness.NotReady(ended.stderr.decode(errors="replace").strip())
    return msgspec.json.decode(ended.stdout, type=order.Taken)
