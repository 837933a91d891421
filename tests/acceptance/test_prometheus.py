"""A real Prometheus, with the configuration we ship, scrapes a real server; its HTTP API is asked what it saw."""

import contextlib
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from conftest import Server, create, until

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus (Debian package of that name) is not installed"
)

SHIPPED = Path(__file__).parents[2] / "configs" / "prometheus.yml"
SOURCE = """
import os, time
def handler(event, context):
    if event.get("raise"):
        raise KeyError("x")
    if event.get("exit"):
        os._exit(1)
    time.sleep(event.get("s", 0))
    return 1
"""


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path / "state").start()
    yield one
    assert one.stop() == 0


@pytest.fixture
def ask(server, tmp_path):
    """Ask the HTTP API of a Prometheus that scrapes the server: ask("query", query="up") -> data."""
    target = server.url.removeprefix("http://")
    shipped = SHIPPED.read_text()
    settings = shipped.replace("127.0.0.1:3001", target).replace("scrape_interval: 5s", "scrape_interval: 200ms")
    assert settings.count(target) == settings.count("200ms") == 1
    (tmp_path / "prometheus.yml").write_text(settings)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/tsdb",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )

    def ask(path, **query):
        with urllib.request.urlopen(f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(query)}") as answer:
            return json.load(answer)["data"]

    yield ask
    process.terminate()
    process.wait()


def value(ask, query):
    with contextlib.suppress(urllib.error.URLError):  # not listening yet
        found = ask("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None


def test_prometheus_scrapes_and_understands_a_server(server, ask):
    client = server.client()
    create(client, "watched", SOURCE)
    client.put_function_concurrency(FunctionName="watched", ReservedConcurrentExecutions=5)
    for event in ({}, {}, {"raise": 1}, {"exit": 1}):
        client.invoke(FunctionName="watched", Payload=json.dumps(event))
    client.put_function_concurrency(FunctionName="watched", ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException):
        client.invoke(FunctionName="watched")
    client.delete_function_concurrency(FunctionName="watched")

    until(lambda: value(ask, 'hotfork_invocations_total{function="watched",status="success"}') == 2)
    (scraped,) = ask("targets")["activeTargets"]
    assert (scraped["health"], scraped["lastError"]) == ("up", "")
    until(lambda: value(ask, 'hotfork_throttles_total{function="watched"}') == 1)
    assert value(ask, 'hotfork_errors_total{function="watched",error_type="Unhandled"}') == 1
    assert value(ask, 'hotfork_errors_total{function="watched",error_type="Runtime.ExitError"}') == 1
    assert value(ask, "sum(hotfork_cold_starts_total)") == 1
    assert value(ask, "hotfork_isolation_level") >= 1
    assert value(ask, "hotfork_zygotes") == 1
    assert value(ask, "count(hotfork_isolation_control)") > 10
    assert value(ask, "hotfork_http_requests_total") > 5
    median = value(ask, "histogram_quantile(0.5, sum by (le) (hotfork_invocation_duration_seconds_bucket))")
    assert 0 < median < 900
    phases = {
        sample["metric"]["phase"]: float(sample["value"][1])
        for sample in ask("query", query="hotfork_cold_start_phase_seconds_count")["result"]
    }
    assert phases.keys() == {"queue", "fork", "sandbox", "assign", "init"}
    assert min(phases.values()) >= 1
    assert value(ask, 'hotfork_function_memory_used_max_bytes{function="watched"}') > 1_000_000
    assert value(ask, "process_resident_memory_bytes") > 10_000_000

    client.delete_function(FunctionName="watched")
    until(lambda: value(ask, 'count(hotfork_invocations_total{function="watched"})') is None)


def test_promtool_finds_nothing_to_complain_of(server):
    client = server.client()
    create(client, "watched", SOURCE)
    client.invoke(FunctionName="watched")
    _, metrics = server.get("/metrics")
    checked = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
