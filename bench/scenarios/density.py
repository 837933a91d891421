"""Density: memory of idle workers after one call, as PSS and as what MemAvailable lost."""

import time

from bench import client, harness, machine, plan, procfs, result, setting, text

WORKERS = 200
_SETTLE_S = 1.0


def run(given: setting.Setting) -> result.Result:
    """Density: memory of idle workers after one call, as PSS and as what MemAvailable lost."""
    given.demand_own_server("it reads its processes' memory")
    count = given.count or WORKERS
    environment = machine.environment()
    pss: list[float] = []
    lost: list[float] = []
    spread: list[int] = []
    others: dict[str, list[float]] = {"supervisor": [], "zygote": []}
    for turn in range(given.repeat):
        with given.server() as server:
            given.say(f"{count} workers: run {turn + 1} of {given.repeat}")
            each, available = _run(server, count)
            confined = server
            known = server.family()
            assert known is not None
            spread += each
            pss.append(sum(each) / max(len(each), 1))
            lost.append(available / count)
            others["supervisor"].append(float(procfs.pss(known.supervisor) or 0))
            others["zygote"].append(float(sum(procfs.pss(pid) or 0 for pid in known.zygotes)))
    measures: list[result.Measure] = [
        _bytes("density.pss", "a worker, PSS", pss),
        _bytes("density.available", "a worker, loss of MemAvailable", lost),
        *(_bytes(f"density.{name}", f"{name}, PSS", values) for name, values in others.items()),
    ]
    spread.sort()
    row = [text.quantity(spread[round(share * (len(spread) - 1))], "B") for share in (0.0, 0.5, 0.99, 1.0)]
    return given.result(
        "density",
        f"Memory of {count} idle workers, hello",
        confined,
        environment,
        measures=measures,
        tables=[
            result.Table(
                title="PSS of the workers", columns=["n", "min", "p50", "p99", "max"], rows=[[f"{len(spread)}", *row]]
            )
        ],
        plots=[
            result.Bars(
                title="Memory of a worker",
                unit="B",
                categories=["PSS", "MemAvailable"],
                series=[result.Series(name="a worker", y=[sum(pss) / len(pss), sum(lost) / len(lost)])],
            )
        ],
        notes=[
            f"{count} functions were called once each, and their workers are idle.",
            "PSS: a page's size shared among all who map it. It leaves out page tables and what else the kernel keeps.",
            "MemAvailable: holds those as well, and whatever else happened on the machine meanwhile.",
        ],
    )


def _run(server: harness.Server, count: int) -> tuple[list[int], int]:
    """Return each worker's PSS, and what MemAvailable lost to all of them."""
    names = [f"density-{number}" for number in range(count)]
    for name in names:
        server.create(name, client.bench_function("hello"))
    time.sleep(_SETTLE_S)
    before = procfs.memory_available()
    calls = [plan.Call(path=client.invoke_path(name), body="{}", equals='{"ok": true}') for name in names]
    server.run(calls, order="once", duration_s=120.0)
    time.sleep(_SETTLE_S)
    after = procfs.memory_available()
    known = server.family()
    assert known is not None
    found = [procfs.pss(pid) for pid in known.workers]
    return [each for each in found if each is not None], before - after


def _bytes(name: str, title: str, values: list[float]) -> result.Scalar:
    return result.Scalar(name=name, title=title, unit="B", values=values, better="lower")
