"""The commands for versions, aliases, layers and concurrency: what they ask of the server, what they print."""

import base64
import io
import json
import os
import zipfile

import click.testing
import lambda_stub
import pytest

from runtime import cli
from runtime.cli import concurrency as concurrencies

FUNCTION = "/2015-03-31/functions/hello"
LAYERS = "/2018-10-31/layers"
RESERVED = "/2017-10-31/functions/hello/concurrency"
PROVISIONED = "/2019-09-30/functions/hello/provisioned-concurrency"
VERSION = {
    "Version": "$LATEST",
    "Runtime": "python3.12",
    "CodeSize": 2048,
    "CodeSha256": "abcdefghijklmnop=",
    "LastModified": "2026-11-21T10:00:00.000+0000",
    "Description": "",
}
LIVE = {"Name": "live", "FunctionVersion": "1", "Description": ""}
SPLIT = {**LIVE, "Name": "next", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.125}}, "Description": "try"}
LAYER = {"Version": 3, "CreatedDate": "2026-11-21T10:00:00.000+0000", "CompatibleRuntimes": ["python3.12"]}


@pytest.fixture
def server():
    with lambda_stub.running() as stub:
        yield stub


@pytest.fixture
def run(server, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("HOTFORK_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOTFORK_URL", server.url)

    def call(*arguments):
        return click.testing.CliRunner().invoke(cli.main, arguments, prog_name="hotfork")

    return call


def table(result):
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


# versions


def test_versions_with_the_aliases_that_lead_to_them(run, server):
    versions = [{**VERSION, "Version": number} for number in ("$LATEST", "1", "2")]
    server.answers[f"GET {FUNCTION}/versions"] = lambda_stub.ok({"Versions": versions[:1], "NextMarker": "m"})
    server.answers[f"GET {FUNCTION}/versions?Marker=m"] = lambda_stub.ok({"Versions": versions[1:]})
    server.answers[f"GET {FUNCTION}/aliases"] = lambda_stub.ok({"Aliases": [LIVE, SPLIT]})
    lines = table(run("versions", "hello", "--output", "table"))
    assert lines[0].split()[:2] == ["VERSION", "ALIASES"]
    assert [line[: lines[0].index("RUNTIME")].rstrip() for line in lines[1:]] == [
        "$LATEST  -",
        "1        live, next 87.5 %",
        "2        next 12.5 %",
    ]
    assert "abcdefghijkl " in lines[1]
    assert json.loads(run("versions", "hello").stdout) == versions


def test_versions_publish(run, server):
    server.answers[f"POST {FUNCTION}/versions"] = lambda_stub.ok({**VERSION, "Version": "7"}, 201)
    result = run("versions", "hello", "--publish", "--description", "why", "--output", "table")
    assert result.stdout == "Version 7 of hello: hotfork invoke hello:7\n"
    assert server.requests[0].document == {"Description": "why"}
    assert json.loads(run("versions", "hello", "--publish").stdout)["Version"] == "7"
    assert server.requests[1].document == {}


def test_versions_rm(run, server):
    server.answers[f"DELETE {FUNCTION}?Qualifier=7"] = lambda_stub.ok(b"", 204)
    assert run("versions", "hello", "--rm", "7", "--output", "table").stdout == "Deleted version 7 of hello\n"


# alias


def test_alias_lists_and_shows(run, server):
    server.answers[f"GET {FUNCTION}/aliases"] = lambda_stub.ok({"Aliases": [LIVE, SPLIT]})
    server.answers[f"GET {FUNCTION}/aliases/next"] = lambda_stub.ok(SPLIT)
    assert table(run("alias", "hello", "--output", "table")) == [
        "ALIAS  IS                                          DESCRIPTION",
        "live   version 1                                   -",
        "next   version 1 for 87.5 %, version 2 for 12.5 %  try",
    ]
    assert json.loads(run("alias", "hello").stdout) == [LIVE, SPLIT]
    assert json.loads(run("alias", "hello", "next").stdout) == SPLIT


def test_alias_is_moved_where_it_exists(run, server):
    server.answers[f"PUT {FUNCTION}/aliases/live"] = lambda_stub.ok({**LIVE, "FunctionVersion": "3"})
    result = run("alias", "hello", "live", "3", "--output", "table")
    assert result.stdout == "hello:live is version 3\n"
    assert server.requests[0].document == {
        "FunctionVersion": "3",
        "RoutingConfig": {"AdditionalVersionWeights": {}},
    }


def test_alias_is_made_where_there_is_none(run, server):
    server.answers[f"POST {FUNCTION}/aliases"] = lambda_stub.ok(SPLIT, 201)
    result = run("alias", "hello", "next", "1", "--also", "2=12.5%", "--description", "try", "--output", "table")
    assert result.stdout == "hello:next is version 1 for 87.5 %, version 2 for 12.5 %\n"
    assert server.seen() == [f"PUT {FUNCTION}/aliases/next", f"POST {FUNCTION}/aliases"]
    assert server.requests[1].document == {
        "Name": "next",
        "FunctionVersion": "1",
        "Description": "try",
        "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.125}},
    }


def test_alias_says_what_the_server_refuses(run, server):
    server.answers[f"PUT {FUNCTION}/aliases/live"] = lambda_stub.error(400, "InvalidParameterValueException", "no")
    result = run("alias", "hello", "live", "9")
    assert result.exit_code == 2
    assert "InvalidParameterValueException: no" in result.stderr
    assert len(server.requests) == 1


def test_alias_rm_wants_one_that_exists(run, server):
    assert run("alias", "hello", "live", "--rm").exit_code == 2
    server.answers[f"GET {FUNCTION}/aliases/live"] = lambda_stub.ok(LIVE)
    server.answers[f"DELETE {FUNCTION}/aliases/live"] = lambda_stub.ok(b"", 204)
    assert run("alias", "hello", "live", "--rm", "--output", "table").stdout == "Deleted alias live of hello\n"


# layer


def test_layer_lists(run, server):
    second = {**LAYER, "Version": 2, "CompatibleRuntimes": None, "Description": "old"}
    server.answers[f"GET {LAYERS}"] = lambda_stub.ok({"Layers": [{"LayerName": "t", "LatestMatchingVersion": LAYER}]})
    server.answers[f"GET {LAYERS}/t/versions"] = lambda_stub.ok({"LayerVersions": [LAYER, second]})
    assert table(run("layer", "--output", "table"))[1].split() == ["t", "3", "python3.12", "2026-11-21T10:00:00", "-"]
    assert table(run("layer", "t", "--output", "table"))[2].split() == ["2", "-", "2026-11-21T10:00:00", "old"]
    assert json.loads(run("layer", "t").stdout) == [LAYER, second]


def test_layer_is_published_from_a_folder(run, server, tmp_path):
    (tmp_path / "python").mkdir()
    (tmp_path / "python/tool.py").write_text("x = 1\n")
    server.answers[f"POST {LAYERS}/t/versions"] = lambda_stub.ok(LAYER, 201)
    result = run("layer", "t", str(tmp_path), "--runtime", "python3.12", "--description", "d", "--output", "table")
    assert result.stdout == "Version 3 of layer t: hotfork deploy ... --layer t\n"
    assert "Warning" not in result.stderr
    document = server.requests[0].document
    assert (document["CompatibleRuntimes"], document["Description"]) == (["python3.12"], "d")
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(document["Content"]["ZipFile"]))) as archive:
        assert archive.namelist() == ["python/tool.py"]


