import metric_tools
import pytest
from metric_tools import COLD, RAISED, TIMEOUT, WARM, invocation, run, scrape

from runtime import model
from runtime.telemetry import families, lag, metrics, series


@pytest.fixture
def counted():
    return metrics.Metrics()


def test_what_came_of_invocations(counted):
    run(counted, "hello", COLD, WARM, WARM, RAISED, TIMEOUT)
    found = scrape(counted)
    assert found("invocations_total", function="hello", status="success") == 3
    assert found("invocations_total", function="hello", status="error") == 1
    assert found("invocations_total", function="hello", status="timeout") == 1
    assert found("errors_total", function="hello", error_type="Unhandled") == 1
    assert found("errors_total", function="hello", error_type="Sandbox.Timedout") == 1
    assert found("invocation_duration_seconds_count", function="hello") == 5
    assert found("invocation_duration_seconds_sum", function="hello") == pytest.approx(3.5224)
    assert found("invocation_duration_seconds_bucket", function="hello", le="0.001") == 0
    assert found("invocation_duration_seconds_bucket", function="hello", le="0.0025") == 2
    assert found("invocation_duration_seconds_bucket", function="hello", le="0.5") == 4
    assert found("invocation_duration_seconds_bucket", function="hello", le="+Inf") == 5
    assert found("billed_duration_seconds_total", function="hello") == pytest.approx(3.625)


def test_cold_starts_and_their_phases(counted):
    run(counted, "hello", COLD, WARM)
    counted.worker_started(invocation().version, model.StartKind.PLAIN, COLD.phases)
    found = scrape(counted)
    assert found("cold_starts_total", function="hello", kind="plain") == 1
    assert found("worker_starts_total", kind="plain") == 1
    assert found("init_duration_seconds_count", function="hello") == 1
    assert found("init_duration_seconds_sum", function="hello") == pytest.approx(0.1)
    sums = {phase: found("cold_start_phase_seconds_sum", phase=phase) for phase in metrics._PHASES}
    assert sums == pytest.approx({"queue": 0.0004, "fork": 0.001, "sandbox": 0.0007, "assign": 0.0003, "init": 0.1})
    assert found("queue_wait_seconds_count") == 2
    assert found("queue_wait_seconds_bucket", le="0.0001") == 1
    assert found("queue_wait_seconds_sum") == pytest.approx(0.0004)


def test_a_function_that_never_waited_for_init_has_no_init_histogram(counted):
    run(counted, "hello", WARM)
    assert scrape(counted)("init_duration_seconds_count", function="hello") is None


def test_memory(counted):
    run(counted, "hello", WARM, model.Outcome(status=model.Status.SUCCESS, payload=b"", max_memory_mb=20))
    found = scrape(counted)
    assert found("function_memory_used_max_bytes", function="hello") == 38 * 2**20
    assert found("function_memory_limit_bytes", function="hello") == 128 * 2**20
    assert found("worker_memory_used_max_bytes_count", memory_class="128") == 2
    assert found("worker_memory_used_max_bytes_bucket", memory_class="128", le=repr(32.0 * 2**20)) == 1
    assert found("worker_memory_used_max_bytes_count", memory_class="256") is None


def test_concurrent_executions(counted):
    for name in ("a", "a", "b"):
        counted.invocation_started(invocation(name))
    found = scrape(counted)
    assert found("concurrent_executions", function="a") == 2
    assert found("account_concurrent_executions") == 3
    for name in ("a", "a", "b"):
        counted.invocation_finished(invocation(name), WARM)
    found = scrape(counted)
    assert found("concurrent_executions", function="a") == 0
    assert found("account_concurrent_executions") == 0


def test_throttles_and_worker_failures(counted):
    counted.invocation_throttled("hello", "ReservedFunctionConcurrentInvocationLimitExceeded")
    counted.worker_failed(invocation("broken").version, "init")
    found = scrape(counted)
    reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert found("throttles_total", function="hello", reason=reason) == 1
    assert found("worker_failures_total", function="broken", cause="init") == 1


def test_workers_by_state(counted):
    version = invocation().version
    counted.worker_moved(None, "", "starting")
    counted.worker_moved(version, "", "starting")
    counted.worker_moved(version, "starting", "idle")
    counted.worker_moved(version, "idle", "busy")
    found = scrape(counted)
    states = {state: found("workers", state=state) for state in ("starting", "idle", "busy", "draining", "stopping")}
    assert states == {"starting": 1, "idle": 0, "busy": 1, "draining": 0, "stopping": 0}
    counted.worker_moved(version, "busy", "stopping")
    counted.worker_moved(version, "stopping", "dead")
    found = scrape(counted)
    assert found("workers", state="stopping") == 0
    assert found("workers", state="dead") is None


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Runtime.ImportModuleError", "Runtime.ImportModuleError"),
        ("Sandbox.Timedout", "Sandbox.Timedout"),
        ("Function.ResponseSizeTooLarge", "Function.ResponseSizeTooLarge"),
        ("Runtime.Invented17", "Runtime.Unknown"),
        ("Function.Invented17", "Function.Unknown"),
        ("KeyError", "Unhandled"),
        ("", "Unhandled"),
        ('x",y="', "Unhandled"),
    ],
)
def test_error_types_are_a_closed_set(name, label):
    assert families.error_type(name) == label


