"""Asynchronous events on a server of ours: what waits, and what ran when, by the word of the function itself."""

import re
import time

from bench import harness, setting

WITNESS = """
import time


def handler(event, context):
    time.sleep(max(event.get("until", 0) - time.time(), 0))
    print("event", event["number"], time.time())
"""
"""A function whose events have numbers; it returns not before ``until``."""

_DRAIN_S = 300.0
_PAUSE_S = 0.05


def waiting(server: harness.Server, function: str | None = None) -> int:
    """Return how many events wait or run: of a function, or of all."""
    found = server.api.call("GET", "/_hotfork/events/queue")["queues"]
    return sum(each["events"] for each in found if function in (None, each["name"]))


def drain(given: setting.Setting, server: harness.Server, function: str | None = None) -> float:
    """Wait until no event waits; return how many ended a second meanwhile. Raises NotReady."""
    began, first = time.monotonic(), waiting(server, function)
    said = began
    while (left := waiting(server, function)) > 0:
        now = time.monotonic()
        if now > began + _DRAIN_S:
            raise harness.NotReady(f"{left} events are still queued after {_DRAIN_S:g} s")
        if now > said + 1:
            said = now
            given.say(f"{left:,} events are queued")
        time.sleep(_PAUSE_S)
    return first / max(time.monotonic() - began, 1e-3)


def ran(server: harness.Server, name: str) -> dict[int, list[float]]:
    """Return when each event of a witness ran (Unix time), by its number: once, or again after a crash."""
    found: dict[int, list[float]] = {}
    cursor = ""
    while True:
        page = server.api.call("GET", f"/_hotfork/logs/{name}?limit=10000&after={cursor}")
        for event in page["events"]:
            match = None if event["platform"] else re.match(r"event (\d+) ([\d.]+)", event["message"])
            if match:
                found.setdefault(int(match[1]), []).append(float(match[2]))
        if not page["events"]:
            return found
        cursor = page["cursor"]
