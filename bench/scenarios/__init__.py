"""What can be measured: one file, one function each. A scenario's docstring is its help."""

from collections.abc import Callable

from bench import result, setting
from bench.scenarios import (
    cold,
    density,
    dev,
    dispatch,
    events,
    floors,
    functions,
    http,
    isolation,
    keepalive,
    mix,
    overload,
    payload,
    peers,
    scale,
    scrape,
    snapshot,
    soak,
    stream,
)

Scenario = Callable[[setting.Setting], result.Result]

ALL: dict[str, Scenario] = {
    "floors": floors.run,
    "dispatch": dispatch.run,
    "http": http.run,
    "payload": payload.run,
    "stream": stream.run,
    "cold": cold.run,
    "snapshot": snapshot.run,
    "isolation": isolation.run,
    "scale": scale.run,
    "density": density.run,
    "functions": functions.run,
    "dev": dev.run,
    "overload": overload.run,
    "scrape": scrape.run,
    "async": events.run,
    "mix": mix.run,
    "keepalive": keepalive.run,
    "soak": soak.run,
    "peers": peers.run,
}
