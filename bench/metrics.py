"""Reads a scrape: the text format of Prometheus, as far as the server writes it. Pure."""

import re
from collections.abc import Mapping

_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Sample = tuple[str, frozenset[tuple[str, str]]]


def parse(text: str) -> dict[Sample, float]:
    """Return every sample by its name and labels."""
    found = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            found[match.group(1), frozenset(_LABEL.findall(match.group(2) or ""))] = float(match.group(3))
    return found


def means(samples: Mapping[Sample, float], name: str, label: str) -> dict[str, tuple[float, int]]:
    """Return mean and count of a histogram for each value of a label."""
    found = {}
    for (each, labels), total in samples.items():
        values = dict(labels)
        if each == f"{name}_sum" and label in values:
            count = int(samples.get((f"{name}_count", labels), 0))
            if count:
                found[values[label]] = (total / count, count)
    return found