def test_layer_that_functions_would_not_find_is_warned_of(run, server, tmp_path):
    (tmp_path / "tool.py").write_text("x = 1\n")
    server.answers[f"POST {LAYERS}/t/versions"] = lambda_stub.ok(LAYER, 201)
    result = run("layer", "t", str(tmp_path))
    assert result.exit_code == 0
    assert "Warning: nothing lies in a folder python" in result.stderr


def test_layer_of_nothing_is_refused(run, server, tmp_path):
    result = run("layer", "t", str(tmp_path))
    assert result.exit_code == 2
    assert "there is no file" in result.stderr
    assert server.requests == []


def test_layer_rm_wants_one_that_exists(run, server):
    assert run("layer", "t", "--rm", "3").exit_code == 2
    server.answers[f"GET {LAYERS}/t/versions/3"] = lambda_stub.ok(LAYER)
    server.answers[f"DELETE {LAYERS}/t/versions/3"] = lambda_stub.ok(b"", 204)
    assert run("layer", "t", "--rm", "3", "--output", "table").stdout == "Deleted version 3 of layer t\n"


def test_deploy_with_layers(run, server, tmp_path):
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "handler.py").write_text("def handler(event, context): pass\n")
    versions = [{**LAYER, "Version": number, "LayerVersionArn": f"arn:layer:t:{number}"} for number in (3, 2)]
    server.answers[f"GET {LAYERS}/t/versions"] = lambda_stub.ok({"LayerVersions": versions})
    server.answers["POST /2015-03-31/functions"] = lambda_stub.ok({}, 201)
    active = {"State": "Active", "LastUpdateStatus": "Successful", "CodeSha256": "old"}
    server.answers[f"GET {FUNCTION}/configuration"] = [
        lambda_stub.error(404, "ResourceNotFoundException", "no"),
        lambda_stub.ok(active),
    ]
    assert run("deploy", str(folder), "--layer", "t", "--layer", "arn:aws:x").exit_code == 0
    assert server.requests[2].document["Layers"] == ["arn:layer:t:3", "arn:aws:x"]
    server.answers[f"PUT {FUNCTION}/configuration"] = lambda_stub.ok({})
    server.answers[f"PUT {FUNCTION}/code"] = lambda_stub.ok({})
    present = {**active, "Handler": "handler.handler", "Layers": [{"Arn": "arn:layer:t:2", "CodeSize": 1}]}
    server.answers[f"GET {FUNCTION}/configuration"] = lambda_stub.ok(present)
    server.requests.clear()
    assert run("deploy", str(folder), "--layer", "t:2").exit_code == 0
    assert f"PUT {FUNCTION}/configuration" not in server.seen()
    assert run("deploy", str(folder), "--layer", "t:3").exit_code == 0
    changes = [one.document for one in server.requests if one.path == f"{FUNCTION}/configuration" and one.body]
    assert changes == [{"Layers": ["arn:layer:t:3"]}]
    result = run("deploy", str(folder), "--layer", "t:9")
    assert result.exit_code == 2
    assert "there is no layer t:9" in result.stderr


