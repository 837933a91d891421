"""Payloads from 1 KB to 6 MB, there and back, through a function that returns its event."""

from bench import client, machine, measure, plan, result, setting, summary

SIZES = {"1 KB": 1024, "16 KB": 16 * 1024, "128 KB": 128 * 1024, "1 MB": 2**20, "6 MB": 6 * 2**20}


def run(given: setting.Setting) -> result.Result:
    """Payloads from 1 KB to 6 MB, there and back, through a function that returns its event."""
    environment = machine.environment()
    with given.server() as server:
        path = client.invoke_path(given.function or "echo")
        if given.function is None:
            server.create("echo", MemorySize=1769)
        loads = {}
        for title, size in SIZES.items():
            body = '"' + "x" * (size - 2) + '"'
            equals = body if given.function is None else None
            loads[title] = ([plan.Call(path=path, body=body, equals=equals)], {"connections": 1})
        found = measure.interleaved(given, server, loads)
        measures: list[result.Measure] = []
        notes = []
        for title, runs in found.items():
            name = f"payload.{title.replace(' ', '')}"
            measures += [measure.latency(name, title, runs), *measure.cpu(name, title, runs)]
            notes += measure.problems(title, runs)
        latencies = [each for each in measures if isinstance(each, result.Distribution)]
        plot = result.Lines(
            title="Round trip by size",
            x="each way",
            x_unit="B",
            y="latency",
            unit="s",
            log_x=True,
            log_y=True,
            series=[
                result.Series(
                    name=name,
                    x=[float(size) for size in SIZES.values()],
                    y=[summary.typical(each, share) for each in latencies],
                )
                for name, share in (("p50", 0.5), ("p99", 0.99))
            ],
        )
        notes.append(
            "One connection, one request at a time. The body is a JSON text, and each answer is compared with it."
        )
        return given.result(
            "payload",
            "Payloads, there and back",
            server,
            environment,
            measures=measures,
            plots=[plot],
            notes=notes,
        )
