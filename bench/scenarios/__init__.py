"""What can be measured: one file, one function each. A scenario's docstring is its help."""

from collections.abc import Callable

from bench import result, setting
from bench.scenarios import cold, dispatch, http, payload, scrape

Scenario = Callable[[setting.Setting], result.Result]

ALL: dict[str, Scenario] = {
    "dispatch": dispatch.run,
    "http": http.run,
    "payload": payload.run,
    "cold": cold.run,
    "scrape": scrape.run,
}