# concurrency


def ready(count, asked=2, status="READY"):
    return {
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:hello:live",
        "RequestedProvisionedConcurrentExecutions": asked,
        "AvailableProvisionedConcurrentExecutions": count,
        "Status": status,
    }


@pytest.fixture
def of_function(server):
    def answer(reserved, *provisioned):
        server.answers["GET /2019-09-30/functions/hello/concurrency"] = lambda_stub.ok(reserved)
        server.answers[f"GET {PROVISIONED}?List=ALL"] = lambda_stub.ok({"ProvisionedConcurrencyConfigs": provisioned})

    return answer


def test_concurrency_of_the_account(run, server):
    limits = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900, "TotalCodeSize": 1 << 30}
    settings = {"AccountLimit": limits, "AccountUsage": {"TotalCodeSize": 1 << 20, "FunctionCount": 3}}
    server.answers["GET /2016-08-19/account-settings"] = lambda_stub.ok(settings)
    assert table(run("concurrency", "--output", "table")) == [
        "Calls at once         1000",
        "of them not reserved  900",
        "Functions             3",
        "Code                  1.0 MB of 1.0 GB",
    ]
    assert json.loads(run("concurrency").stdout) == settings


@pytest.mark.parametrize(
    ("reserved", "text"),
    [
        ({}, "none, it shares with the others"),
        ({"ReservedConcurrentExecutions": 0}, "0, it is turned off"),
        ({"ReservedConcurrentExecutions": 5}, "5"),
    ],
)
def test_concurrency_of_a_function(run, of_function, reserved, text):
    of_function(reserved)
    assert table(run("concurrency", "hello", "--output", "table")) == [f"Reserved  {text}"]
    assert json.loads(run("concurrency", "hello").stdout) == {**reserved, "ProvisionedConcurrencyConfigs": []}


