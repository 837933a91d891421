"""Errors as AWS gives them: status, code, message to the character, keys of the body. Recorded from the service."""

import json
import urllib.parse

import api_harness
import pytest

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
NAME_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
NAMESPACED_PATTERN = NAME_PATTERN.replace(
    r"([a-zA-Z0-9-_]+)(:(\$LATEST|", r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|"
)
LAYER_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:"
    r"[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
)
TAG_PATTERN = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+"
    r"(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:"
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)"
)
RUNTIMES = (
    "[nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, python3.10, "
    "python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, "
    "java11, dotnet6, nodejs18.x, provided.al2, java8.al2]"
)
ALL_RUNTIMES = (
    "[ruby3.5, ruby2.6, dotnetcore1.0, python3.7, nodejs8.10, nasa, ruby2.7, python2.7-greengrass, dotnetcore2.0, "
    "python3.8, java21, dotnet6, dotnetcore2.1, python3.9, java11, nodejs6.10, provided, dotnetcore3.1, dotnet8, java25, "
    "java17, nodejs, nodejs4.3, java8.al2, go1.x, dotnet10, nodejs20.x, go1.9, byol, nodejs10.x, provided.al2023, "
    "nodejs22.x, python3.10, java8, nodejs12.x, python3.11, nodejs24.x, nodejs8.x, python3.12, nodejs14.x, nodejs8.9, "
    "nodejs26.x, python3.13, python3.14, nodejs16.x, python3.15, provided.al2, nodejs4.3-edge, nodejs18.x, ruby3.2, "
    "python3.4, ruby3.3, ruby3.4, ruby2.5, python3.6, python2.7]"
)
DEFAULTS = {
    "FunctionName": "new",
    "Runtime": "python3.11",
    "Role": api_harness.ROLE,
    "Handler": "app.handler",
    "Code": {"ZipFile": api_harness.zipped()},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with api_harness.serving(tmp_path_factory.mktemp("state")) as served:
        client = served.client()
        api_harness.create(client, "fn", Publish=True)
        client.create_alias(FunctionName="fn", Name="taken", FunctionVersion="1")
        client.update_function_configuration(FunctionName="fn", Timeout=9)
        client.publish_version(FunctionName="fn")
        api_harness.create(client, "other")
        content = {"ZipFile": api_harness.zipped()}
        client.publish_layer_version(LayerName="tools", Content=content)
        yield served


def create(**kwargs):
    return "create_function", {**DEFAULTS, **kwargs}


def alias(**kwargs):
    return "create_alias", {"FunctionName": "fn", "Name": "custom", "FunctionVersion": "1", **kwargs}


def weights(**kwargs):
    return {"AdditionalVersionWeights": {key.lstrip("v"): value for key, value in kwargs.items()}}


def event_invoke(**kwargs):
    return "put_function_event_invoke_config", {"FunctionName": "fn", **kwargs}


def destination(arn, key="OnSuccess"):
    return {"DestinationConfig": {key: {"Destination": arn}}}


def provisioned(verb, **kwargs):
    return f"{verb}_provisioned_concurrency_config", {"FunctionName": "fn", "Qualifier": "1", **kwargs}


VALIDATION = [
    (
        create(Role="r1"),
        (
            r"Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: "
            r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
        ),
    ),
    (
        create(Architectures=["x86_64", "arm64"]),
        (
            "Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: "
            "Member must have length less than or equal to 1"
        ),
    ),
    (
        create(Architectures=["X86_64"]),
        (
            "Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: "
            "[Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
        ),
    ),
    (
        create(FunctionName="invalid:function:name"),
        (
            "Value 'invalid:function:name' at 'functionName' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {NAME_PATTERN}"
        ),
    ),
    (
        create(FunctionName=ARN + "a" * 94),
        (
            f"Value '{ARN}{'a' * 94}' at 'functionName' failed to satisfy constraint: "
            "Member must have length less than or equal to 140"
        ),
    ),
    (
        create(SnapStart={"ApplyOn": "invalidOption"}),
        (
            "Value 'invalidOption' at 'snapStart.applyOn' failed to satisfy constraint: "
            "Member must satisfy enum value set: [PublishedVersions, None]"
        ),
    ),
    (
        create(VpcConfig={"SubnetIds": ["bad-id"], "SecurityGroupIds": []}),
        (
            "Value '[bad-id]' at 'vpcConfig.subnetIds' failed to satisfy constraint: Member must satisfy constraint: "
            "[Member must have length less than or equal to 1024, Member must have length greater than or equal to 0, "
            "Member must satisfy regular expression pattern: subnet-[0-9a-z]*]"
        ),
    ),
    (
        create(VpcConfig={"SubnetIds": [], "SecurityGroupIds": ["bad-id"]}),
        (
            "Value '[bad-id]' at 'vpcConfig.securityGroupIds' failed to satisfy constraint: Member must satisfy "
            "constraint: [Member must have length less than or equal to 1024, Member must have length greater than or "
            "equal to 0, Member must satisfy regular expression pattern: sg-[0-9a-zA-Z]*]"
        ),
    ),
    (
        create(Layers=["arn:aws:lambda:us-east-1:000000000000:layer:tools"]),
        (
            "Value '[arn:aws:lambda:us-east-1:000000000000:layer:tools]' at 'layers' failed to satisfy constraint: Member "
            "must satisfy constraint: [Member must have length less than or equal to 2048, Member must have length greater "
            f"than or equal to 1, Member must satisfy regular expression pattern: {LAYER_PATTERN}, Member must not be null]"
        ),
    ),
    (
        create(Timeout=901),
        "Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900",
    ),
    (
        ("list_functions", {"FunctionVersion": "invalid"}),
        "Value 'invalid' at 'functionVersion' failed to satisfy constraint: Member must satisfy enum value set: [ALL]",
    ),
    (
        ("list_layers", {"CompatibleRuntime": "runtimedoesnotexist"}),
        (
            "Value 'runtimedoesnotexist' at 'compatibleRuntime' failed to satisfy constraint: "
            f"Member must satisfy enum value set: {ALL_RUNTIMES}"
        ),
    ),
    (
        ("list_layers", {"CompatibleArchitecture": "archdoesnotexist"}),
        (
            "Value 'archdoesnotexist' at 'compatibleArchitecture' failed to satisfy constraint: "
            "Member must satisfy enum value set: [x86_64, arm64]"
        ),
    ),
    (
        ("get_layer_version_by_arn", {"Arn": "arn:aws:lambda:us-east-1:000000000000:layer:tools"}),
        (
            "Value 'arn:aws:lambda:us-east-1:000000000000:layer:tools' at 'arn' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {LAYER_PATTERN}"
        ),
    ),
    (
        (
            "add_layer_version_permission",
            {"LayerName": "tools", "VersionNumber": 1, "Action": "*", "Principal": "*", "StatementId": "s"},
        ),
        (
            "Value '*' at 'action' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: lambda:GetLayerVersion"
        ),
    ),
    (
        alias(Name="2024"),
        (
            "Value '2024' at 'name' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"
        ),
    ),
    (
        alias(RoutingConfig={"AdditionalVersionWeights": {"$LATEST": 0.5}}),
        (
            "Value '{$LATEST=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map keys must "
            "satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than "
            "or equal to 1, Member must satisfy regular expression pattern: [0-9]+]"
        ),
    ),
    (
        alias(RoutingConfig=weights(v2=2)),
        (
            "Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must "
            "satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or "
            "equal to 0.0, Member must not be null]"
        ),
    ),
    (
        alias(RoutingConfig=weights(v2=-1)),
        (
            "Value '{2=-1.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must "
            "satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or "
            "equal to 0.0, Member must not be null]"
        ),
    ),
    (
        ("put_function_recursion_config", {"FunctionName": "fn", "RecursiveLoop": "InvalidValue"}),
        (
            "Value 'InvalidValue' at 'recursiveLoop' failed to satisfy constraint: "
            "Member must satisfy enum value set: [Terminate, Allow]"
        ),
    ),
    (
        provisioned("put", ProvisionedConcurrentExecutions=0),
        (
            "Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: "
            "Member must have value greater than or equal to 1"
        ),
    ),
    (
        event_invoke(**destination(ARN.replace(":lambda:", ":_-/!lambda:") + "fn", "OnFailure")),
        (
            f"Value '{ARN.replace(':lambda:', ':_-/!lambda:')}fn' at 'destinationConfig.onFailure.destination' failed to "
            "satisfy constraint: Member must satisfy regular expression pattern: "
            r"$|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:"
            r"((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)"
        ),
    ),
    (
        (
            "add_permission",
            {"FunctionName": "fn", "Action": "lambda:InvokeFunction", "StatementId": "example.com", "Principal": "*"},
        ),
        (
            "Value 'example.com' at 'statementId' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)"
        ),
    ),
    (
        (
            "add_permission",
            {
                "FunctionName": "fn",
                "Action": "lambda:InvokeFunction",
                "StatementId": "s",
                "Principal": "*",
                "Qualifier": "invalid-qualifier-with-?-char",
            },
        ),
        (
            "Value 'invalid-qualifier-with-?-char' at 'qualifier' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
        ),
    ),
    (
        ("tag_resource", {"Resource": "arn:aws:something", "Tags": {"a": "b"}}),
        (
            "Value 'arn:aws:something' at 'resource' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {TAG_PATTERN}"
        ),
    ),
    (
        ("untag_resource", {"Resource": ARN + "fn", "TagKeys": []}),
        "Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
    ),
    (
        ("get_function", {"FunctionName": "arn:aws:lambda:us-east-1:123400000000@function:myfn"}),
        (
            "Value 'arn:aws:lambda:us-east-1:123400000000@function:myfn' at 'functionName' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {NAMESPACED_PATTERN}"
        ),
    ),
]


def without_checks(served):
    return served.client(parameter_validation=False)


@pytest.mark.parametrize(
    ("call", "message"), VALIDATION, ids=lambda value: value[0] if isinstance(value, tuple) else ""
)
def test_validation(served, call, message):
    operation, arguments = call
    client = without_checks(served)
    with pytest.raises(client.exceptions.ClientError) as caught:
        getattr(client, operation)(**arguments)
    assert caught.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": f"1 validation error detected: {message}",
    }
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "Type" not in caught.value.response


