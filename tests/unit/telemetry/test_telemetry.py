from pathlib import Path

import log_tools
import metric_tools

from runtime import config, observer
from runtime.telemetry import reading, telemetry


async def test_one_object_listens_to_everything(tmp_path: Path):
    settings = config.Settings(state_dir=tmp_path)
    listener = telemetry.Telemetry(settings, log_tools.Clock())
    observed: observer.Observer = listener
    listener.start()
    try:
        version, invocation = log_tools.version(), metric_tools.invocation()
        observed.worker_moved(version, "", "starting")
        observed.worker_started(version, metric_tools.COLD.start, metric_tools.COLD.phases)
        observed.invocation_started(invocation)
        observed.log_written(version, "s", b"START\n", platform=True)
        observed.log_written(version, "s", b"hello")
        observed.invocation_finished(invocation, metric_tools.COLD)
        observed.invocation_throttled("hello", "ConcurrentInvocationLimitExceeded")
        observed.worker_failed(version, "exit")
        observed.log_closed(version, "s")
        page = await listener.logs.read(version.log_group, None, 10, reading.ANY)
        assert [(event.message, event.platform) for event in page.events] == [("START", True), ("hello", False)]
        _, body = await listener.exposition("")
        found = metric_tools.Scrape(body.decode())
        assert found("invocations_total", function="hello", status="success") == 1
        assert found("workers", state="starting") == 1
        assert found("worker_starts_total", kind="plain") == 1
        assert found("throttles_total", function="hello", reason="ConcurrentInvocationLimitExceeded") == 1
        assert found("worker_failures_total", function="hello", cause="exit") == 1
        assert found("log_dropped_bytes_total", reason="rate") == 0
        assert found("account_concurrency_limit") == settings.pool.account_concurrency
        listener.forget("hello", version.log_group)
        _, body = await listener.exposition("")
        assert metric_tools.Scrape(body.decode()).functions() == set()
    finally:
        listener.close()
    assert (tmp_path / "logs/aws/lambda/hello/current.log").read_text().endswith("\tF\thello\n")
