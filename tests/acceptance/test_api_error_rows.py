"""Errors as AWS gives them, in the situations in which they were recorded: whole bodies, by operation."""

import base64
import io
import json
import urllib.error
import urllib.parse
import urllib.request
import zipfile

import api_harness
import pytest
from conftest import create

from runtime.registry import aliases

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:"
FN = "/2015-03-31/functions"
LAYERS = "/2018-10-31/layers"
PROVISIONED = "/2019-09-30/functions/{}/provisioned-concurrency?Qualifier={}"
EVENTS = "/2019-09-25/functions/{}/event-invoke-config"
NO_CONFIG = "The function " + ARN + "{} doesn't have an EventInvokeConfig"
CSC = "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdef0"
TAG_PATTERN = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+"
    r"(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:"
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)"
)
SOURCE = "\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: {}]"
MAPPING_ID = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    with api_harness.serving(folder) as served:
        client = served.client()
        api_harness.create(client, "fn", Publish=True)
        client.create_alias(FunctionName="fn", Name="eventinvokealias", FunctionVersion="1")
        client.create_alias(FunctionName="fn", Name="custom", FunctionVersion="1")
        client.publish_layer_version(LayerName="tools", Content={"ZipFile": api_harness.zipped()})
        yield served


@pytest.fixture(scope="module")
def rows(client):
    """A function on a whole server."""
    create(client, "rows", "def handler(event, context): pass\n")


def permission(**more):
    return {"Action": "lambda:InvokeFunction", "StatementId": "s", "Principal": "s3.amazonaws.com", **more}


def creation(**more):
    return {
        "FunctionName": "new",
        "Runtime": "python3.11",
        "Role": api_harness.ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": base64.b64encode(b"PK").decode()},
        **more,
    }


def tagging(arn):
    return "POST", "/2017-03-31/tags/" + urllib.parse.quote(arn, safe=""), {"Tags": {"k": "v"}}


def bad_tag(arn):
    constraint = f"Member must satisfy regular expression pattern: {TAG_PATTERN}"
    return f"1 validation error detected: Value '{arn}' at 'resource' failed to satisfy constraint: {constraint}"


NOT_FOUND, INVALID, CONFLICT = (
    "ResourceNotFoundException",
    "InvalidParameterValueException",
    "ResourceConflictException",
)
VALIDATION = "ValidationException"
STATUS = {NOT_FOUND: 404, INVALID: 400, CONFLICT: 409, VALIDATION: 400}
KEY = {NOT_FOUND: "Message", INVALID: "message", CONFLICT: "message", VALIDATION: "message"}

