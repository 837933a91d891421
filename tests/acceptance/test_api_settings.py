"""Concurrency, event-invoke settings, tags, logging, runtimes, recursion, account: as boto3 sees them."""

import api_harness
import pytest

from runtime import model

ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    ready = {}
    with api_harness.serving(
        tmp_path_factory.mktemp("state"), provisioned=lambda *key: model.Allocation(ready=ready.get(key, 0))
    ) as served:
        served.ready = ready
        yield served


@pytest.fixture
def client(served):
    client = served.client()
    served.ready.clear()
    api_harness.create(client, Publish=True)
    yield client
    for function in client.list_functions()["Functions"]:
        client.delete_function(FunctionName=function["FunctionName"])


def body(answer):
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def unreserved(client):
    return client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]


def test_reserved_concurrency(served, client):
    assert body(client.get_function_concurrency(FunctionName="hello")) == {}
    put = client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=0)
    assert body(put) == {"ReservedConcurrentExecutions": 0}
    assert body(client.get_function_concurrency(FunctionName="hello")) == {"ReservedConcurrentExecutions": 0}
    assert client.get_function(FunctionName="hello")["Concurrency"] == {"ReservedConcurrentExecutions": 0}
    assert served.registry.route("hello", None).reserved_concurrency == 0
    client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=900)
    assert unreserved(client) == 100
    api_harness.create(client, "other")
    message = (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        "its minimum value of [100]."
    )
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        client.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=1)
    assert caught.value.response["message"] == message
    assert "Type" not in caught.value.response
    client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=899)
    client.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=1)
    for _ in range(2):
        answer = client.delete_function_concurrency(FunctionName="hello")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert "Concurrency" not in client.get_function(FunctionName="hello")
    client.delete_function(FunctionName="other")
    assert unreserved(client) == 1000


def test_provisioned_concurrency(served, client):
    version = {"FunctionName": "hello", "Qualifier": "1"}
    put = client.put_provisioned_concurrency_config(**version, ProvisionedConcurrentExecutions=2)
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 202
    expected = {
        "RequestedProvisionedConcurrentExecutions": 2,
        "AvailableProvisionedConcurrentExecutions": 0,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
        "LastModified": put["LastModified"],
    }
    assert body(put) == expected
    assert put["LastModified"].endswith("+0000")
    assert unreserved(client) == 998
    served.ready["hello", "1"] = 2
    assert client.get_provisioned_concurrency_config(**version)["Status"] == "READY"
    (listed,) = client.list_provisioned_concurrency_configs(FunctionName="hello")["ProvisionedConcurrencyConfigs"]
    assert (listed["FunctionArn"], listed["AvailableProvisionedConcurrentExecutions"]) == (ARN + ":1", 2)
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=1)
    assert caught.value.response["message"] == (
        " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2]."
    )
    client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=2)
    client.update_function_configuration(FunctionName="hello", Timeout=4)
    client.publish_version(FunctionName="hello")
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        client.put_provisioned_concurrency_config(
            FunctionName="hello", Qualifier="2", ProvisionedConcurrentExecutions=1
        )
    assert caught.value.response["message"] == (
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    )
    for _ in range(2):
        client.delete_provisioned_concurrency_config(**version)
    with pytest.raises(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        client.get_provisioned_concurrency_config(**version)


def test_a_version_is_provisioned_once(client):
    client.create_alias(FunctionName="hello", Name="live", FunctionVersion="1")
    version, alias = ({"FunctionName": "hello", "Qualifier": q} for q in ("1", "live"))
    client.put_provisioned_concurrency_config(**version, ProvisionedConcurrentExecutions=1)
    with pytest.raises(client.exceptions.ResourceConflictException, match="Alias can't be used for Provisioned"):
        client.put_provisioned_concurrency_config(**alias, ProvisionedConcurrentExecutions=1)
    client.delete_provisioned_concurrency_config(**version)
    client.put_provisioned_concurrency_config(**alias, ProvisionedConcurrentExecutions=1)
    with pytest.raises(client.exceptions.ResourceConflictException, match="Version is pointed by a Provisioned"):
        client.put_provisioned_concurrency_config(**version, ProvisionedConcurrentExecutions=1)
    client.delete_alias(FunctionName="hello", Name="live")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Cannot find alias arn"):
        client.get_provisioned_concurrency_config(**alias)
    assert client.list_provisioned_concurrency_configs(FunctionName="hello")["ProvisionedConcurrencyConfigs"] == []


@pytest.mark.parametrize(
    ("executions", "message"),
    [
        (1001, "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000]."),
        (
            1000,
            (
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
                "its minimum value of [100]."
            ),
        ),
    ],
)
def test_what_the_account_has_no_room_for(client, executions, message):
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        client.put_provisioned_concurrency_config(
            FunctionName="hello", Qualifier="1", ProvisionedConcurrentExecutions=executions
        )
    assert caught.value.response["message"] == message
    assert "Type" not in caught.value.response


def test_latest_cannot_be_provisioned(client):
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="unpublished function versions"):
        client.put_provisioned_concurrency_config(
            FunctionName="hello", Qualifier="$LATEST", ProvisionedConcurrentExecutions=1
        )


