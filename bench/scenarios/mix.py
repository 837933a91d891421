"""A mix as clouds see it: many functions, a few of them popular, Poisson arrivals."""

import random
from typing import Any

from bench import client, machine, measure, plan, result, setting, text

FUNCTIONS = 100
KINDS = {"hello": 40, "echo": 20, "json": 15, "template": 10, "float": 5, "matrix": 4, "gzip": 4, "aes": 2}
"""Of bench/functions, with their shares in percent."""
EXPONENT = 1.1
"""Of popularity by rank (Zipf). In the Azure trace of 2019 the most popular 1 % of functions get 90 % of the calls."""
RATE = 300.0


def run(given: setting.Setting) -> result.Result:
    """Call a mix as clouds see it: 100 functions of eight kinds, a few of them popular, Poisson arrivals."""
    given.demand_own_server("it makes many functions")
    count = given.count or FUNCTIONS
    environment = machine.environment()
    with given.server() as server:
        chance = random.Random(1)  # noqa: S311 - the same mix each time
        kinds = chance.choices(list(KINDS), weights=list(KINDS.values()), k=count)
        calls = []
        for rank, kind in enumerate(kinds, start=1):
            given.say(f"creating functions: {rank} of {count}")
            name = f"mix-{rank}-{kind}"
            server.create(name, client.bench_function(kind))
            calls.append(plan.Call(path=client.invoke_path(name), body="{}", weight=rank**-EXPONENT))
        fields: dict[str, Any] = {
            "open": plan.Open(rate=RATE, arrival="poisson"),
            "connections": 128,
            "order": "weighted",
        }
        found = measure.interleaved(given, server, {"mix": (calls, fields)}, warm_up=False)["mix"]
        cold = sum(value for (name, _), value in server.scrape().items() if name == "hotfork_cold_starts_total")
        total = sum(each.count for each in found.good())
        measures: list[result.Measure] = [
            measure.latency("mix", "the mix", found),
            measure.rate("mix", "the mix", found),
            *measure.cpu("mix", "the mix", found),
        ]
        return given.result(
            "mix",
            f"{count} functions, some popular",
            server,
            environment,
            measures=measures,
            plots=[result.Latency(title="Latency by percentile", measures=["mix.latency"])],
            notes=[
                *measure.problems("the mix", found),
                f"{text.figure(cold)} of {total:,} calls were cold: the first of each function, and when it grew.",
                f"Arrivals: Poisson, {RATE:g}/s. Popularity: Zipf, exponent {EXPONENT:g}. Latency from when due.",
                "Kinds: " + ", ".join(f"{kind} {share} %" for kind, share in KINDS.items()) + ".",
            ],
        )