def test_a_function_that_raises_a_new_error_each_time_makes_no_new_series(counted):
    for i in range(100):
        for prefix in ("", "Runtime.", "Function.", "Sandbox."):
            outcome = model.Outcome(status=model.Status.ERROR, payload=b"", error_type=f"{prefix}E{i}")
            run(counted, "hello", outcome)
    assert len([key for key in scrape(counted).samples if key[0] == "hotfork_errors_total"]) == 3


def test_functions_beyond_the_limit_share_their_series():
    counted = metrics.Metrics(function_limit=2)
    for name in "abcd":
        run(counted, name, WARM, RAISED)
    found = scrape(counted)
    assert found.functions() == {"a", "b", "(other)"}
    assert found("invocations_total", function="(other)", status="success") == 2


def test_a_forgotten_function_leaves_no_series_and_makes_room():
    counted = metrics.Metrics(function_limit=2)
    for name in "abc":
        run(counted, name, WARM)
    counted.forget("a")
    counted.forget("never heard of")
    assert scrape(counted).functions() == {"b", "(other)"}
    run(counted, "c", WARM)  # stays where it was counted before
    run(counted, "d", WARM)
    run(counted, "e", WARM)
    found = scrape(counted)
    assert found.functions() == {"b", "d", "(other)"}
    assert found("invocations_total", function="(other)", status="success") == 3


def test_what_is_counted_up_is_counted_down_under_the_same_name():
    counted = metrics.Metrics(function_limit=2)
    run(counted, "x", WARM)
    counted.invocation_started(invocation("a"))
    counted.invocation_started(invocation("late"))
    counted.forget("x")
    counted.invocation_started(invocation("late"))
    for name in ("a", "late", "late"):
        counted.invocation_finished(invocation(name), WARM)
    found = scrape(counted)
    running = {name: found("concurrent_executions", function=name) for name in found.functions()}
    assert running == {"a": 0, "(other)": 0}


def test_a_function_deleted_while_it_runs_does_not_come_back(counted):
    counted.invocation_started(invocation("a"))
    counted.invocation_started(invocation("a"))
    counted.forget("a")
    assert scrape(counted).functions() == set()
    assert scrape(counted)("account_concurrent_executions") == 2
    counted.invocation_finished(invocation("a"), WARM)
    counted.invocation_finished(invocation("a"), WARM)
    counted.worker_failed(invocation("a").version, "exit")
    assert scrape(counted).functions() <= {"(other)"}
    assert scrape(counted)("account_concurrent_executions") == 0
    assert counted._leaving == {}


def test_a_function_created_again_while_its_namesake_still_runs(counted):
    counted.invocation_started(invocation("a"))
    counted.forget("a")
    counted.invocation_started(invocation("a"))
    assert scrape(counted)("concurrent_executions", function="a") == 1
    counted.invocation_finished(invocation("a"), WARM)
    counted.invocation_finished(invocation("a"), WARM)
    assert scrape(counted)("concurrent_executions", function="a") == 0
    counted.worker_failed(invocation("a").version, "exit")
    assert scrape(counted)("worker_failures_total", function="a", cause="exit") == 1


def test_names_of_forgotten_functions_do_not_pile_up(counted, monkeypatch):
    monkeypatch.setattr(metrics, "_FORGOTTEN_LIMIT", 10)
    for i in range(1000):
        counted.forget(f"f{i}")
    assert len(counted._forgotten) <= 10


def test_watched_values_are_read_at_each_scrape(counted):
    zygotes = {"python3.11": 1.0}
    counted.watch(families.ZYGOTES, lambda: zygotes)
    counted.watch(families.HTTP_CONNECTIONS, lambda: len(zygotes))
    assert scrape(counted)("zygotes", runtime="python3.11") == 1
    zygotes["python3.12"] = 1.0
    assert scrape(counted)("zygotes", runtime="python3.12") == 1
    assert scrape(counted)("http_connections") == 2


def test_a_value_on_a_bound_is_within_its_bucket():
    histogram = series.Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert (histogram.counts, histogram.count, histogram.sum) == ([2, 2, 1], 5, 7.5)


def test_every_family_has_labels_and_bounds_that_fit():
    known = [family for family in vars(families).values() if isinstance(family, families.Family)]
    assert len({family.name for family in known}) == len(known) > 20
    for family in known:
        assert (family.kind == "histogram") == bool(family.bounds)
        assert list(family.bounds) == sorted(family.bounds)
        assert (family.kind == "counter") == family.name.endswith("_total")


class Loop:
    """An event loop with a clock of its own."""

    def __init__(self):
        self.now, self.timers = 100.0, []

    def time(self):
        return self.now

    def call_later(self, delay, callback, *args):
        self.timers.append((self.now + delay, callback, args))
        return metric_tools  # a handle that nobody uses

    def advance(self, seconds):
        self.now += seconds
        (_, callback, args) = self.timers.pop()
        callback(*args)


def test_the_loops_lag_is_what_a_timer_is_late():
    loop, histogram = Loop(), series.Histogram(families.LOOP_LAG.bounds)
    sampler = lag.LoopLag(histogram)
    sampler.start(loop)
    loop.advance(0.25)
    loop.advance(0.25 + 0.03)
    assert (histogram.count, histogram.sum) == (2, pytest.approx(0.03))
    assert histogram.counts[families.LOOP_LAG.bounds.index(0.05)] == 1
    assert len(loop.timers) == 1