def test_concurrency_is_reserved_and_given_back(run, server, of_function):
    of_function({"ReservedConcurrentExecutions": 5})
    server.answers[f"PUT {RESERVED}"] = lambda_stub.ok({})
    server.answers[f"DELETE {RESERVED}"] = lambda_stub.ok(b"", 204)
    assert run("concurrency", "hello", "--reserve", "5").exit_code == 0
    assert server.requests[0].document == {"ReservedConcurrentExecutions": 5}
    server.requests.clear()
    assert run("concurrency", "hello", "--reserve", "none").exit_code == 0
    assert server.seen()[0] == f"DELETE {RESERVED}"


def test_concurrency_is_provisioned_and_waited_for(run, server, of_function, monkeypatch):
    monkeypatch.setattr(concurrencies, "_POLL_S", 0)
    of_function({}, ready(2))
    server.answers[f"PUT {PROVISIONED}?Qualifier=live"] = lambda_stub.ok(ready(0), 202)
    server.answers[f"GET {PROVISIONED}?Qualifier=live"] = [
        lambda_stub.ok(ready(1, status="IN_PROGRESS")),
        lambda_stub.ok(ready(2)),
    ]
    lines = table(run("concurrency", "hello:live", "--provision", "2", "--output", "table"))
    assert lines[1].split(None, 3) == ["Ready", "for", "live", "2 of 2"]
    assert server.requests[0].document == {"ProvisionedConcurrentExecutions": 2}
    server.answers[f"GET {PROVISIONED}?Qualifier=live"] = lambda_stub.ok(
        {**ready(0, status="FAILED"), "StatusReason": "x"}
    )
    result = run("concurrency", "hello:live", "--provision", "2")
    assert result.exit_code == 1
    assert "could not be provisioned: x" in result.stderr
    monkeypatch.setattr(concurrencies, "_WAIT_S", 0)
    server.answers[f"GET {PROVISIONED}?Qualifier=live"] = lambda_stub.ok(ready(1, status="IN_PROGRESS"))
    assert run("concurrency", "hello:live", "--provision", "2").exit_code == 3
    server.answers[f"DELETE {PROVISIONED}?Qualifier=live"] = lambda_stub.ok(b"", 204)
    assert run("concurrency", "hello:live", "--provision", "none").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["versions", "hello", "--publish", "--rm", "1"], "exclude each other"),
        (["versions", "hello", "--description", "x"], "goes with --publish"),
        (["alias", "hello", "live", "--also", "2=10%"], "go with a version"),
        (["alias", "hello", "live", "1", "--also", "2=0.1"], "such as 4=10%"),
        (["alias", "hello", "live", "1", "--also", "2=101%"], "such as 4=10%"),
        (["alias", "hello", "--rm"], "--rm goes with an alias"),
        (["alias", "hello", "live", "1", "--rm"], "--rm goes with an alias"),
        (["layer", "t", "--description", "x"], "go with a folder or zip"),
        (["layer", "--rm", "1"], "--rm goes with a layer"),
        (["concurrency", "--reserve", "1"], "go with a function"),
        (["concurrency", "hello", "--reserve", "-1"], "neither a number nor none"),
        (["concurrency", "hello", "--provision", "1"], "wants a version or an alias"),
    ],
)
def test_what_makes_no_sense_is_not_asked_of_the_server(run, server, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert server.requests == []
