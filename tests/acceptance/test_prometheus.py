"""A real Prometheus, with the configuration we ship, scrapes our metrics; its HTTP API is asked what it saw."""

import asyncio
import contextlib
import json
import pathlib
import shutil
import socket
import urllib.parse
import urllib.request

import pytest

from runtime import config, model
from runtime.telemetry import families, telemetry

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus (Debian package of that name) is not installed"
)

SHIPPED = pathlib.Path(__file__).parents[2] / "configs" / "prometheus.yml"
VERSION = model.Version(
    function_name="hello",
    version="$LATEST",
    function_arn="arn:aws:lambda:us-east-1:000000000000:function:hello",
    runtime="python3.12",
    handler="app.handler",
    code_sha256="",
    code_path="/x",
    log_group="/aws/lambda/hello",
    generation="1",
)
INVOCATION = model.Invocation(request_id="1", version=VERSION, payload=b"{}", invoked_arn=VERSION.function_arn)
COLD = model.Outcome(
    status=model.Status.SUCCESS,
    payload=b"1",
    duration_s=0.02,
    billed_ms=121,
    init_s=0.1,
    max_memory_mb=38,
    start=model.StartKind.PLAIN,
    phases=model.Phases(queue=0.0004, fork=0.002, init=0.1),
)
RAISED = model.Outcome(status=model.Status.ERROR, payload=b"", error_type="KeyError", duration_s=0.5, billed_ms=500)


@pytest.fixture
async def listener(tmp_path):
    listener = telemetry.Telemetry(config.Settings(state_dir=tmp_path))
    listener.metrics.watch(families.ISOLATION_CONTROL, lambda: {"seccomp": 1, "cgroup": 0})
    listener.start()
    yield listener
    listener.close()


@pytest.fixture
async def target(listener):
    """The address of a small server that answers every request with the metrics."""

    async def answer(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            accept = next((line for line in head.split("\r\n") if line.startswith("accept:")), "")
            content_type, body = await listener.exposition(accept)
            writer.write(
                f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            writer.write(body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}"
    server.close()
    await server.wait_closed()


@pytest.fixture
async def ask(target, tmp_path):
    """Ask the HTTP API of a Prometheus that scrapes the target: ask("query", query="up") -> data."""
    shipped = SHIPPED.read_text()
    settings = shipped.replace("127.0.0.1:3001", target).replace("scrape_interval: 5s", "scrape_interval: 200ms")
    assert settings.count(target) == settings.count("200ms") == 1
    (tmp_path / "prometheus.yml").write_text(settings)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = (tmp_path / "prometheus.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address={address}",
        stdout=log,
        stderr=log,
    )

    def get(path, query):
        with urllib.request.urlopen(f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(query)}") as answer:
            return json.load(answer)["data"]

    async def ask(path, **query):
        return await asyncio.to_thread(get, path, query)

    yield ask
    process.terminate()
    await process.wait()
    log.close()


async def value(ask, query):
    found = (await ask("query", query=query))["result"]
    return float(found[0]["value"][1]) if found else None


async def until(ask, query, wanted):
    """Wait until a query has the wanted value; the deadline is generous, for a machine under load."""
    last: object = "not asked yet"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            while last != wanted:
                with contextlib.suppress(OSError):  # not listening yet
                    last = await value(ask, query)
                await asyncio.sleep(0.05)
    assert last == wanted, query


async def test_prometheus_scrapes_and_understands_our_metrics(listener, ask):
    for outcome in (COLD, RAISED):
        listener.invocation_started(INVOCATION)
        listener.invocation_finished(INVOCATION, outcome)
    await until(ask, 'hotfork_invocations_total{function="hello",status="success"}', 1)
    assert await value(ask, 'up{job="hotfork"}') == 1
    (scraped,) = (await ask("targets"))["activeTargets"]
    assert (scraped["health"], scraped["lastError"]) == ("up", "")

    assert await value(ask, 'hotfork_errors_total{error_type="Unhandled"}') == 1
    assert await value(ask, 'hotfork_cold_starts_total{kind="plain"}') == 1
    assert await value(ask, 'hotfork_isolation_control{control="seccomp"}') == 1
    median = await value(ask, "histogram_quantile(0.5, sum by (le) (hotfork_invocation_duration_seconds_bucket))")
    assert 0.01 < median <= 0.025
    assert await value(ask, "process_resident_memory_bytes") > 10_000_000

    metadata = await ask("metadata")
    for family in (families.INVOCATIONS, families.DURATION, families.WORKERS):
        # The metadata of a counter is under its OpenMetrics name, without _total, where that format was scraped.
        (known,) = metadata.get(family.name) or metadata[family.name.removesuffix("_total")]
        assert (known["type"], known["help"]) == (family.kind, family.help)

    # Counters go on where they were.
    listener.invocation_started(INVOCATION)
    await until(ask, "hotfork_account_concurrent_executions", 1)
    listener.invocation_finished(INVOCATION, COLD)
    await until(ask, 'hotfork_invocations_total{function="hello",status="success"}', 2)
    listener.forget("hello", VERSION.log_group)
    await until(ask, "count(hotfork_invocations_total)", None)