def test_event_invoke_settings(client):
    put = client.put_function_event_invoke_config(FunctionName="hello", MaximumRetryAttempts=0)
    assert body(put) == {
        "FunctionArn": ARN + ":$LATEST",
        "MaximumRetryAttempts": 0,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
        "LastModified": put["LastModified"],
    }
    put = client.put_function_event_invoke_config(FunctionName="hello", MaximumEventAgeInSeconds=60)
    assert "MaximumRetryAttempts" not in put
    updated = client.update_function_event_invoke_config(FunctionName="hello", MaximumRetryAttempts=1)
    assert (updated["MaximumRetryAttempts"], updated["MaximumEventAgeInSeconds"]) == (1, 60)
    assert body(client.get_function_event_invoke_config(FunctionName="hello:$LATEST")) == body(updated)
    client.create_alias(FunctionName="hello", Name="live", FunctionVersion="1")
    queue = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:dead"}}
    put = client.put_function_event_invoke_config(FunctionName="hello:live", DestinationConfig=queue)
    assert put["DestinationConfig"] == {"OnSuccess": {}, **queue}
    assert put["FunctionArn"] == ARN + ":live"
    pages = client.get_paginator("list_function_event_invoke_configs").paginate(
        FunctionName="hello", PaginationConfig={"PageSize": 1}
    )
    listed = [config["FunctionArn"] for page in pages for config in page["FunctionEventInvokeConfigs"]]
    assert listed == [ARN + ":$LATEST", ARN + ":live"]
    answer = client.delete_function_event_invoke_config(FunctionName="hello")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function_event_invoke_config(FunctionName="hello")


def test_tags(client):
    assert client.list_tags(Resource=ARN)["Tags"] == {}
    assert "Tags" not in client.get_function(FunctionName="hello")
    answer = client.tag_resource(Resource=ARN, Tags={"a": "1", "b": "2"})
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    client.tag_resource(Resource=ARN, Tags={"b": "3", "ключ": "значение"})
    assert client.list_tags(Resource=ARN)["Tags"] == {"a": "1", "b": "3", "ключ": "значение"}
    client.untag_resource(Resource=ARN, TagKeys=["a", "no"])
    assert client.get_function(FunctionName="hello")["Tags"] == {"b": "3", "ключ": "значение"}
    client.untag_resource(Resource=ARN, TagKeys=["b", "ключ"])
    client.tag_resource(Resource=ARN, Tags={f"k{number}": "v" for number in range(50)})
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="exceeds resource tag limit"):
        client.tag_resource(Resource=ARN, Tags={"one": "more"})


def test_logging(served, client):
    asked = {"LogFormat": "JSON", "LogGroup": "/mine", "ApplicationLogLevel": "DEBUG"}
    answer = client.update_function_configuration(FunctionName="hello", LoggingConfig=asked)
    assert answer["LoggingConfig"] == {**asked, "SystemLogLevel": "INFO"}
    version = served.registry.version("hello", None)
    assert (version.json_logs, version.log_group, version.application_log_level) == (True, "/mine", "DEBUG")
    answer = client.update_function_configuration(FunctionName="hello", LoggingConfig={"LogFormat": "Text"})
    assert answer["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/mine"}


