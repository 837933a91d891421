import asyncio
import itertools
import shutil
import subprocess
import time

import metric_tools
import prometheus_client
import pytest
from metric_tools import COLD, RAISED, TIMEOUT, WARM, run
from prometheus_client.openmetrics import parser as openmetrics_parser

from runtime.telemetry import exposition, families, metrics


@pytest.fixture
def counted():
    counted = metrics.Metrics()
    for i in range(50):
        run(counted, f"f-{i}", COLD, WARM, RAISED, TIMEOUT)
    counted.invocation_throttled("f-1", "ConcurrentInvocationLimitExceeded")
    counted.worker_failed(metric_tools.invocation("f-1").version, "oom")
    counted.worker_started(metric_tools.invocation().version, COLD.start, COLD.phases)
    counted.worker_moved(None, "", "starting")
    counted.loop_lag.observe(0.001)
    for family in vars(families).values():
        if isinstance(family, families.Family) and family.kind != "histogram" and family not in seen(counted):
            counted.watch(family, lambda family=family: {"x": 1.5} if family.labels else 2)
    return counted


def seen(counted):
    return [family for family, _ in counted.families()]


async def test_text_and_openmetrics_say_what_a_registry_of_prometheus_client_says(counted):
    registry = prometheus_client.CollectorRegistry()
    registry.register(exposition.Collector(counted))
    expected = metric_tools.Scrape(prometheus_client.generate_latest(registry).decode()).samples
    assert len(expected) > 2000
    exposed = exposition.Exposition(counted)

    content_type, body = await exposed.scrape("text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    plain = metric_tools.Scrape(body.decode()).samples
    assert {key: value for key, value in plain.items() if key[0].startswith("hotfork_")} == expected

    content_type, body = await exposed.scrape("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert body.endswith(b"# EOF\n")
    # This parser refuses all that the standard forbids: samples out of order, repeated families, bad buckets.
    strict = metric_tools.Scrape(body.decode(), openmetrics_parser.text_string_to_metric_families).samples
    assert {key: value for key, value in strict.items() if key[0].startswith("hotfork_")} == expected


async def test_the_process_is_in_every_scrape(counted):
    for accept in ("", "application/openmetrics-text"):
        _, body = await exposition.Exposition(counted).scrape(accept)
        assert b"\nprocess_resident_memory_bytes " in body
        assert b"\npython_gc_objects_collected_total{" in body


async def test_every_family_is_documented(counted):
    _, body = await exposition.Exposition(counted).scrape("")
    for family in seen(counted):
        assert f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n".encode() in body


needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not installed"
)


def promtool(body):
    check = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    return check.returncode, check.stdout + check.stderr


@needs_promtool
async def test_promtool_has_nothing_to_say(counted):
    _, body = await exposition.Exposition(counted).scrape("")
    assert promtool(body) == (0, b"")


@needs_promtool
def test_promtool_would_have_something_to_say():
    """The control of the test above."""
    status, said = promtool(b"# TYPE hotfork_things counter\nhotfork_things 1\n")
    assert status != 0
    assert b"hotfork_things" in said


def test_label_values_are_escaped():
    counted = metrics.Metrics()
    hostile = 'a"} 1\n\\%d%s{'
    counted.watch(families.ISOLATION_CONTROL, lambda: {hostile: 1})
    run(counted, hostile, WARM)
    found = metric_tools.scrape(counted)
    assert found("isolation_control", control=hostile) == 1
    assert found("invocation_duration_seconds_count", function=hostile) == 1


async def test_a_scrape_lets_the_loop_go_on_after_each_slice(counted, monkeypatch):
    """With a clock that shows a quarter of a slice more at each look, others run after every four pieces."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) * exposition.SLICE_S / 4)
    turns, done = 0, False

    async def others():
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(others())
        await exposition.Exposition(counted).scrape("")
        done = True
    pieces = len([*exposition.text(counted.families(), is_open=False)])
    assert pieces > 500
    assert turns >= pieces // 5


async def test_between_two_slices_the_loop_sleeps_so_that_others_get_its_processor(counted, monkeypatch):
    monkeypatch.setattr(exposition, "SLICE_S", 0)
    rests, sleep = [], asyncio.sleep

    async def rest(seconds):
        rests.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", rest)
    await exposition.Exposition(counted).scrape("")
    assert len(rests) > len([*exposition.text(counted.families(), is_open=False)])
    assert set(rests) == {exposition.REST_S}
    assert exposition.REST_S > 0


async def test_what_changes_during_a_scrape_does_not_break_it(counted, monkeypatch):
    monkeypatch.setattr(exposition, "SLICE_S", 0)

    async def change():
        for i in range(200):
            run(counted, f"new-{i}", WARM)
            counted.forget(f"f-{i}")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(change())
        _, body = await exposition.Exposition(counted).scrape("application/openmetrics-text")
    metric_tools.Scrape(body.decode(), openmetrics_parser.text_string_to_metric_families)


async def test_two_scrapes_at_once_both_get_everything(counted):
    exposed = exposition.Exposition(counted)
    async with asyncio.TaskGroup() as tasks:
        scrapes = [tasks.create_task(exposed.scrape("")) for _ in range(2)]
    assert [scrape.result()[1].count(b"hotfork_invocations_total{") for scrape in scrapes] == [150, 150]
