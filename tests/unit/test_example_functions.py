"""The functions under configs/functions and bench/functions, called as Python."""

import importlib.util
import json
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from runtime.cli import package as packages

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for base in ("configs", "bench") for path in (ROOT / base).glob("functions/*/handler.py"))
CONTEXT = SimpleNamespace(
    function_name="f",
    function_version="$LATEST",
    aws_request_id="id",
    memory_limit_in_mb="128",
    get_remaining_time_in_millis=lambda: 0,
)


def load(folder):
    spec = importlib.util.spec_from_file_location(f"example_{folder.name}", ROOT / folder / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(folder, event):
    return load(ROOT / folder).handler(event, CONTEXT)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parts[-3]}-{folder.name}")
def test_each_is_a_package_that_names_all_it_needs(folder):
    package = packages.read(folder)
    assert set(package.configuration) >= {"Handler", "MemorySize", "Timeout", "Description"}
    assert tomllib.loads((folder / "function.toml").read_text())["description"]


@pytest.mark.parametrize(
    ("name", "event", "expected"),
    [
        ("hello", {}, {"ok": True}),
        ("echo", {"a": [1]}, {"a": [1]}),
        # sum of 1 + i for i below n
        ("float", {"n": 1000}, {"n": 1000, "total": pytest.approx(1000 + 1000 * 999 / 2)}),
        # NIST SP 800-38A, F.5.1: the first block of CTR-AES128
        ("aes", {"bytes": 64}, {"first": "874d6191b620e3261bef6864990db6ce", "same": True}),
        # the sum of (i + k)(k - i + 1) over all i and k below n is n * n * (n - 1)
        ("matrix", {"n": 20}, {"n": 20, "trace": 20 * 20 * 19}),
    ],
)
def test_benchmark_functions_compute_what_they_say(name, event, expected):
    assert call(f"bench/functions/{name}", event) == expected


def test_benchmark_functions_on_real_data():
    packed = call("bench/functions/gzip", {})
    assert packed["same"]
    assert 0 < packed["packed"] < packed["bytes"]
    assert call("bench/functions/json", {"rows": 3})["same"]
    small, large = (call("bench/functions/template", {"rows": rows}) for rows in (1, 2))
    assert small["bytes"] < large["bytes"]
    assert small["sha256"] != large["sha256"]
    assert call("bench/functions/sleep", {"seconds": 0})["slept_s"] >= 0


def test_hello():
    assert call("configs/functions/hello", {"name": "you"}) == {"message": "Hello, you!", "request": "id"}


@pytest.fixture
def route(monkeypatch):
    monkeypatch.setenv("GREETING", "Hello")

    def send(method, path, **event):
        context = {"http": {"method": method, "path": path}}
        return call("configs/functions/http", {"requestContext": context, "rawPath": path, **event})

    return send


def test_http(route):
    assert "Hello, world!" in route("GET", "/")["body"]
    assert "<b>" not in route("GET", "/", queryStringParameters={"name": "<b>"})["body"]
    assert json.loads(route("POST", "/sum", body="[1, 2]")["body"]) == {"sum": 3}
    assert json.loads(route("POST", "/sum", body="WzEsMl0=", isBase64Encoded=True)["body"]) == {"sum": 3}
    assert route("PUT", "/")["statusCode"] == 404


def test_fails():
    fails = load(ROOT / "configs/functions/fails")
    with pytest.raises(fails.OutOfStock):
        fails.handler({}, CONTEXT)
    with pytest.raises(SystemExit):
        fails.handler({"how": "exit"}, CONTEXT)
    assert fails.handler({"how": "memory"}, CONTEXT) == 128 * 2**20
    assert fails.handler({"how": "not"}, CONTEXT) == {"how": "not", "failed": False}