def test_what_has_no_effect_is_kept_and_returned(client, caplog):
    vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    kwargs = {
        "VpcConfig": vpc,
        "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/x",
        "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"},
        "TracingConfig": {"Mode": "Active"},
        "FileSystemConfigs": [
            {
                "Arn": "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-00000000000000000",
                "LocalMountPath": "/mnt/a",
            }
        ],
    }
    api_harness.create(client, "other", **kwargs)
    shown = client.get_function_configuration(FunctionName="other")
    assert shown["VpcConfig"] == {**vpc, "VpcId": "", "Ipv6AllowedForDualStack": False}
    assert {key: shown[key] for key in kwargs if key != "VpcConfig"} == {
        k: v for k, v in kwargs.items() if k != "VpcConfig"
    }
    assert "function other: VpcConfig is kept and returned, but has no effect" in caplog.messages
    cleared = client.update_function_configuration(
        FunctionName="other",
        DeadLetterConfig={"TargetArn": ""},
        KMSKeyArn="",
        VpcConfig={"SubnetIds": [], "SecurityGroupIds": []},
    )
    assert not {"DeadLetterConfig", "KMSKeyArn"} & cleared.keys()
    assert cleared["VpcConfig"]["SubnetIds"] == []


def test_runtime_management(client):
    assert body(client.get_runtime_management_config(FunctionName="hello")) == {
        "UpdateRuntimeOn": "Auto",
        "FunctionArn": ARN + ":$LATEST",
    }
    runtime = client.get_function_configuration(FunctionName="hello")["RuntimeVersionConfig"]["RuntimeVersionArn"]
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.put_runtime_management_config(FunctionName="hello", UpdateRuntimeOn="Manual")
    put = client.put_runtime_management_config(
        FunctionName="hello", UpdateRuntimeOn="Manual", RuntimeVersionArn=runtime
    )
    assert put["RuntimeVersionArn"] == runtime
    shown = client.get_runtime_management_config(FunctionName="hello", Qualifier="$LATEST")
    assert (shown["UpdateRuntimeOn"], shown["RuntimeVersionArn"]) == ("Manual", runtime)
    put = client.put_runtime_management_config(FunctionName="hello", UpdateRuntimeOn="FunctionUpdate")
    assert "RuntimeVersionArn" not in put


def test_recursion(client):
    assert client.get_function_recursion_config(FunctionName="hello")["RecursiveLoop"] == "Terminate"
    client.put_function_recursion_config(FunctionName="hello", RecursiveLoop="Allow")
    assert client.get_function_recursion_config(FunctionName=ARN)["RecursiveLoop"] == "Allow"


def test_the_account(client):
    before = client.get_account_settings()
    assert before["AccountLimit"] == {
        "TotalCodeSize": 80530636800,
        "CodeSizeUnzipped": 262144000,
        "CodeSizeZipped": 52428800,
        "ConcurrentExecutions": 1000,
        "UnreservedConcurrentExecutions": 1000,
    }
    size = len(api_harness.zipped())
    assert before["AccountUsage"] == {"TotalCodeSize": 2 * size, "FunctionCount": 1}
    client.publish_layer_version(LayerName="tools", Content={"ZipFile": api_harness.zipped()})
    api_harness.create(client, "other")
    assert client.get_account_settings()["AccountUsage"] == {"TotalCodeSize": 4 * size, "FunctionCount": 2}
    client.delete_layer_version(LayerName="tools", VersionNumber=1)


def test_true_answers_about_what_does_not_exist(client):
    assert body(client.get_function_code_signing_config(FunctionName="hello")) == {}
    assert client.list_code_signing_configs()["CodeSigningConfigs"] == []
    assert client.list_event_source_mappings(FunctionName="hello")["EventSourceMappings"] == []
    assert client.list_function_url_configs(FunctionName="hello")["FunctionUrlConfigs"] == []
    assert client.list_capacity_providers()["CapacityProviders"] == []


def test_tenant_isolation(served, client):
    created = api_harness.create(client, "other", TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    assert created["TenancyConfig"] == {"TenantIsolationMode": "PER_TENANT"}
    assert served.registry.version("other", None).tenant_isolation
    assert not served.registry.version("hello", None).tenant_isolation


@pytest.mark.parametrize(
    "operation",
    [
        "get_function",
        "get_function_configuration",
        "get_function_url_config",
        "get_function_code_signing_config",
        "get_function_event_invoke_config",
        "get_function_concurrency",
        "delete_function",
    ],
)
def test_functions_of_another_region(client, operation):
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        getattr(client, operation)(FunctionName=ARN.replace("us-east-1", "eu-central-1"))
    assert caught.value.response["Message"] == (
        "Functions from 'eu-central-1' are not reachable in this region ('us-east-1')"
    )
