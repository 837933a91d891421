"""Layers, as boto3 sees them, and what a function gets of them."""

import urllib.request
from pathlib import Path

import api_harness
import pytest

LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:tools"

served = api_harness.served
client = api_harness.client

TWICE = "Two different versions of the same layer are not allowed to be referenced in the same function."


def publish(client, name="tools", files=None, **kwargs):
    content = {"ZipFile": api_harness.zipped(files or {"python/tool.py": "x = 1\n"})}
    return client.publish_layer_version(LayerName=name, Content=content, **kwargs)


def test_a_layer_from_birth_to_death(client):
    kwargs = {"CompatibleRuntimes": ["python3.11"], "CompatibleArchitectures": ["x86_64"], "LicenseInfo": "MIT"}
    first = publish(client, **kwargs)
    assert first.pop("ResponseMetadata")["HTTPStatusCode"] == 201
    number = first["Version"]
    with urllib.request.urlopen(first["Content"].pop("Location")) as response:
        assert response.read() == api_harness.zipped({"python/tool.py": "x = 1\n"})
    assert first == {
        "LayerArn": LAYER,
        "LayerVersionArn": f"{LAYER}:{number}",
        "Version": number,
        "Description": "",
        "CreatedDate": first["CreatedDate"],
        "Content": {
            "CodeSha256": api_harness.digest(api_harness.zipped({"python/tool.py": "x = 1\n"})),
            "CodeSize": len(api_harness.zipped({"python/tool.py": "x = 1\n"})),
        },
        **kwargs,
    }
    second = publish(client, Description="two")
    assert second["Version"] == number + 1
    assert "CompatibleRuntimes" not in second
    listed = client.list_layer_versions(LayerName="tools")["LayerVersions"]
    assert [(v["Version"], v["Description"]) for v in listed] == [(number + 1, "two"), (number, "")]
    (layer,) = client.list_layers()["Layers"]
    assert (layer["LayerName"], layer["LatestMatchingVersion"]["Version"]) == ("tools", number + 1)
    (layer,) = client.list_layers(CompatibleRuntime="python3.11")["Layers"]
    assert layer["LatestMatchingVersion"]["Version"] == number
    assert client.list_layers(CompatibleRuntime="python3.12")["Layers"] == []
    shown = client.get_layer_version_by_arn(Arn=f"{LAYER}:{number}")
    assert shown["LayerVersionArn"] == f"{LAYER}:{number}"
    for _ in range(2):
        answer = client.delete_layer_version(LayerName="tools", VersionNumber=number)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    client.delete_layer_version(LayerName="tools", VersionNumber=number + 1)
    assert client.list_layers()["Layers"] == []
    assert publish(client)["Version"] == number + 2


def test_a_function_sees_its_layers_laid_over_each_other(served, client):
    below = publish(client, "below", {"python/a.py": "below", "python/b.py": "below", "bin/tool": "x"})
    above = publish(client, "above", {"python/b.py": "above", "lib/c": "above"})
    layers = [below["LayerVersionArn"], above["LayerVersionArn"]]
    created = api_harness.create(client, Layers=layers)
    assert [layer["Arn"] for layer in created["Layers"]] == layers
    assert created["Layers"][0]["CodeSize"] == below["Content"]["CodeSize"]
    root = Path(served.registry.version("hello", None).layer_path)
    assert (root / "python/a.py").read_text() == "below"
    assert (root / "python/b.py").read_text() == "above"
    assert sorted(path.name for path in root.iterdir()) == ["bin", "lib", "python"]


def test_a_function_keeps_a_deleted_layer(served, client):
    version = publish(client, files={"python/kept.py": "kept"})
    api_harness.create(client, Layers=[version["LayerVersionArn"]])
    client.delete_layer_version(LayerName="tools", VersionNumber=version["Version"])
    served.run(served.registry.collect())
    root = Path(served.registry.version("hello", None).layer_path)
    assert (root / "python/kept.py").exists()
    shown = client.get_function_configuration(FunctionName="hello")
    assert [layer["Arn"] for layer in shown["Layers"]] == [version["LayerVersionArn"]]
    answer = client.update_function_configuration(FunctionName="hello", Layers=[])
    assert "Layers" not in answer
    assert served.registry.version("hello", None).layer_path is None
    served.run(served.registry.collect())
    assert not root.exists()


def test_what_may_not_be_a_functions_layer(client):
    arns = [publish(client, f"layer-{n}")["LayerVersionArn"] for n in range(6)]
    again = publish(client, "layer-0")["LayerVersionArn"]
    cases = [
        (arns, "Cannot reference more than 5 layers."),
        (
            [arns[0], again],
            f"{TWICE} {arns[0]} and {again} are versions of the same layer.",
        ),
        (
            [arns[0], arns[0]],
            f"{TWICE} {arns[0]} and {arns[0]} are versions of the same layer.",
        ),
        ([LAYER + "x:1"], f"Layer version {LAYER}x:1 does not exist."),
        ([arns[0][:-1] + "999"], f"Layer version {arns[0][:-1]}999 does not exist."),
        (
            [arns[0].replace("us-east-1", "us-west-2")],
            "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
        ),
    ]
    for layers, message in cases:
        with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
            api_harness.create(client, Layers=layers)
        assert caught.value.response["message"] == message


def test_a_layer_policy(client):
    number = publish(client)["Version"]
    common = {"LayerName": "tools", "VersionNumber": number}
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="No policy is associated"):
        client.get_layer_version_policy(**common)
    allow = {**common, "Action": "lambda:GetLayerVersion", "Principal": "*"}
    added = client.add_layer_version_permission(StatementId="s1", **allow)
    assert added["Statement"] == (
        '{"Sid":"s1","Effect":"Allow","Principal":"*","Action":"lambda:GetLayerVersion",'
        f'"Resource":"{LAYER}:{number}"}}'
    )
    policy = client.get_layer_version_policy(**common)
    assert policy["RevisionId"] == added["RevisionId"]
    assert policy["Policy"] == f'{{"Version":"2012-10-17","Id":"default","Statement":[{added["Statement"]}]}}'
    with pytest.raises(client.exceptions.PreconditionFailedException, match="GetLayerPolicy"):
        client.add_layer_version_permission(StatementId="s2", RevisionId="wrong", **allow)
    with pytest.raises(client.exceptions.ResourceConflictException, match=r"statement id \(s1\)"):
        client.add_layer_version_permission(StatementId="s1", **allow)
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Statement no is not found"):
        client.remove_layer_version_permission(StatementId="no", **common)
    client.remove_layer_version_permission(StatementId="s1", RevisionId=policy["RevisionId"], **common)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_layer_version_policy(**common)