def test_several_validation_errors_are_counted(served):
    with pytest.raises(served.client().exceptions.ClientError) as caught:
        without_checks(served).publish_layer_version(
            LayerName="tools",
            Content={"ZipFile": b"x"},
            CompatibleRuntimes=["invalidruntime", "invalidruntime2", "nodejs20.x"],
            CompatibleArchitectures=["invalidarch", "x86_64"],
        )
    assert caught.value.response["Error"]["Message"] == (
        "2 validation errors detected: Value '[invalidruntime, invalidruntime2, nodejs20.x]' at 'compatibleRuntimes' "
        f"failed to satisfy constraint: Member must satisfy enum value set: {RUNTIMES}; "
        "Value '[invalidarch, x86_64]' at 'compatibleArchitectures' failed to satisfy constraint: Member must satisfy "
        "constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
    )


DEPRECATED = (
    "The runtime parameter of {} is no longer supported for creating or updating AWS Lambda functions. "
    "We recommend you use a supported runtime while creating or updating functions."
)
UNKNOWN_RUNTIME = (
    "Value {} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
    + RUNTIMES
    + " or be a valid ARN"
)
ENVIRONMENT = "Lambda was unable to configure your environment variables because the environment variables you have "

INVALID = [
    (
        create(PackageType="Image"),
        "hotfork runs zip packages, not container images: PackageType must be Zip",
    ),
    (
        ("create_function", {key: value for key, value in DEFAULTS.items() if key != "Handler"}),
        "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
    ),
    (create(Code={}), "Please provide a source for function code."),
    (
        create(Runtime="nodejs22.x"),
        ("hotfork runs Python functions, so not nodejs22.x. This machine offers: python3.11, python3.12, python3.13."),
    ),
    (
        create(LoggingConfig={"LogFormat": "Text", "SystemLogLevel": "WARN"}),
        "To set LogLevel, LogFormat must be set to JSON. Set LogFormat to JSON to be able to set LogLevel.",
    ),
    (
        create(Code={"ZipFile": b"this is no zip"}),
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    ),
    (create(Runtime="non-existent-runtime"), UNKNOWN_RUNTIME.format("non-existent-runtime")),
    (create(Runtime="PYTHON3.9"), UNKNOWN_RUNTIME.format("PYTHON3.9")),
    *[
        (create(Runtime=runtime), DEPRECATED.format(runtime))
        for runtime in (
            "dotnetcore3.1",
            "go1.x",
            "java8",
            "nodejs12.x",
            "nodejs14.x",
            "provided",
            "python3.7",
            "ruby2.7",
        )
    ],
    (
        ("update_function_configuration", {"FunctionName": "fn", "Runtime": "PYTHON3.9"}),
        UNKNOWN_RUNTIME.format("PYTHON3.9"),
    ),
    (
        create(FunctionName="a" * 65),
        (
            f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: "
            "Member must have length less than or equal to 64"
        ),
    ),
    (
        create(Environment={"Variables": {"SMALL_VAR": "ok", "LARGE_VAR": "x" * 4096}}),
        ENVIRONMENT
        + 'provided exceeded the 4KB limit. String measured: {"SMALL_VAR":"ok","LARGE_VAR":"'
        + "x" * 4096
        + '"}',
    ),
    (
        create(Environment={"Variables": {"AWS_REGION": "x"}}),
        ENVIRONMENT + "provided contains reserved keys that are currently not supported for modification. "
        "Reserved keys used in this request: AWS_REGION",
    ),
    (create(Tags={f"k{n}": "v" for n in range(51)}), "Number of tags exceeds resource tag limit."),
    (
        ("update_function_code", {"FunctionName": "fn", "ImageUri": "x"}),
        "Please don't provide ImageUri when updating a function with packageType Zip.",
    ),
    (
        ("delete_function", {"FunctionName": "fn", "Qualifier": "$LATEST"}),
        "$LATEST version cannot be deleted without deleting the function.",
    ),
    (
        ("delete_function", {"FunctionName": "fn", "Qualifier": "taken"}),
        "Deletion of aliases is not currently supported.",
    ),
    (
        ("get_function", {"FunctionName": "fn:1", "Qualifier": "$LATEST"}),
        "The derived qualifier from the function name does not match the specified qualifier.",
    ),
    (
        alias(RoutingConfig=weights(v1=0.8, v2=0.2)),
        "Number of items in AdditionalVersionWeights cannot be greater than 1",
    ),
    (
        alias(RoutingConfig=weights(v1=0.5)),
        "Invalid function version 1. Function version 1 is already included in routing configuration.",
    ),
    (("tag_resource", {"Resource": ARN + "fn", "Tags": {}}), "An error occurred and the request cannot be processed."),
    (
        ("tag_resource", {"Resource": ARN + "fn:v1", "Tags": {"a": "b"}}),
        "Tags on function aliases and versions are not supported. Please specify a function ARN.",
    ),
    (
        ("tag_resource", {"Resource": ARN + "fn", "Tags": {f"k{n}": "v" for n in range(51)}}),
        "Number of tags exceeds resource tag limit.",
    ),
    (
        ("put_function_concurrency", {"FunctionName": ARN + "fn:$LATEST", "ReservedConcurrentExecutions": 0}),
        (
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN."
        ),
    ),
    (("get_layer_version", {"LayerName": "tools", "VersionNumber": -1}), "Layer Version Cannot be less than 1"),
    (("delete_layer_version", {"LayerName": "tools", "VersionNumber": 0}), "Layer Version Cannot be less than 1"),
    (
        event_invoke(FunctionName="doesnotexist"),
        "You must specify at least one of error handling or destination setting.",
    ),
    (event_invoke(**destination(ARN + "doesnotexist")), f"The destination ARN {ARN}doesnotexist is invalid."),
    (event_invoke(**destination(ARN + "fn")), "You can't specify the function as a destination for itself."),
    (
        event_invoke(**destination(ARN.replace(":lambda:", ":iam:") + "fn")),
        (
            f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={ARN.replace(':lambda:', ':iam:')}fn), "
            "onFailure=null) is invalid."
        ),
    ),
    (
        provisioned("get", Qualifier="$LATEST"),
        "The function resource provided must be an alias or a published version.",
    ),
    (
        provisioned("delete", Qualifier="$LATEST"),
        "The function resource provided must be an alias or a published version.",
    ),
]


