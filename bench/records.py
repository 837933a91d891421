"""What a running load has seen so far: latencies by outcome, lateness, progress over time."""

from bench import plan
from bench.histogram import Histogram, Recorder, merged

_NS = 1_000_000_000
_STEPS = 100
_LEAST_STEP_S = 0.02


class Records:
    """Filled by the generator, one answer at a time."""

    __slots__ = (
        "_answered",
        "_late",
        "_outcomes",
        "_service",
        "_slowest",
        "_start",
        "_step_ns",
        "finished",
        "good_calls",
        "last",
        "refused",
        "times",
        "unsent",
        "waited",
    )

    def __init__(self, duration_s: float, *, list_times: bool = False) -> None:
        self._step_ns = int(max(duration_s / _STEPS, _LEAST_STEP_S) * _NS)
        self._outcomes: dict[str | bytes, Recorder] = {}
        self._service = Recorder()
        self._late = Recorder()
        self._answered: list[int] = []
        self._slowest: list[int] = []
        self._start = 0
        self.last = 0
        """When the last answer came."""
        self.finished = 0
        """Requests that have an outcome."""
        self.good_calls: list[int] = []
        self.times: list[tuple[int, int]] | None = [] if list_times else None
        self.waited = 0
        self.unsent = 0
        self.refused = 0

    def begin(self, now: int) -> None:
        """Set the start, from which the timeline counts; nanoseconds of the monotonic clock, as all times here."""
        self._start = self.last = now

    def ended(self, outcome: str | bytes, latency: int, now: int) -> None:
        """Note the end of a request: its outcome, and how long its caller waited."""
        recorder = self._outcomes.get(outcome)
        if recorder is None:
            recorder = self._outcomes[outcome] = Recorder()
        recorder.record(latency)
        self.finished += 1
        self.last = now
        if self.times is not None:
            self.times.append((now - latency, now))
        step = (now - self._start) // self._step_ns
        answered, slowest = self._answered, self._slowest
        while step >= len(answered):
            answered.append(0)
            slowest.append(0)
        answered[step] += 1
        if latency > slowest[step]:  # noqa: PLR1730 - half the price of max()
            slowest[step] = latency

    def served(self, duration: int) -> None:
        """Note how long an answer took from the sending of its request, in an open loop."""
        self._service.record(duration)

    def sent_late(self, duration: int) -> None:
        """Note how late the generator was."""
        self._late.record(duration)

    def result(self, *, started_at: float, cpu_s: float) -> plan.Result:
        """Return the whole."""
        outcomes: dict[str, Histogram] = {}
        for key, recorder in self._outcomes.items():
            name = key.decode() if isinstance(key, bytes) else key
            outcomes[name] = merged([outcomes[name], recorder.finish()]) if name in outcomes else recorder.finish()
        elapsed_s = max(self.last - self._start, 1) / _NS
        return plan.Result(
            outcomes=outcomes,
            service=self._service.finish(),
            late=self._late.finish(),
            waited=self.waited,
            unsent=self.unsent,
            refused=self.refused,
            elapsed_s=elapsed_s,
            started_at=started_at,
            rate=sum(each.count for name, each in outcomes.items() if name[:1].isdigit()) / elapsed_s,
            good_rate=sum(each.count for name, each in outcomes.items() if plan.is_good(name)) / elapsed_s,
            cpu_s=cpu_s,
            times=self.times,
            timeline=plan.Timeline(step_s=self._step_ns / _NS, answered=self._answered, slowest_ns=self._slowest),
        )
