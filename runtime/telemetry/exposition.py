"""Metrics as text for Prometheus, made in slices so that a scrape stalls no invocation.

The text is made here and not by prometheus_client, whose samples cost some ten microseconds each (a fifth of a second
for 500 functions). ``Collector`` offers the same samples to a prometheus_client registry, for embedders; tests hold the
two against each other. Formats: prometheus.io/docs/instrumenting/exposition_formats, and OpenMetrics 1.0.
"""

import asyncio
import functools
import itertools
import time
from collections.abc import Iterable, Iterator

import prometheus_client
from prometheus_client import core, registry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from runtime.telemetry import families, metrics

SLICE_S = 0.0003
"""Seconds that a scrape holds the event loop at a time. An invocation crosses the loop two or three times."""
REST_S = 0.001
"""Seconds between two slices in which the loop sleeps unless others need it.

A loop that only lets others run and goes on keeps its processor, and a worker that is woken there waits until the
kernel's next tick takes it away: 4 or 8 ms (CONFIG_HZ=250 without preemption, as servers' kernels are built)."""

_PLACE = "\0"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Exposition:
    """Answers scrapes."""

    def __init__(self, source: metrics.Metrics) -> None:
        self._source = source
        self._lock = asyncio.Lock()
        self._process = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._process)
        prometheus_client.PlatformCollector(registry=self._process)
        prometheus_client.GCCollector(registry=self._process)

    async def scrape(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body: OpenMetrics where the Accept header names it, else the text format."""
        is_open = "application/openmetrics-text" in accept
        parts: list[bytes] = []
        async with self._lock:  # two scrapes at once would share the loop, and both be late
            # Counting thousands of file descriptors takes milliseconds, mostly in the kernel: not on the loop.
            process = await asyncio.to_thread(_of_process, self._process, is_open=is_open)
            pieces: list[str] = []
            end = 0.0
            for piece in text(self._source.families(), is_open=is_open):
                pieces.append(piece)
                if time.perf_counter() >= end:
                    parts.append("".join(pieces).encode())
                    pieces.clear()
                    await asyncio.sleep(REST_S)
                    end = time.perf_counter() + SLICE_S
            parts += "".join(pieces).encode(), process
            await asyncio.sleep(REST_S)
        return openmetrics.CONTENT_TYPE_LATEST if is_open else CONTENT_TYPE_PLAIN_0_0_4, b"".join(parts)


class Collector(registry.Collector):
    """Offers the metrics to a registry of prometheus_client."""

    def __init__(self, source: metrics.Metrics) -> None:
        self._source = source

    def collect(self) -> Iterator[core.Metric]:
        """Yield every family; on the event loop's thread only."""
        for family, samples in self._source.families():
            metric = core.Metric(family.name.removesuffix("_total"), family.help, family.kind)
            for labels, value, counts in samples:
                named = dict(zip(family.labels, labels, strict=True))
                if counts:
                    _add_histogram(metric, family, named, counts, value)
                else:
                    metric.add_sample(family.name, named, value)
            yield metric


def text(source: Iterable[tuple[families.Family, Iterable[metrics.Sample]]], *, is_open: bool) -> Iterator[str]:
    """Yield the text in pieces of some microseconds' work each."""
    for family, samples in source:
        name = family.name
        if is_open and family.kind == "counter":
            name = name.removesuffix("_total")
        yield f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n"
        if family.kind == "histogram":
            template = _histogram_template(family)
            for labels, total, counts in samples:
                yield _histogram(template, family, labels, counts, total)
        else:
            template = _value_template(family)
            for labels, value, _ in samples:
                yield template % (*[label.translate(_ESCAPES) for label in labels], value)


def _of_process(process: prometheus_client.CollectorRegistry, *, is_open: bool) -> bytes:
    """Return memory, CPU and the like of this process; in OpenMetrics this ends the text."""
    if is_open:
        return openmetrics.generate_latest(process)  # type: ignore[no-any-return, no-untyped-call]
    return generate_latest(process)


@functools.cache
def _value_template(family: families.Family) -> str:
    labels = ",".join(f'{label}="%s"' for label in family.labels)
    return f"{family.name}{{{labels}}} %r\n" if labels else f"{family.name} %r\n"


@functools.cache
def _histogram_template(family: families.Family) -> str:
    """Return all lines of a histogram, with a place for its labels and percent signs for its numbers."""
    comma, labels = (",", f"{{{_PLACE}}}") if family.labels else ("", "")
    place = _PLACE if family.labels else ""
    bounds = [*map(repr, family.bounds), "+Inf"]
    buckets = [f'{family.name}_bucket{{{place}{comma}le="{bound}"}} %d\n' for bound in bounds]
    return "".join([*buckets, f"{family.name}_count{labels} %d\n{family.name}_sum{labels} %r\n"])


def _histogram(template: str, family: families.Family, labels: metrics.Labels, counts: list[int], total: float) -> str:
    pairs = ",".join(
        f'{label}="{value.translate(_ESCAPES)}"' for label, value in zip(family.labels, labels, strict=True)
    )
    rising = [*itertools.accumulate(counts)]
    return template.replace(_PLACE, pairs.replace("%", "%%")) % (*rising, rising[-1], total)


def _add_histogram(
    metric: core.Metric, family: families.Family, labels: dict[str, str], counts: list[int], total: float
) -> None:
    rising = [*itertools.accumulate(counts)]
    for bound, count in zip([*map(repr, family.bounds), "+Inf"], rising, strict=True):
        metric.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, count)
    metric.add_sample(f"{family.name}_count", labels, rising[-1])
    metric.add_sample(f"{family.name}_sum", labels, total)
