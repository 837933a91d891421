"""Versions, aliases, layers and concurrency by the command line, on a server."""

import json
import os
import subprocess

import pytest
from conftest import HOTFORK

HANDLER = "import shared\ndef handler(event, context):\n    return [shared.VALUE, {text!r}, context.function_version]\n"


@pytest.fixture
def hotfork(server):
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HOTFORK_"))}
    environ["HOTFORK_URL"] = server.url

    def run(*arguments, status=0):
        done = subprocess.run([HOTFORK, *arguments], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout) if done.stdout else done.stderr

    return run


def test_a_release_from_layer_to_alias(hotfork, tmp_path):
    layer, function = tmp_path / "layer", tmp_path / "managed"
    (layer / "python").mkdir(parents=True)
    function.mkdir()
    (layer / "python/shared.py").write_text("VALUE = 'first'\n")
    assert hotfork("layer", "managed-tools", str(layer), "--description", "shared code")["Version"] == 1
    assert [one["LayerName"] for one in hotfork("layer")] == ["managed-tools"]

    for text in ("one", "two"):
        (function / "handler.py").write_text(HANDLER.format(text=text))
        hotfork("deploy", str(function), "--layer", "managed-tools", "--timeout", "10")
        hotfork("versions", "managed", "--publish", "--description", text)
    assert hotfork("versions", "managed", "--publish")["Version"] == "2", "nothing has changed"
    found = hotfork("versions", "managed")
    assert [(one["Version"], one["Description"]) for one in found] == [("$LATEST", ""), ("1", "one"), ("2", "two")]

    hotfork("alias", "managed", "live", "1")
    assert hotfork("invoke", "managed:live") == ["first", "one", "1"]
    moved = hotfork("alias", "managed", "live", "2", "--also", "1=25%")
    assert moved["RoutingConfig"] == {"AdditionalVersionWeights": {"1": 0.25}}
    hotfork("alias", "managed", "live", "2")
    assert hotfork("invoke", "managed:live") == ["first", "two", "2"]
    assert "ResourceConflictException" in hotfork("versions", "managed", "--rm", "2", status=2)
    hotfork("alias", "managed", "live", "--rm")
    assert hotfork("alias", "managed") == []
    hotfork("versions", "managed", "--rm", "2")

    (layer / "python/shared.py").write_text("VALUE = 'second'\n")
    hotfork("layer", "managed-tools", str(layer))
    hotfork("deploy", str(function), "--layer", "managed-tools:2")
    assert hotfork("invoke", "managed") == ["second", "two", "$LATEST"]
    hotfork("layer", "managed-tools", "--rm", "2")
    assert hotfork("invoke", "managed") == ["second", "two", "$LATEST"]

    assert hotfork("concurrency", "managed", "--reserve", "0")["ReservedConcurrentExecutions"] == 0
    assert "TooManyRequestsException" in hotfork("invoke", "managed", status=2)
    assert hotfork("concurrency")["AccountLimit"]["UnreservedConcurrentExecutions"] <= 1000
    assert hotfork("concurrency", "managed", "--reserve", "none") == {"ProvisionedConcurrencyConfigs": []}
    assert hotfork("invoke", "managed") == ["second", "two", "$LATEST"]

    hotfork("alias", "managed", "live", "1")
    (held,) = hotfork("concurrency", "managed:live", "--provision", "2")["ProvisionedConcurrencyConfigs"]
    assert (held["Status"], held["AvailableProvisionedConcurrentExecutions"]) == ("READY", 2)
    assert hotfork("invoke", "managed:live") == ["first", "one", "1"]
    assert hotfork("concurrency", "managed:live", "--provision", "none") == {"ProvisionedConcurrencyConfigs": []}
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "handler.py").write_text("1 / 0\n")
    hotfork("deploy", str(broken))
    hotfork("versions", "broken", "--publish")
    told = hotfork("concurrency", "broken:1", "--provision", "1", status=1)
    assert "broken:1 could not be provisioned: FUNCTION_ERROR_INIT_FAILURE" in told
