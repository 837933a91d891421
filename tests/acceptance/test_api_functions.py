"""The life of functions, as boto3 sees it."""

import urllib.request

import api_harness
import botocore.exceptions
import pytest

served = api_harness.served
client = api_harness.client


ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"


def without_metadata(answer):
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def test_create_answers_as_aws_does(client):
    answer = api_harness.create(client)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    shown = without_metadata(answer)
    assert len(shown.pop("RevisionId")) == 36
    assert len(shown.pop("LastModified")) == len("2024-01-01T00:00:00.000+0000")
    assert shown.pop("RuntimeVersionConfig")["RuntimeVersionArn"].startswith("arn:aws:lambda:us-east-1::runtime:")
    assert shown == {
        "Architectures": ["x86_64"],
        "CodeSha256": api_harness.digest(api_harness.zipped()),
        "CodeSize": len(api_harness.zipped()),
        "Description": "",
        "EphemeralStorage": {"Size": 512},
        "FunctionArn": ARN,
        "FunctionName": "hello",
        "Handler": "app.handler",
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/hello"},
        "MemorySize": 128,
        "PackageType": "Zip",
        "Role": api_harness.ROLE,
        "Runtime": "python3.11",
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "Timeout": 3,
        "TracingConfig": {"Mode": "PassThrough"},
        "Version": "$LATEST",
    }


def test_a_function_becomes_active(client):
    created = api_harness.create(client)
    client.get_waiter("function_active_v2").wait(FunctionName="hello")
    shown = client.get_function(FunctionName="hello")["Configuration"]
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful")
    assert shown["RevisionId"] != created["RevisionId"]
    assert "StateReason" not in shown


def test_the_code_can_be_fetched(client):
    api_harness.create(client)
    location = client.get_function(FunctionName="hello")["Code"]["Location"]
    with urllib.request.urlopen(location) as response:
        assert response.read() == api_harness.zipped()
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        urllib.request.urlopen(location[:-1] + ("0" if location[-1] != "0" else "1"))
    caught.value.close()


@pytest.mark.parametrize("reference", ["hello", ARN, "000000000000:function:hello", "function:hello"])
def test_a_function_is_found_by_every_name(client, reference):
    api_harness.create(client)
    shown = client.get_function_configuration(FunctionName=reference)
    assert shown["FunctionArn"] == ARN
    shown = client.get_function_configuration(FunctionName=reference + ":$LATEST")
    assert shown["FunctionArn"] == ARN + ":$LATEST"


@pytest.mark.parametrize("path", [ARN, ARN.replace(":", "%3A"), "hello", "hello/"])
def test_arns_stand_in_paths_raw_and_encoded(served, client, path):
    api_harness.create(client)
    status, headers, body = served.raw("GET", f"/2015-03-31/functions/{path}")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert len(headers["x-amzn-requestid"]) == 36
    assert ARN.encode() in body


def test_update_code(client):
    api_harness.create(client)
    new = api_harness.zipped({"app.py": "def handler(event, context):\n    return 2\n"})
    tried = client.update_function_code(FunctionName="hello", ZipFile=new, DryRun=True)
    assert tried["CodeSha256"] == api_harness.digest(new)
    before = client.get_function_configuration(FunctionName="hello")
    assert before["CodeSha256"] == api_harness.digest(api_harness.zipped())
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.update_function_code(FunctionName="hello", ZipFile=new, RevisionId="stale")
    answer = client.update_function_code(FunctionName="hello", ZipFile=new, RevisionId=before["RevisionId"])
    assert answer["LastUpdateStatus"] == "InProgress"
    assert answer["LastUpdateStatusReason"] == "The function is being created."
    client.get_waiter("function_updated_v2").wait(FunctionName="hello")
    after = client.get_function_configuration(FunctionName="hello")
    assert after["CodeSha256"] == api_harness.digest(new)
    assert len({before["RevisionId"], answer["RevisionId"], after["RevisionId"]}) == 3


def test_update_configuration(client):
    api_harness.create(client, Environment={"Variables": {"KEY": "1"}})
    answer = client.update_function_configuration(FunctionName="hello", MemorySize=256, Timeout=900)
    assert (answer["MemorySize"], answer["Timeout"]) == (256, 900)
    client.get_waiter("function_updated_v2").wait(FunctionName="hello")
    shown = client.get_function_configuration(FunctionName="hello")
    assert shown["Environment"] == {"Variables": {"KEY": "1"}}
    assert shown["MemorySize"] == 256


def test_functions_are_listed_in_pages(client):
    names = [f"f-{number:03}" for number in range(53)]
    for name in names:
        api_harness.create(client, name)
    first = client.list_functions()
    assert [f["FunctionName"] for f in first["Functions"]] == names[:50]
    assert "State" not in first["Functions"][0]
    paginator = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 20})
    assert [f["FunctionName"] for page in paginator for f in page["Functions"]] == names


def test_delete(client):
    api_harness.create(client)
    assert client.delete_function(FunctionName=ARN)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.get_function(FunctionName="hello")
    assert caught.value.response["Message"] == f"Function not found: {ARN}"


def test_the_registry_tells_of_changes_and_serves_the_new_code(served, client):
    api_harness.create(client)
    served.changes.clear()
    before = served.registry.version("hello", None)
    client.update_function_configuration(FunctionName="hello", Timeout=7)
    after = served.registry.version("hello", None)
    assert (before.timeout_s, after.timeout_s) == (3, 7)
    assert before.generation != after.generation
    (change,) = served.changes
    assert dict(change.generations) == {"$LATEST": after.generation}


def test_state_survives_a_restart(tmp_path):
    with api_harness.serving(tmp_path) as first:
        created = api_harness.create(first.client(), Tags={"a": "b"})
    with api_harness.serving(tmp_path) as second:
        shown = second.client().get_function(FunctionName="hello")
        assert shown["Configuration"]["CodeSha256"] == created["CodeSha256"]
        assert shown["Tags"] == {"a": "b"}


def test_an_operation_that_is_not_built_says_so(client):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.get_function_scaling_config(FunctionName="hello", Qualifier="1")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "GetFunctionScalingConfig" in str(caught.value)


def test_no_operation(served):
    status, headers, _ = served.raw("GET", "/nothing/here")
    assert (status, headers["x-amzn-errortype"]) == (404, "UnknownOperationException")