ROWS = [
    # Functions and versions
    (
        ("GET", f"{FN}/{ARN}some-function:$LATEST?Qualifier=$LATEST", None),
        NOT_FOUND,
        f"Function not found: {ARN}some-function:$LATEST",
    ),
    (
        ("GET", f"{FN}/fn?Qualifier=aliasdoesnotexist", None),
        NOT_FOUND,
        f"Function not found: {ARN}fn:aliasdoesnotexist",
    ),
    (("POST", FN, creation(Layers=[LAYER + "tools:9"])), INVALID, f"Layer version {LAYER}tools:9 does not exist."),
    (
        ("POST", FN, creation(Layers=[LAYER + "doesnotexist:1"])),
        INVALID,
        f"Layer version {LAYER}doesnotexist:1 does not exist.",
    ),
    # Aliases
    (
        ("POST", f"{FN}/fn/aliases", {"Name": "custom", "FunctionVersion": "1"}),
        CONFLICT,
        f"Alias already exists: {ARN}fn:custom",
    ),
    # Provisioned concurrency
    (
        ("PUT", PROVISIONED.format("fn", "doesnotexist"), {"ProvisionedConcurrentExecutions": 1}),
        NOT_FOUND,
        f"Cannot find alias arn: {ARN}fn:doesnotexist",
    ),
    (
        ("GET", PROVISIONED.format("doesnotexist", "noalias"), None),
        NOT_FOUND,
        f"Cannot find alias arn: {ARN}doesnotexist:noalias",
    ),
    (("DELETE", PROVISIONED.format("doesnotexist", "1"), None), NOT_FOUND, f"Function not found: {ARN}doesnotexist:1"),
    # Permissions
    (
        ("POST", f"{FN}/fn/policy?Qualifier=alias-doesnotexist", permission()),
        NOT_FOUND,
        f"Cannot find alias arn: {ARN}fn:alias-doesnotexist",
    ),
    (
        ("POST", f"{FN}/fn/policy?Qualifier=valid-with-$-but-doesnotexist", permission()),
        NOT_FOUND,
        f"Function not found: {ARN}fn:valid-with-$-but-doesnotexist",
    ),
    (("DELETE", f"{FN}/doesnotexist/policy/s", None), NOT_FOUND, f"No policy found for: {ARN}doesnotexist"),
    # Layers
    (
        (
            "POST",
            f"{LAYERS}/tools-doesnotexist/versions/1/policy",
            permission(Action="lambda:GetLayerVersion", Principal="*"),
        ),
        NOT_FOUND,
        f"Layer version {LAYER}tools-doesnotexist:1 does not exist.",
    ),
    (
        ("POST", f"{LAYERS}/tools/versions/2/policy", permission(Action="lambda:GetLayerVersion", Principal="*")),
        NOT_FOUND,
        f"Layer version {LAYER}tools:2 does not exist.",
    ),
    # Asynchronous invocation
    (("GET", EVENTS.format("fn") + "?Qualifier=1", None), NOT_FOUND, NO_CONFIG.format("fn:1")),
    (("GET", EVENTS.format("fn") + "?Qualifier=doesnotexist", None), NOT_FOUND, NO_CONFIG.format("fn:doesnotexist")),
    (
        ("GET", EVENTS.format("fn") + "?Qualifier=eventinvokealias", None),
        NOT_FOUND,
        NO_CONFIG.format("fn:eventinvokealias"),
    ),
    (("DELETE", EVENTS.format("doesnotexist"), None), NOT_FOUND, NO_CONFIG.format("doesnotexist:$LATEST")),
    # Code signing
    (
        ("DELETE", "/2020-06-30/functions/csc-test-doesnotexist/code-signing-config", None),
        NOT_FOUND,
        f"Function not found: {ARN}csc-test-doesnotexist",
    ),
    # Tags
    *[
        (tagging(arn), VALIDATION, bad_tag(arn))
        for arn in (
            ARN.replace("function:", "foobar:") + "name",
            ARN.replace("function:", "capacity-provider:") + "name:alias",
            ARN.replace("function:", "event-source-mapping:") + MAPPING_ID + ":alias",
        )
    ],
    # Event source mappings: there are none
    (
        tagging(ARN.replace("function:", "event-source-mapping:") + MAPPING_ID),
        NOT_FOUND,
        f"Event source mapping not found: {ARN.replace('function:', 'event-source-mapping:')}{MAPPING_ID}",
    ),
]


@pytest.mark.parametrize(
    ("call", "code", "message"), ROWS, ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else ""
)
def test_whole_bodies(served, call, code, message):
    method, path, document = call
    status, headers, body = served.raw(method, path, None if document is None else json.dumps(document).encode())
    kind = {} if code == VALIDATION else {"Type": "User"}
    assert json.loads(body) == {**kind, KEY[code]: message}
    assert (status, headers["x-amzn-errortype"]) == (STATUS[code], code)


def test_a_code_signing_configuration_that_there_is_not(served):
    status, _, body = served.raw("DELETE", f"/2020-04-22/code-signing-configs/{CSC}")
    assert (status, json.loads(body)) == (
        404,
        {"Message": f"The Lambda code signing configuration {CSC} can not be found."},
    )


def test_latest_among_two_versions_bears_no_type(served):
    document = {
        "Name": "new",
        "FunctionVersion": "$LATEST",
        "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}},
    }
    status, _, body = served.raw("POST", f"{FN}/fn/aliases", json.dumps(document).encode())
    assert (status, json.loads(body)) == (
        400,
        {"message": "$LATEST is not supported for an alias pointing to more than 1 version"},
    )


@pytest.mark.parametrize("sid", ["doesnotexist", "non-existent"])
def test_statements_that_there_are_not(served, sid):
    client = served.client()
    client.add_permission(FunctionName="fn", **permission(StatementId=sid + "-not"))
    client.add_layer_version_permission(
        LayerName="tools",
        VersionNumber=1,
        **permission(StatementId=sid + "-not", Action="lambda:GetLayerVersion", Principal="*"),
    )
    for path in (f"{FN}/fn/policy/{sid}", f"{LAYERS}/tools/versions/1/policy/{sid}"):
        status, _, body = served.raw("DELETE", path)
        assert status == 404
        assert json.loads(body) == {"Type": "User", "Message": f"Statement {sid} is not found in resource policy."}


