"""Register 10,000 functions: what each costs, and whether the others notice."""

import contextlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import client, harness, histogram, machine, measure, plan, procfs, result, setting, summary, text

FUNCTIONS = 10_000
_IDLE_S = 5.0
"""How long the idle server is watched for periodic work."""
_FEW = 10


def run(given: setting.Setting) -> result.Result:
    """Register 10,000 functions: what each costs in memory and disk, at start, and in the latency of a warm call."""
    given.demand_own_server("it makes thousands of functions")
    count = given.count or FUNCTIONS
    environment = machine.environment()
    with tempfile.TemporaryDirectory(prefix="hotfork-bench-") as folder:
        Path(folder).chmod(0o755)
        states = {"few": Path(folder) / "few", "many": Path(folder) / "many"}
        with given.server(state_dir=states["few"]) as server:
            confined = server
            _fill(given, server, _FEW)
        with given.server(state_dir=states["many"]) as server:
            began = time.monotonic()
            _fill(given, server, count)
            creating_s = time.monotonic() - began
        disk = _disk(states["many"]) - _disk(states["few"])
        seen: dict[str, list[_Seen]] = {"few": [], "many": []}
        for turn in given.turns():
            for name, state in states.items():
                given.say(f"{name} functions: run {turn + 1} of {given.repeat}")
                seen[name].append(_look(given, state))
    memory = [many.pss - few.pss for few, many in zip(seen["few"], seen["many"], strict=True)]
    measures: list[result.Measure] = [
        _scalar("functions.memory", "a function, memory of the supervisor (PSS)", "B", [m / count for m in memory]),
        _scalar("functions.disk", "a function, disk", "B", [disk / count]),
        _scalar("functions.create", "to create a function", "s", [creating_s / count]),
    ]
    for name, title in (("few", f"{_FEW} functions"), ("many", f"{count:,} functions")):
        each = seen[name]
        measures += [
            _scalar(f"functions.{name}.start", f"{title}: start, to ready", "s", [one.start_s for one in each]),
            _scalar(f"functions.{name}.idle", f"{title}: CPU share when idle", "", [one.idle for one in each]),
            result.Distribution(
                name=f"functions.{name}.warm", title=f"{title}: a warm call", runs=[one.warm for one in each]
            ),
        ]
    warm = {each.name: summary.typical(each, 0.5) for each in measures if isinstance(each, result.Distribution)}
    ratio = warm["functions.many.warm"] / warm["functions.few.warm"]
    return given.result(
        "functions",
        f"{count:,} functions registered",
        confined,
        environment,
        measures=measures,
        plots=[
            result.Latency(title="A warm call, by percentile", measures=["functions.few.warm", "functions.many.warm"])
        ],
        notes=[f"The p50 of a warm call is {text.figure(ratio)} times what it is with {_FEW} functions."],
    )


class _Seen:
    """What was seen of one server."""

    def __init__(self, start_s: float, pss: int, idle: float, warm: histogram.Histogram) -> None:
        self.start_s = start_s
        self.pss = pss
        self.idle = idle
        self.warm = warm


def _fill(given: setting.Setting, server: harness.Server, count: int) -> None:
    server.create("hello")
    files = client.bench_function("hello")
    for number in range(count):
        if number % 50 == 0:
            given.say(f"creating functions: {number:,} of {count:,}")
        server.create(f"function-{number}", files)


def _look(given: setting.Setting, state: Path) -> _Seen:
    """Start a server on a state folder and look at it."""
    with given.server(state_dir=state) as server:
        assert server.pid is not None
        pss = procfs.pss(server.pid)
        if pss is None:
            raise setting.Unsuitable("needs to read the memory of the server, which belongs to somebody else")
        before = procfs.stat(server.pid)
        time.sleep(_IDLE_S)
        after = procfs.stat(server.pid)
        assert before is not None
        assert after is not None
        call = plan.Call(path=client.invoke_path("hello"), body="{}", equals='{"ok": true}')
        server.run([call], duration_s=measure.WARM_UP_S)
        warm = measure.Runs([server.run([call], duration_s=given.duration_s)], []).good()[0]
        return _Seen(server.start_s, pss, (after.cpu - before.cpu).total / _IDLE_S, warm)


def _disk(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_blocks * 512
    return total


def _scalar(name: str, title: str, unit: result.Unit, values: Sequence[float]) -> result.Scalar:
    return result.Scalar(name=name, title=title, unit=unit, values=list(values), better="lower")
