"""Published versions and aliases, as boto3 sees them: numbers, revisions, ARNs, no-op publishing, deletion."""

import api_harness
import botocore.exceptions
import pytest

ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"

served = api_harness.served
client = api_harness.client


def revision(client, qualifier="$LATEST"):
    return client.get_function_configuration(FunctionName="hello", Qualifier=qualifier)["RevisionId"]


def test_publish_on_create(client):
    created = api_harness.create(client, Publish=True)
    assert (created["Version"], created["FunctionArn"], created["State"]) == ("1", ARN, "Pending")
    listed = client.list_versions_by_function(FunctionName="hello")["Versions"]
    assert [v["FunctionArn"] for v in listed] == [ARN + ":$LATEST", ARN + ":1"]
    assert len({created["RevisionId"], *(v["RevisionId"] for v in listed)}) == 3
    assert all("State" not in v and "RuntimeVersionConfig" not in v for v in listed)
    again = client.publish_version(FunctionName="hello", Description="not even with a description")
    assert (again["Version"], again["Description"], again["RevisionId"]) == ("1", "", listed[1]["RevisionId"])
    assert revision(client) == listed[0]["RevisionId"]


def test_publishing_an_update(client):
    api_harness.create(client)
    first = client.publish_version(FunctionName="hello", Description="first")
    assert (first["Version"], first["Description"], first["FunctionArn"]) == ("1", "first", ARN + ":1")
    assert (first["State"], first["LastUpdateStatus"]) == ("Active", "Successful")
    client.update_function_configuration(FunctionName="hello", Description="changed")
    before = revision(client)
    second = client.publish_version(FunctionName="hello")
    assert (second["Version"], second["Description"]) == ("2", "changed")
    assert revision(client) != before
    assert revision(client, "1") == first["RevisionId"]
    assert client.publish_version(FunctionName="hello", Description="x")["Version"] == "2"
    listed = client.list_versions_by_function(FunctionName="hello")["Versions"]
    assert [v["Version"] for v in listed] == ["$LATEST", "1", "2"]
    shown = client.get_function(FunctionName="hello", Qualifier="1")["Configuration"]
    assert (shown["Description"], shown["FunctionArn"]) == ("first", ARN + ":1")


def test_publish_with_a_code_update(client):
    api_harness.create(client)
    new = api_harness.zipped({"app.py": "x = 1\n"})
    answer = client.update_function_code(FunctionName="hello", ZipFile=new, Publish=True)
    assert (answer["Version"], answer["FunctionArn"], answer["State"]) == ("1", ARN + ":1", "Pending")
    assert "LastUpdateStatus" not in answer
    assert revision(client, "1") == answer["RevisionId"]
    assert client.get_function_configuration(FunctionName="hello")["CodeSha256"] == api_harness.digest(new)


def test_an_update_that_changes_nothing_publishes_nothing_new(client):
    api_harness.create(client, Publish=True)
    before = revision(client)
    client.update_function_configuration(FunctionName="hello", Timeout=3)
    client.update_function_code(FunctionName="hello", ZipFile=api_harness.zipped())
    assert revision(client) != before
    assert client.publish_version(FunctionName="hello")["Version"] == "1"


def test_preconditions_of_publishing(client):
    api_harness.create(client)
    sha = api_harness.digest(api_harness.zipped())
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        client.publish_version(FunctionName="hello", CodeSha256="somenonexistentsha256")
    assert caught.value.response["message"] == (
        f"CodeSHA256 (somenonexistentsha256) is different from current CodeSHA256 in $LATEST ({sha}). "
        "Please try again with the CodeSHA256 in $LATEST."
    )
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.publish_version(FunctionName="hello", RevisionId="wrong")
    assert client.publish_version(FunctionName="hello", CodeSha256=sha, RevisionId=revision(client))["Version"] == "1"


def test_numbers_are_never_used_again(client):
    api_harness.create(client, Publish=True)
    client.delete_function(FunctionName="hello", Qualifier="1")
    client.delete_function(FunctionName="hello", Qualifier="1")
    client.delete_function(FunctionName="hello:7")
    assert client.publish_version(FunctionName="hello")["Version"] == "2"
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.get_function(FunctionName="hello", Qualifier="1")
    assert caught.value.response["Message"] == f"Function not found: {ARN}:1"


