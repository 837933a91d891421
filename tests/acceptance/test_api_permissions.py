"""Resource policies of functions, as boto3 sees them."""

import json

import api_harness
import pytest

ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"
BUCKET = "arn:aws:s3:::bucket"

served = api_harness.served


@pytest.fixture
def client(served):
    client = served.client()
    api_harness.create(client, Publish=True)
    yield client
    client.delete_function(FunctionName="hello")


def add(client, sid="s3", **kwargs):
    arguments = {"FunctionName": "hello", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    return client.add_permission(**{**arguments, "StatementId": sid, **kwargs})


STATEMENT = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": ARN}


@pytest.mark.parametrize(
    ("given", "principal", "condition"),
    [
        ({}, {"Service": "s3.amazonaws.com"}, None),
        ({"SourceArn": BUCKET}, {"Service": "s3.amazonaws.com"}, {"ArnLike": {"AWS:SourceArn": BUCKET}}),
        (
            {"Principal": "*", "SourceAccount": "000000000000"},
            "*",
            {"StringEquals": {"AWS:SourceAccount": "000000000000"}},
        ),
        ({"Principal": "000000000000"}, {"AWS": "arn:aws:iam::000000000000:root"}, None),
        ({"Principal": "arn:aws:iam::000000000000:user/me"}, {"AWS": "arn:aws:iam::000000000000:user/me"}, None),
        (
            {"Principal": "*", "EventSourceToken": "amzn1.ask.skill.x"},
            "*",
            {"StringEquals": {"lambda:EventSourceToken": "amzn1.ask.skill.x"}},
        ),
        (
            {"Principal": "*", "InvokedViaFunctionUrl": True},
            "*",
            {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
        ),
    ],
)
def test_statements(client, given, principal, condition):
    expected = {"Sid": "sid", **STATEMENT, "Principal": principal}
    if condition:
        expected["Condition"] = condition
    assert json.loads(add(client, "sid", **given)["Statement"]) == expected
    policy = json.loads(client.get_policy(FunctionName="hello")["Policy"])
    assert policy == {"Version": "2012-10-17", "Id": "default", "Statement": [expected]}


def test_the_order_of_keys_is_awss(client):
    statement = add(
        client,
        "url",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        SourceArn=BUCKET,
        SourceAccount="000000000000",
        PrincipalOrgID="o-1234567890",
        FunctionUrlAuthType="NONE",
    )["Statement"]
    assert statement == (
        '{"Sid":"url","Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunctionUrl","Resource":"' + ARN + '",'
        '"Condition":{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE","aws:PrincipalOrgID":"o-1234567890",'
        '"AWS:SourceAccount":"000000000000"},"ArnLike":{"AWS:SourceArn":"' + BUCKET + '"}}}'
    )


def test_the_policys_revision_is_the_functions(client):
    before = client.get_function_configuration(FunctionName="hello")["RevisionId"]
    with pytest.raises(client.exceptions.PreconditionFailedException, match="GetPolicy"):
        add(client, RevisionId="wrong")
    add(client, RevisionId=before)
    policy = client.get_policy(FunctionName="hello")
    assert policy["RevisionId"] != before
    assert client.get_function_configuration(FunctionName="hello")["RevisionId"] == policy["RevisionId"]
    with pytest.raises(client.exceptions.PreconditionFailedException, match="GetPolicy"):
        client.remove_permission(FunctionName="hello", StatementId="s3", RevisionId=before)
    client.remove_permission(FunctionName="hello", StatementId="s3", RevisionId=policy["RevisionId"])
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="The resource you requested does not exist"):
        client.get_policy(FunctionName="hello")


def test_versions_and_aliases_have_policies_of_their_own(served, client):
    alias = client.create_alias(FunctionName="hello", Name="live", FunctionVersion="1")
    generation = served.registry.version("hello", "1").generation
    add(client)
    add(client, Qualifier="1")
    add(client, FunctionName="hello:live", Qualifier="live", RevisionId=alias["RevisionId"])
    for qualifier in ("1", "live"):
        policy = client.get_policy(FunctionName="hello", Qualifier=qualifier)
        (statement,) = json.loads(policy["Policy"])["Statement"]
        assert statement["Resource"] == f"{ARN}:{qualifier}"
    assert client.get_alias(FunctionName="hello", Name="live")["RevisionId"] == policy["RevisionId"]
    assert served.registry.version("hello", "1").generation == generation
    client.delete_alias(FunctionName="hello", Name="live")
    client.create_alias(FunctionName="hello", Name="live", FunctionVersion="1")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_policy(FunctionName="hello", Qualifier="live")


def test_a_policy_may_not_grow_for_ever(client):
    length = 0
    for number in range(200):
        try:
            add(client, f"statement-{number}", SourceArn=BUCKET)
        except client.exceptions.PolicyLengthExceededException:
            break
        length = len(client.get_policy(FunctionName="hello")["Policy"])
    assert 20480 - 300 < length <= 20480


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (
            {"Qualifier": "$LATEST"},
            "InvalidParameterValueException",
            "We currently do not support adding policies for $LATEST.",
        ),
        (
            {"FunctionName": "hello:a", "Qualifier": "42"},
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        ),
        (
            {"Principal": "invalid.nonaws.com"},
            "InvalidParameterValueException",
            "The provided principal was invalid. Please check the principal and try again.",
        ),
        (
            {"FunctionUrlAuthType": "NONE"},
            "InvalidParameterValueException",
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        ),
        ({"FunctionName": "no"}, "ResourceNotFoundException", f"Function not found: {ARN[:-5]}no"),
        ({"FunctionName": "hello:no"}, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}:no"),
        ({"Qualifier": "42"}, "ResourceNotFoundException", f"Function not found: {ARN}:42"),
        ({"Qualifier": "valid-with-$-but"}, "ResourceNotFoundException", f"Function not found: {ARN}:valid-with-$-but"),
    ],
)
def test_what_cannot_be_added(client, kwargs, error, message):
    with pytest.raises(client.exceptions.ClientError) as caught:
        add(client, **kwargs)
    assert (caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]) == (error, message)


def test_what_cannot_be_removed(client):
    for name, message in [
        ("hello", "No policy is associated with the given resource."),
        ("no", f"No policy found for: {ARN[:-5]}no"),
    ]:
        with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
            client.remove_permission(FunctionName=name, StatementId="s3")
        assert caught.value.response["Message"] == message
    add(client)
    with pytest.raises(client.exceptions.ResourceConflictException) as caught:
        add(client)
    assert caught.value.response["message"] == (
        "The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing "
        "statement."
    )
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Statement x is not found in resource"):
        client.remove_permission(FunctionName="hello", StatementId="x")