def refused(server, method, path, body=None):
    """Return (status, headers, document) of a request to a whole server."""
    request = urllib.request.Request(server.url + path, body, method=method)
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request, timeout=60):
        pass
    with caught.value as error:
        return error.code, error.headers, json.load(error)


def test_a_request_that_is_too_large(server):
    status, headers, document = refused(server, "POST", FN, b" " * 70_167_212)
    assert (status, headers["x-amzn-errortype"]) == (413, "RequestEntityTooLargeException")
    assert "Request must be smaller than 70167211 bytes for the CreateFunction operation" in document.values()


@pytest.mark.parametrize(
    ("path", "arn"),
    [
        ("doesnotexist", ARN + "doesnotexist"),
        ("doesnotexist:$LATEST", ARN + "doesnotexist:$LATEST"),
        ("rows:non-existent-alias", ARN + "rows:non-existent-alias"),
    ],
)
def test_invoke_of_what_there_is_not(server, rows, path, arn):
    status, _, document = refused(server, "POST", f"{FN}/{path}/invocations", b"{}")
    assert (status, document) == (404, {"Type": "User", "Message": f"Function not found: {arn}"})


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"n\x87r\x9e\xe9\xb5\xd7I\xee\x9bmt", "Invalid UTF-8 start byte 0x87" + SOURCE.format(3)),
        (
            b"\x99\xeb,j\x07\xa1zYh",
            "Unexpected character ((CTRL-CHAR, code 153)): expected a valid value (JSON String, Number, Array, Object or "
            "token 'null', 'true' or 'false')" + SOURCE.format(1),
        ),
    ],
)
def test_invoke_with_what_is_no_text(server, rows, payload, message):
    status, _, document = refused(server, "POST", f"{FN}/rows/invocations", payload)
    parsed = "Could not parse request body into json: Could not parse payload into json: "
    assert (status, document) == (400, {"Type": "User", "message": parsed + message})


def test_invoke_of_a_function_that_is_turned_off(server, rows, client):
    client.put_function_concurrency(FunctionName="rows", ReservedConcurrentExecutions=0)
    status, headers, document = refused(server, "POST", f"{FN}/rows/invocations", b"{}")
    assert (status, headers["Retry-After"]) == (429, "1")
    assert document == {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }
    client.delete_function_concurrency(FunctionName="rows")


def test_code_that_is_too_large_when_unpacked(served):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("zeros", bytes(262_144_001))
    client = served.client()
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        api_harness.create(client, "huge", Code={"ZipFile": buffer.getvalue()})
    assert caught.value.response["message"] == "Unzipped size must be smaller than 262144000 bytes"


@pytest.mark.parametrize("empty", [b"", api_harness.zipped({}), b"PK\5\6" + bytes(16) + b"\3\0any"])
def test_code_of_no_files(served, empty):
    status, headers, body = served.raw(
        "POST", FN, json.dumps(creation(Code={"ZipFile": base64.b64encode(empty).decode()})).encode()
    )
    assert (status, headers["x-amzn-errortype"]) == (400, INVALID)
    assert json.loads(body) == {"Type": "User", "message": "Uploaded file must be a non-empty zip"}


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory):
    """Versions 1 to 4: the first is provisioned by its number, the second by an alias."""
    with api_harness.serving(tmp_path_factory.mktemp("provisioned"), account_concurrency=1000) as served:
        client = served.client()
        api_harness.create(client, "fn", Publish=True)
        for number in range(2, 5):
            client.update_function_configuration(FunctionName="fn", Timeout=number + 10)
            assert client.publish_version(FunctionName="fn")["Version"] == str(number)
        for name, version in (("by-number", "1"), ("by-alias", "2"), ("free", "3")):
            client.create_alias(FunctionName="fn", Name=name, FunctionVersion=version)
        client.create_alias(FunctionName="fn", Name="latest", FunctionVersion="$LATEST")
        for qualifier in ("1", "by-alias"):
            client.put_provisioned_concurrency_config(
                FunctionName="fn", Qualifier=qualifier, ProvisionedConcurrentExecutions=1
            )
        api_harness.create(client, "limited", Publish=True)
        client.put_function_concurrency(FunctionName="limited", ReservedConcurrentExecutions=2)
        client.put_provisioned_concurrency_config(
            FunctionName="limited", Qualifier="1", ProvisionedConcurrentExecutions=2
        )
        client.update_function_configuration(FunctionName="limited", Timeout=10)
        client.publish_version(FunctionName="limited")
        yield served


