"""What other clients do: the aws command with its waiters, and the sequences of deploy tools."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import api_harness
import pytest

AWS = Path(sys.executable).parent / "aws"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"


@pytest.fixture
def served(tmp_path):
    with api_harness.serving(tmp_path / "state") as served:
        yield served


@pytest.mark.skipif(not AWS.exists(), reason="the aws command is not installed")
def test_the_aws_command(served, tmp_path):
    zip_file = tmp_path / "code.zip"
    zip_file.write_bytes(api_harness.zipped())
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL_LAMBDA": served.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }

    def aws(*arguments, codes=(0,)):
        done = subprocess.run(
            [AWS, "lambda", *arguments, "--output", "json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in codes, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else done.stderr

    created = aws(
        *("create-function", "--function-name", "hello", "--runtime", "python3.11", "--handler", "app.handler"),
        *("--role", api_harness.ROLE, "--zip-file", f"fileb://{zip_file}"),
        *("--environment", "Variables={KEY=value}", "--tags", "team=x"),
    )
    assert (created["State"], created["Environment"]) == ("Pending", {"Variables": {"KEY": "value"}})
    for waiter in ("function-exists", "function-active", "function-active-v2", "function-updated-v2"):
        aws("wait", waiter, "--function-name", "hello")
    updated = aws("update-function-configuration", "--function-name", ARN, "--memory-size", "512")
    assert updated["MemorySize"] == 512
    assert aws("publish-version", "--function-name", "hello")["Version"] == "1"
    aws("wait", "published-version-active", "--function-name", "hello", "--qualifier", "1")
    routing = "AdditionalVersionWeights={1=0.1}"
    error = aws(
        *("create-alias", "--function-name", "hello", "--name", "live", "--function-version", "1"),
        *("--routing-config", routing),
        codes=(254, 255),
    )
    assert (
        "(InvalidParameterValueException) when calling the CreateAlias operation: Invalid function version 1" in error
    )
    aws("create-alias", "--function-name", "hello", "--name", "live", "--function-version", "1")
    assert [f["FunctionName"] for f in aws("list-functions")["Functions"]] == ["hello"]
    aws("delete-function", "--function-name", "hello:live", codes=(254, 255))
    aws("delete-function", "--function-name", "hello")
    assert aws("list-functions")["Functions"] == []


def refresh(client, name):
    """Read what Terraform's aws_lambda_function reads."""
    function = client.get_function(FunctionName=name)
    versions = client.list_versions_by_function(FunctionName=name, MaxItems=10000)["Versions"]
    signing = client.get_function_code_signing_config(FunctionName=name)
    assert "CodeSigningConfigArn" not in signing
    return function, versions[-1]["Version"]


def test_what_terraform_does(served):
    client = served.client()
    api_harness.create(client, Publish=True, Tags={"managed": "yes"}, Environment={"Variables": {"STAGE": "one"}})
    client.get_waiter("function_active_v2").wait(FunctionName="hello")
    client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=5)
    function, newest = refresh(client, "hello")
    assert newest == "1"
    assert function["Tags"] == {"managed": "yes"}
    assert function["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    assert function["Configuration"]["LastUpdateStatus"] == "Successful"

    client.update_function_configuration(FunctionName="hello", Environment={"Variables": {"STAGE": "two"}})
    client.get_waiter("function_updated_v2").wait(FunctionName="hello")
    client.update_function_code(FunctionName="hello", ZipFile=api_harness.zipped({"app.py": "two"}))
    client.get_waiter("function_updated_v2").wait(FunctionName="hello")
    assert client.publish_version(FunctionName="hello")["Version"] == "2"
    client.get_waiter("published_version_active").wait(FunctionName="hello", Qualifier="2")
    assert refresh(client, "hello")[1] == "2"

    client.create_alias(FunctionName="hello", Name="live", FunctionVersion="2")
    client.add_permission(
        FunctionName="hello",
        Qualifier="live",
        StatementId="AllowApi",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
    )
    policy = json.loads(client.get_policy(FunctionName="hello", Qualifier="live")["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == ["AllowApi"]
    layer = client.publish_layer_version(
        LayerName="tools", Content={"ZipFile": api_harness.zipped({"python/t.py": ""})}
    )
    client.get_layer_version(LayerName="tools", VersionNumber=layer["Version"])
    client.update_function_configuration(FunctionName="hello", Layers=[layer["LayerVersionArn"]])
    client.tag_resource(Resource=ARN, Tags={"more": "tags"})
    client.untag_resource(Resource=ARN, TagKeys=["managed"])
    assert refresh(client, "hello")[0]["Tags"] == {"more": "tags"}

    client.remove_permission(FunctionName="hello", Qualifier="live", StatementId="AllowApi")
    client.delete_alias(FunctionName="hello", Name="live")
    client.delete_function_concurrency(FunctionName="hello")
    client.delete_function(FunctionName="hello")
    client.delete_layer_version(LayerName="tools", VersionNumber=layer["Version"])
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="hello")


def test_what_chalice_and_zappa_do(served):
    client = served.client()
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="hello")
    api_harness.create(client, Publish=True)
    client.get_waiter("function_active").wait(FunctionName="hello")
    client.delete_function_concurrency(FunctionName="hello")
    new = api_harness.zipped({"app.py": "new"})
    client.update_function_code(FunctionName="hello", ZipFile=new, Publish=True)
    client.update_function_configuration(FunctionName="hello", Timeout=60)
    client.get_waiter("function_updated").wait(FunctionName="hello")
    assert client.list_tags(Resource=ARN)["Tags"] == {}
    # Zappa's rollback: it fetches the code of an earlier version, and deploys it again.
    revisions = client.list_versions_by_function(FunctionName="hello")["Versions"]
    assert [revision["Version"] for revision in revisions] == ["$LATEST", "1", "2"]
    location = client.get_function(FunctionName="hello:1")["Code"]["Location"]
    with urllib.request.urlopen(location) as response:
        old = response.read()
    answer = client.update_function_code(FunctionName="hello", ZipFile=old)
    assert answer["CodeSha256"] == api_harness.digest(api_harness.zipped())
    client.delete_function(FunctionName=ARN)
