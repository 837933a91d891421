"""What a scenario returns, and what a result file holds: measures with their distributions, tables, plots, notes.

Measures are what is compared; tables and plots are for people and hold nothing that is in no measure, but for shape.
"""

from pathlib import Path
from typing import Literal

import msgspec

from bench.histogram import Histogram
from bench.machine import Environment

SCHEMA = 1

Better = Literal["lower", "higher", "neither"]
Unit = Literal["s", "B", "1/s", ""]


class Distribution(msgspec.Struct, frozen=True, kw_only=True, tag="distribution", omit_defaults=True):
    """Durations, one histogram of nanoseconds for each run."""

    name: str
    """Unique in a file: "http.c8.latency"."""
    title: str
    runs: list[Histogram]
    better: Better = "lower"


class Scalar(msgspec.Struct, frozen=True, kw_only=True, tag="scalar", omit_defaults=True):
    """Figures, one for each run."""

    name: str
    title: str
    unit: Unit
    values: list[float]
    better: Better


Measure = Distribution | Scalar


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of text."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class Series(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Points of a line, or the heights of bars."""

    name: str
    y: list[float]
    x: list[float] = []
    low: list[float] = []
    """Ends of the intervals around y, where there are any."""
    high: list[float] = []


class Lines(msgspec.Struct, frozen=True, kw_only=True, tag="lines", omit_defaults=True):
    """A plot of lines over numbers."""

    title: str
    x: str
    y: str
    unit: Unit
    series: list[Series]
    x_unit: Unit = ""
    log_x: bool = False
    log_y: bool = False


class Bars(msgspec.Struct, frozen=True, kw_only=True, tag="bars", omit_defaults=True):
    """A plot of horizontal bars, one group for each category."""

    title: str
    unit: Unit
    categories: list[str]
    series: list[Series]
    stacked: bool = False
    log: bool = False


class Latency(msgspec.Struct, frozen=True, kw_only=True, tag="latency"):
    """A plot of latency by percentile, of distributions among the measures."""

    title: str
    measures: list[str]


Plot = Lines | Bars | Latency


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario found."""

    scenario: str
    title: str
    command: str
    """What to type to repeat it."""
    environment: Environment
    isolation: str
    """What the server said about its confinement, or how it was chosen."""
    measures: list[Measure] = []
    tables: list[Table] = []
    plots: list[Plot] = []
    notes: list[str] = []
    """How to read it, and what was not as it should be."""


class File(msgspec.Struct, frozen=True):
    """A result file."""

    schema: int
    results: list[Result]


def save(path: Path, results: list[Result]) -> None:
    """Write a result file."""
    path.write_bytes(msgspec.json.encode(File(SCHEMA, results)) + b"\n")


def load(path: Path) -> list[Result]:
    """Read a result file; raise ValueError where it is none."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=File)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} is no result file: {error}") from None
    if file.schema != SCHEMA:
        raise ValueError(f"{path} has schema {file.schema}, this program knows {SCHEMA}")
    return file.results