def put(name, qualifier, count=1):
    return "PUT", PROVISIONED.format(name, qualifier), {"ProvisionedConcurrentExecutions": count}


LATEST_REFUSED = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
NOT_PUBLISHED = "The function resource provided must be an alias or a published version."
NO_PROVISIONED = "No Provisioned Concurrency Config found for this function"
PROVISIONED_ROWS = [
    (put("fn", "$LATEST"), 400, INVALID, {"Type": "User", "message": LATEST_REFUSED}),
    (put("fn", "latest"), 400, INVALID, {"Type": "User", "message": LATEST_REFUSED}),
    (
        put("limited", "2"),
        400,
        INVALID,
        {
            "Type": "User",
            "message": "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution "
            "for function",
        },
    ),
    (
        put("fn", "3", 997),
        400,
        INVALID,
        {
            "message": "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
            "[996]."
        },
    ),
    (
        put("fn", "3", 897),
        400,
        INVALID,
        {
            "message": "Specified ConcurrentExecutions for function decreases account's "
            "UnreservedConcurrentExecution below its minimum value of [100]."
        },
    ),
    (
        ("PUT", "/2017-10-31/functions/limited/concurrency", {"ReservedConcurrentExecutions": 1}),
        400,
        INVALID,
        {
            "message": " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned "
            "concurrency [2]."
        },
    ),
    (("GET", PROVISIONED.format("fn", "$LATEST"), None), 400, INVALID, {"Type": "User", "message": NOT_PUBLISHED}),
    (("DELETE", PROVISIONED.format("fn", "$LATEST"), None), 400, INVALID, {"Type": "User", "message": NOT_PUBLISHED}),
    (
        ("GET", PROVISIONED.format("fn", "2"), None),
        404,
        "ProvisionedConcurrencyConfigNotFoundException",
        {"Type": "User", "message": NO_PROVISIONED},
    ),
    (
        put("fn", "by-number"),
        409,
        CONFLICT,
        {
            "Type": "User",
            "message": "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned "
            "version",
        },
    ),
    (
        put("fn", "2"),
        409,
        CONFLICT,
        {"Type": "User", "message": "Version is pointed by a Provisioned Concurrency alias"},
    ),
    (
        put("fn", "doesnotexist"),
        404,
        NOT_FOUND,
        {"Type": "User", "Message": f"Cannot find alias arn: {ARN}fn:doesnotexist"},
    ),
    (
        ("GET", PROVISIONED.format("fn", "noalias"), None),
        404,
        NOT_FOUND,
        {"Type": "User", "Message": f"Cannot find alias arn: {ARN}fn:noalias"},
    ),
    (
        ("GET", PROVISIONED.format("fn", "10"), None),
        404,
        NOT_FOUND,
        {"Type": "User", "Message": f"Function not found: {ARN}fn:10"},
    ),
    (
        put("fn", "3", 0),
        400,
        VALIDATION,
        {
            "message": "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy "
            "constraint: Member must have value greater than or equal to 1"
        },
    ),
]


