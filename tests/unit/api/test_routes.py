"""From methods and paths to operations."""

import pytest

from runtime.api import routes, shapes

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def test_every_operation_of_the_model_has_a_route():
    model = shapes.service()
    assert len(model.operation_names) >= 91
    for name in model.operation_names:
        http = model.operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        labels = [segment[1:-1] for segment in path.split("/") if segment.startswith("{")]
        concrete = path
        for label in labels:
            concrete = concrete.replace("{" + label + "}", f"a-{label}")
        match = routes.find(http["method"], concrete, query)
        assert match == routes.Match(name, {label: f"a-{label}" for label in labels}), name
        assert routes.find(http["method"], concrete + "/", query) == match
        assert routes.find("BREW", concrete, query) is None


@pytest.mark.parametrize(
    ("method", "path", "query", "operation", "labels"),
    [
        ("GET", "/2018-10-31/layers", "", "ListLayers", {}),
        ("GET", "/2018-10-31/layers", "find=LayerVersion&Arn=x", "GetLayerVersionByArn", {}),
        ("GET", "/2018-10-31/layers", "MaxItems=1&find=LayerVersion", "GetLayerVersionByArn", {}),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency",
            "Qualifier=1",
            "GetProvisionedConcurrencyConfig",
            {"FunctionName": "f"},
        ),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency",
            "List=ALL",
            "ListProvisionedConcurrencyConfigs",
            {"FunctionName": "f"},
        ),
        ("GET", f"/2015-03-31/functions/{ARN}", "", "GetFunction", {"FunctionName": ARN}),
        ("GET", f"/2015-03-31/functions/{ARN.replace(':', '%3A')}", "", "GetFunction", {"FunctionName": ARN}),
        ("GET", "/2015-03-31/functions/a%2Fb", "", "GetFunction", {"FunctionName": "a/b"}),
        ("GET", "/2015-03-31/functions/%24LATEST", "", "GetFunction", {"FunctionName": "$LATEST"}),
        ("GET", "/2015-03-31/functions/", "", "ListFunctions", {}),
        ("POST", "/2015-03-31/functions/", "", "CreateFunction", {}),
    ],
)
def test_routes(method, path, query, operation, labels):
    assert routes.find(method, path, query) == routes.Match(operation, labels)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/2015-03-31",
        "/2015-03-31/functions/f/nothing",
        "/2015-03-31//f",
        "/2015-03-31/functions/f/code/more",
        "*",
    ],
)
def test_no_route(path):
    assert routes.find("GET", path, "") is None