@pytest.mark.parametrize(("call", "message"), INVALID, ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_invalid_parameter_value(served, call, message):
    operation, arguments = call
    client = without_checks(served)
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        getattr(client, operation)(**arguments)
    assert caught.value.response["message"] == message
    assert caught.value.response["Type"] == "User"
    assert "Message" not in caught.value.response


CONFIG_MISSING = "The function {} doesn't have an EventInvokeConfig"
NOT_FOUND = [
    (("get_function", {"FunctionName": "no"}), f"Function not found: {ARN}no"),
    (("get_function", {"FunctionName": "no", "Qualifier": "$LATEST"}), f"Function not found: {ARN}no:$LATEST"),
    (("get_function", {"FunctionName": "fn", "Qualifier": "1221"}), f"Function not found: {ARN}fn:1221"),
    (("get_function", {"FunctionName": "fn:no"}), f"Function not found: {ARN}fn:no"),
    (("get_function_configuration", {"FunctionName": "no"}), f"Function not found: {ARN}no"),
    (("delete_function", {"FunctionName": "no"}), f"Function not found: {ARN}no"),
    (("delete_function", {"FunctionName": "no", "Qualifier": "1233"}), f"Function not found: {ARN}no"),
    (
        ("get_function", {"FunctionName": ARN.replace("us-east-1", "ap-southeast-1") + "fn"}),
        "Functions from 'ap-southeast-1' are not reachable in this region ('us-east-1')",
    ),
    (("get_function_concurrency", {"FunctionName": "no"}), f"Function not found: {ARN}no"),
    (("get_function_code_signing_config", {"FunctionName": "no"}), f"Function not found: {ARN}no"),
    (("get_function_url_config", {"FunctionName": "no"}), "The resource you requested does not exist."),
    (("list_function_url_configs", {"FunctionName": "no"}), "Function does not exist"),
    (("get_alias", {"FunctionName": "fn", "Name": "non-existent"}), f"Cannot find alias arn: {ARN}fn:non-existent"),
    (("update_alias", {"FunctionName": "fn", "Name": "non-existent"}), f"Alias not found: {ARN}fn:non-existent"),
    (alias(FunctionVersion="10"), f"Function not found: {ARN}fn:10"),
    (alias(RoutingConfig=weights(v10=0.5)), f"Function not found: {ARN}fn:10"),
    (alias(FunctionName="fn-unknown"), f"Function not found: {ARN}fn-unknown:1"),
    (("tag_resource", {"Resource": ARN + "no", "Tags": {"a": "b"}}), f"Function not found: {ARN}no"),
    (("list_tags", {"Resource": ARN + "no"}), f"Function not found: {ARN}no"),
    (
        ("list_tags", {"Resource": ARN.replace("function:", "capacity-provider:x")}),
        f"Capacity provider not found: {ARN.replace('function:', 'capacity-provider:x')}",
    ),
    (("get_layer_version", {"LayerName": "no", "VersionNumber": 1}), "The resource you requested does not exist."),
    (
        ("get_layer_version_policy", {"LayerName": "no", "VersionNumber": 1}),
        f"Layer version {ARN.replace('function', 'layer')}no:1 does not exist.",
    ),
    (("get_policy", {"FunctionName": "no"}), "The resource you requested does not exist."),
    (("get_policy", {"FunctionName": "fn", "Qualifier": "77"}), "The resource you requested does not exist."),
    (event_invoke(FunctionName="no", MaximumRetryAttempts=1), "The function doesn't exist."),
    (event_invoke(Qualifier="no", MaximumRetryAttempts=1), "The function doesn't exist."),
    (("list_function_event_invoke_configs", {"FunctionName": "no"}), "The function doesn't exist."),
    (("get_function_event_invoke_config", {"FunctionName": "no"}), CONFIG_MISSING.format(ARN + "no:$LATEST")),
    (
        ("get_function_event_invoke_config", {"FunctionName": "fn", "Qualifier": "1221"}),
        CONFIG_MISSING.format(ARN + "fn:1221"),
    ),
    (("delete_function_event_invoke_config", {"FunctionName": "fn"}), CONFIG_MISSING.format(ARN + "fn:$LATEST")),
    (
        ("update_function_event_invoke_config", {"FunctionName": "fn:taken", "MaximumRetryAttempts": 0}),
        CONFIG_MISSING.format(ARN + "fn:taken"),
    ),
    (provisioned("get", FunctionName="no", Qualifier="noalias"), f"Cannot find alias arn: {ARN}no:noalias"),
    (provisioned("get", Qualifier="noalias"), f"Cannot find alias arn: {ARN}fn:noalias"),
    (provisioned("get", Qualifier="10"), f"Function not found: {ARN}fn:10"),
    (provisioned("delete", FunctionName="no"), f"Function not found: {ARN}no:1"),
    (("list_provisioned_concurrency_configs", {"FunctionName": "no"}), f"Function not found: {ARN}no"),
]


@pytest.mark.parametrize(("call", "message"), NOT_FOUND, ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_not_found(served, call, message):
    operation, arguments = call
    client = served.client()
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        getattr(client, operation)(**arguments)
    assert caught.value.response["Message"] == message
    assert caught.value.response["Type"] == "User"
    assert "message" not in caught.value.response


OTHERS = [
    (create(FunctionName="fn"), "ResourceConflictException", "Function already exist: fn", "message"),
    (alias(Name="taken"), "ResourceConflictException", f"Alias already exists: {ARN}fn:taken", "message"),
    (
        provisioned("get"),
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
        "message",
    ),
    (
        (
            "put_function_code_signing_config",
            {
                "FunctionName": "fn",
                "CodeSigningConfigArn": "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdef0",
            },
        ),
        "CodeSigningConfigNotFoundException",
        (
            "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
            "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdef0."
        ),
        "Message",
    ),
]


@pytest.mark.parametrize(("call", "code", "message", "key"), OTHERS)
def test_other_errors(served, call, code, message, key):
    operation, arguments = call
    client = served.client()
    with pytest.raises(client.exceptions.ClientError) as caught:
        getattr(client, operation)(**arguments)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response[key] == message


def test_the_account_in_an_arn(served):
    with pytest.raises(served.client().exceptions.ClientError) as caught:
        served.client().get_function(FunctionName=ARN.replace("000000000000", "123456789012") + "fn")
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_errors_on_the_wire(served):
    status, headers, body = served.raw("GET", "/2015-03-31/functions/" + urllib.parse.quote(ARN + "no"))
    assert (status, headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")
    assert len(headers["x-amzn-requestid"]) == 36
    assert json.loads(body) == {"Type": "User", "Message": f"Function not found: {ARN}no"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Could not parse request body into json"),
        (b"[]", "Start of structure or map expected at the top of the request body"),
        (b'{"FunctionName": 1}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"FunctionName": {}}', "Start of structure or map found where not expected."),
        (b'{"Timeout": "3"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"Code": {"ZipFile": "%%%"}}', "Invalid base64 data"),
        (b'{"Publish": "yes"}', "STRING_VALUE can not be converted to a Boolean"),
        (b'{"Layers": "x"}', "Unexpected field type"),
    ],
)
def test_bodies_that_cannot_be_read(served, body, message):
    status, headers, answer = served.raw("POST", "/2015-03-31/functions", body)
    assert (status, headers["x-amzn-errortype"]) == (400, "SerializationException")
    assert json.loads(answer) == {"Message": message}


def test_a_zip_that_is_too_large(served):
    with pytest.raises(served.client().exceptions.ClientError) as caught:
        served.client().create_function(**{**DEFAULTS, "Code": {"ZipFile": bytes(52428801)}})
    assert caught.value.response["Error"] == {
        "Code": "RequestEntityTooLargeException",
        "Message": "Zipped size must be smaller than 52428800 bytes",
    }


def test_a_known_runtime_without_an_interpreter_says_what_to_do(served):
    with pytest.raises(served.client().exceptions.InvalidParameterValueException, match="interpreters") as caught:
        served.client().create_function(**{**DEFAULTS, "Runtime": "python3.10"})
    assert "python3.11" in str(caught.value)