def test_versions_are_listed_in_pages(client):
    api_harness.create(client, Publish=True)
    for number in range(2, 12):
        client.update_function_configuration(FunctionName="hello", Description=str(number))
        client.publish_version(FunctionName="hello")
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName="hello", PaginationConfig={"PageSize": 1}
    )
    assert [v["Version"] for page in pages for v in page["Versions"]] == ["$LATEST", *map(str, range(1, 12))]
    api_harness.create(client, "world")
    for size in (1, 5, 50):
        pages = client.get_paginator("list_functions").paginate(
            FunctionVersion="ALL", PaginationConfig={"PageSize": size}
        )
        found = [f["FunctionArn"].partition("function:")[2] for page in pages for f in page["Functions"]]
        assert found == ["hello:$LATEST", *(f"hello:{n}" for n in range(1, 12)), "world:$LATEST"]


def test_an_alias_from_birth_to_death(client):
    api_harness.create(client, Publish=True)
    client.update_function_configuration(FunctionName="hello", Timeout=5)
    client.publish_version(FunctionName="hello")
    routing = {"AdditionalVersionWeights": {"2": 0.2}}
    created = client.create_alias(FunctionName="hello", Name="live", FunctionVersion="1", RoutingConfig=routing)
    assert created.pop("ResponseMetadata")["HTTPStatusCode"] == 201
    assert created == {
        "AliasArn": ARN + ":live",
        "Name": "live",
        "FunctionVersion": "1",
        "Description": "",
        "RevisionId": created["RevisionId"],
        "RoutingConfig": routing,
    }
    shown = client.get_alias(FunctionName="hello", Name="live")
    assert {key: shown[key] for key in created} == created
    through = client.get_function(FunctionName=ARN + ":live")["Configuration"]
    assert (through["FunctionArn"], through["Version"], through["Timeout"]) == (ARN + ":live", "1", 3)
    same = client.update_alias(FunctionName="hello", Name="live")
    assert same["RevisionId"] != created["RevisionId"]
    assert same["RoutingConfig"] == routing
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.update_alias(FunctionName="hello", Name="live", RevisionId=created["RevisionId"])
    moved = client.update_alias(
        FunctionName="hello", Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    assert "RoutingConfig" not in moved
    client.create_alias(FunctionName="hello", Name="old", FunctionVersion="1", Description="d")
    listed = client.list_aliases(FunctionName="hello")["Aliases"]
    assert [(a["Name"], a["FunctionVersion"]) for a in listed] == [("live", "2"), ("old", "1")]
    listed = client.list_aliases(FunctionName="hello", FunctionVersion="1")["Aliases"]
    assert [a["Name"] for a in listed] == ["old"]
    with pytest.raises(client.exceptions.ResourceConflictException, match=r"aliases reference it: \[live\]"):
        client.delete_function(FunctionName="hello", Qualifier="2")
    for _ in range(2):
        answer = client.delete_alias(FunctionName="hello", Name="live")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    client.delete_function(FunctionName="hello", Qualifier="2")


def test_the_route_of_an_alias(served, client):
    api_harness.create(client, Publish=True)
    client.update_function_configuration(FunctionName="hello", Timeout=5)
    client.publish_version(FunctionName="hello")
    client.create_alias(
        FunctionName="hello",
        Name="live",
        FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}},
    )
    route = served.registry.route("hello", "live")
    assert (route.version.version, route.additional.version, route.weight) == ("1", "2", 0.25)
    assert (route.version.timeout_s, route.additional.timeout_s) == (3, 5)
    client.update_alias(FunctionName="hello", Name="live", FunctionVersion="$LATEST", RoutingConfig={})
    route = served.registry.route("hello", "live")
    assert (route.version.version, route.additional) == ("$LATEST", None)


def test_updates_of_latest_leave_versions_and_their_workers_alone(served, client):
    api_harness.create(client, Publish=True)
    published = served.registry.version("hello", "1")
    served.changes.clear()
    client.update_function_configuration(FunctionName="hello", Timeout=9)
    assert served.registry.version("hello", "1") == published
    assert [list(change.generations) for change in served.changes] == [["$LATEST"]]
    client.publish_version(FunctionName="hello")
    assert list(served.changes[-1].generations) == ["2"]
    client.delete_function(FunctionName="hello", Qualifier="1")
    assert dict(served.changes[-1].generations) == {"1": None}
    client.delete_function(FunctionName="hello")
    assert dict(served.changes[-1].generations) == {"$LATEST": None, "2": None}


def test_a_numeric_alias_is_refused(client):
    api_harness.create(client, Publish=True)
    client.create_alias(FunctionName="hello", Name="2024-01-02", FunctionVersion="1")
    with pytest.raises(botocore.exceptions.ClientError, match="ValidationException"):
        client.create_alias(FunctionName="hello", Name="2024", FunctionVersion="1")