@pytest.mark.parametrize(
    ("call", "status", "code", "expected"),
    PROVISIONED_ROWS,
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_whole_bodies_about_provisioned_concurrency(provisioned, call, status, code, expected):
    method, path, document = call
    got, headers, body = provisioned.raw(method, path, None if document is None else json.dumps(document).encode())
    assert (got, headers["x-amzn-errortype"], json.loads(body)) == (status, code, expected)


OTHER = "arn:aws:lambda:us-east-1:111122223333:"


@pytest.mark.parametrize(
    ("method", "path", "action", "resource"),
    [
        ("GET", f"{FN}/{OTHER}function:fn", "GetFunction", f"{OTHER}function:fn"),
        ("GET", f"{FN}/{OTHER}function:fn:live/configuration", "GetFunctionConfiguration", f"{OTHER}function:fn:live"),
        ("DELETE", f"{FN}/111122223333:function:fn", "DeleteFunction", f"{OTHER}function:fn"),
        ("GET", f"{LAYERS}/{OTHER}layer:tools/versions", "ListLayerVersions", f"{OTHER}layer:tools"),
        ("GET", f"{LAYERS}?find=LayerVersion&Arn={OTHER}layer:tools:1", "GetLayerVersion", f"{OTHER}layer:tools:1"),
    ],
)
def test_what_is_of_another_account(served, method, path, action, resource):
    status, headers, body = served.raw(method, path)
    assert (status, headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert json.loads(body)["Message"] == (
        f"User: arn:aws:iam::000000000000:root is not authorized to perform: lambda:{action} on resource: {resource} "
        f"because no resource-based policy allows the lambda:{action} action"
    )


def test_invoke_of_another_accounts_function(server):
    status, _, document = refused(server, "POST", f"{FN}/{OTHER}function:fn/invocations", b"{}")
    assert status == 403
    assert document["Message"] == (
        "User: arn:aws:iam::000000000000:root is not authorized to perform: lambda:InvokeFunction on resource: "
        f"{OTHER}function:fn because no resource-based policy allows the lambda:InvokeFunction action"
    )


@pytest.mark.parametrize(
    ("path", "document", "operations"),
    [
        (f"{FN}/fn/versions", {"RevisionId": MAPPING_ID}, "GetFunction/GetAlias"),
        (f"{FN}/fn/policy", permission(StatementId="r", RevisionId=MAPPING_ID), "GetPolicy"),
        (
            f"{LAYERS}/tools/versions/1/policy?RevisionId={MAPPING_ID}",
            permission(StatementId="r", Action="lambda:GetLayerVersion", Principal="*"),
            "GetLayerPolicy",
        ),
    ],
)
def test_a_revision_that_is_not_the_latest(served, path, document, operations):
    client = served.client()
    for name, call in (("fn", client.add_permission), ("tools", client.add_layer_version_permission)):
        layer = name == "tools"
        where = {"LayerName": name, "VersionNumber": 1} if layer else {"FunctionName": name}
        how = {"Action": "lambda:GetLayerVersion", "Principal": "*"} if layer else {}
        call(**where, **permission(StatementId=operations.replace("/", "-"), **how))
    status, headers, body = served.raw("POST", path, json.dumps(document).encode())
    assert (status, headers["x-amzn-errortype"]) == (412, "PreconditionFailedException")
    message = "The Revision Id provided does not match the latest Revision Id. Call the {} API to retrieve the latest "
    assert json.loads(body) == {"Type": "User", "message": message.format(operations) + "Revision Id"}


def test_an_update_during_an_update(served):
    under_way = served.registry.updating("fn")
    served.run(under_way.__aenter__())
    try:
        status, headers, body = served.raw("PUT", f"{FN}/fn/configuration", b'{"Timeout": 5}')
    finally:
        served.run(under_way.__aexit__(None, None, None))
    assert (status, headers["x-amzn-errortype"]) == (409, CONFLICT)
    assert json.loads(body) == {
        "Type": "User",
        "message": f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}fn",
    }


def test_several_validation_errors(served):
    document = {
        "Content": {"ZipFile": base64.b64encode(b"PK").decode()},
        "CompatibleRuntimes": ["invalidruntime"],
        "CompatibleArchitectures": ["invalidarch"],
    }
    status, _, body = served.raw("POST", f"{LAYERS}/tools/versions", json.dumps(document).encode())
    message = json.loads(body)["message"]
    assert status == 400
    assert message.startswith("2 validation errors detected: Value '[invalidruntime]' at 'compatibleRuntimes' failed")
    assert message.endswith(
        "; Value '[invalidarch]' at 'compatibleArchitectures' failed to satisfy constraint: Member must satisfy "
        "constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
    )


def test_environment_variables_that_are_too_large(served):
    client = served.client()
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        api_harness.create(client, "large", Environment={"Variables": {"LARGE_VAR": "x" * 4096}})
    assert caught.value.response["message"] == (
        "Lambda was unable to configure your environment variables because the environment variables you have provided "
        f'exceeded the 4KB limit. String measured: {{"LARGE_VAR":"{"x" * 4096}"}}'
    )


def test_more_aliases_than_a_function_may_have(served, monkeypatch):
    monkeypatch.setattr(aliases, "MOST", 2)
    client = served.client()
    with pytest.raises(client.exceptions.AliasLimitExceededException) as caught:
        client.create_alias(FunctionName="fn", Name="third", FunctionVersion="1")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "maximum number of aliases" in caught.value.response["message"]
