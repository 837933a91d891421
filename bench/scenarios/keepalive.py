"""Play a day of Azure Functions against keep-alive policies: cold starts, wasted memory; needs --trace DIR."""

from collections.abc import Callable

from bench import keepalive, machine, policies, result, setting, text
from runtime.pool import keepalive as policy

BASE = "fixed 10 min"
POLICIES: dict[str, Callable[[], policy.Policy]] = {
    BASE: lambda: policy.Fixed(10),
    "fixed 20 min": lambda: policy.Fixed(20),
    "fixed 60 min": lambda: policy.Fixed(60),
    "hybrid histogram": policies.HybridHistogram,
    "hybrid histogram, else 10 min": lambda: policies.HybridHistogram(otherwise=10),
    "learned": policy.Learned,
}


def run(given: setting.Setting) -> result.Result:
    """Play a day of Azure Functions against keep-alive policies: cold starts, wasted memory; needs --trace DIR."""
    if given.trace is None:
        raise setting.Unsuitable("needs a day of the Azure Functions 2019 trace (see docs/performance.md): --trace DIR")
    environment = machine.environment()
    given.say("reading the trace")
    functions = keepalive.read(given.trace)
    scores = {}
    for name, make in POLICIES.items():
        given.say(f"playing {name}")
        scores[name] = keepalive.simulate(functions, make)
    base = scores[BASE]
    measures: list[result.Measure] = []
    for name, score in scores.items():
        key = f"keepalive.{name.replace(',', '').replace(' ', '-')}"
        figures = {
            "cold": ("cold share of all invocations", score.cold_share),
            "waste": (f"idle time of workers, against {BASE}", score.wasted_minutes / base.wasted_minutes),
            "memory": (f"idle memory, against {BASE}", score.wasted_mb_minutes / base.wasted_mb_minutes),
        }
        measures += [
            result.Scalar(name=f"{key}.{part}", title=f"{name}: {title}", unit="", values=[value], better="lower")
            for part, (title, value) in figures.items()
        ]
    rows = [
        [
            name,
            f"{score.cold:,}",
            f"{score.cold_share * 100:.4f} %",
            f"{text.figure(score.wasted_minutes / base.wasted_minutes)}x",
            f"{text.figure(score.wasted_mb_minutes / base.wasted_mb_minutes)}x",
        ]
        for name, score in scores.items()
    ]
    return given.result(
        "keepalive",
        f"Keep-alive policies on {len(functions):,} functions and {base.invocations:,} invocations of a day",
        None,
        environment,
        measures=measures,
        tables=[
            result.Table(
                title="Policies",
                columns=["policy", "cold", "of all", "idle time", "idle memory"],
                rows=rows,
            )
        ],
        plots=[
            result.Lines(
                title="Cold starts against idle time: nearer to the lower left is better",
                x=f"idle time of workers, {BASE} = 1",
                y="cold share",
                unit="",
                series=[
                    result.Series(name=name, x=[score.wasted_minutes / base.wasted_minutes], y=[score.cold_share])
                    for name, score in scores.items()
                ],
            )
        ],
        notes=["A simulation by the minute: whatever comes in the minute of a cold start waits for that one start."],
    )
