"""What kill -9 loses of asynchronous events that were accepted."""

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import backlog, client, load, plan, result, setting

_SETTINGS = "[async_invoke]\nconcurrency = 4\n"
_LOAD_S = 2.0
_KILL_AFTER_S = 1.0
_HELD_S = 12.0
"""Until then no event ends, so that none of them can be in the log when the server is killed."""
_EVENTS = 20_000
_CONNECTIONS = 32
_HEADERS = {"X-Amz-Invocation-Type": "Event"}


def run(given: setting.Setting) -> tuple[list[result.Measure], str]:
    """Kill a server under load; return what was lost by it, and how requests ended around the kill."""
    with tempfile.TemporaryDirectory(prefix="hotfork-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        state = folder / "state"
        given.say("killing the server under load")
        with given.server(_SETTINGS, state) as server:
            assert server.pid is not None
            server.create("witness", {"handler.py": backlog.WITNESS}, Timeout=60)
            until = time.time() + _HELD_S
            path = client.invoke_path("witness")
            calls = [
                plan.Call(path=path, headers=_HEADERS, body=f'{{"number": {number}, "until": {until}}}')
                for number in range(_EVENTS)
            ]
            fields: dict[str, Any] = {"order": "once", "duration_s": _LOAD_S, "list_good": True, "drain_s": 0.5}
            with load.Running(server.towards(calls, connections=_CONNECTIONS, **fields)) as running:
                time.sleep(_KILL_AFTER_S)
                os.kill(server.pid, signal.SIGKILL)
                ended = running.wait()
        with given.server(_SETTINGS, state) as server:
            given.say("waiting for what was accepted")
            time.sleep(max(until - time.time(), 0))
            backlog.drain(given, server)
            seen = backlog.ran(server, "witness")
    accepted = set(ended.good_calls or ())
    lost, again = accepted - seen.keys(), sum(len(times) > 1 for times in seen.values())
    outcomes = ", ".join(f"{each.count} {outcome}" for outcome, each in sorted(ended.outcomes.items()))
    return [
        _count("async.crash.accepted", "accepted before kill -9", len(accepted), "neither"),
        _count("async.crash.lost", "of these, lost", len(lost), "lower"),
        _count("async.crash.again", "run more than once", again, "neither"),
    ], f"{len(lost)} of {len(accepted):,} accepted events were lost to kill -9. Requests around it: {outcomes}."


def _count(name: str, title: str, count: int, better: result.Better) -> result.Scalar:
    return result.Scalar(name=name, title=title, unit="", values=[float(count)], better=better)
