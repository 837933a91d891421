"""Policies: how they are read, and what they decide."""

import json

import pytest

from runtime import errors
from runtime.api.auth import globs, policy

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:hello"
ALICE = "arn:aws:iam::000000000000:user/alice"
ROOT = "arn:aws:iam::000000000000:root"
ALLOWED, NOT_ALLOWED = policy.Decision.ALLOWED, policy.Decision.NOT_ALLOWED
DENIED, DENIED_BY_RESOURCE = policy.Decision.DENIED_BY_IDENTITY, policy.Decision.DENIED_BY_RESOURCE


def statement(effect="Allow", action="lambda:InvokeFunction", resource=FUNCTION, **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def document(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def decide(statements, action="lambda:InvokeFunction", resource=FUNCTION, facts=None, on_resource=None, who=(ALICE,)):
    identity = [policy.parse(document(*statements), "test")] if statements else []
    attached = policy.of_resource(on_resource, ROOT) if on_resource else None
    return policy.decide(identity, attached, policy.Asked(action, resource, frozenset(who), lambda: facts or {}))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], NOT_ALLOWED),
        ([statement()], ALLOWED),
        ([statement(action="*", resource="*")], ALLOWED),
        ([statement(action="lambda:*")], ALLOWED),
        ([statement(action="LAMBDA:invokefunction")], ALLOWED),
        ([statement(action="lambda:Invoke?unction")], ALLOWED),
        ([statement(action=["lambda:GetFunction", "lambda:Invoke*"])], ALLOWED),
        ([statement(action="lambda:InvokeFunctio")], NOT_ALLOWED),
        ([statement(action="lambda:InvokeFunction?")], NOT_ALLOWED),
        ([statement(action="s3:*")], NOT_ALLOWED),
        ([statement(resource=f"{FUNCTION}:*")], NOT_ALLOWED),
        ([statement(resource="arn:aws:lambda:*:*:function:h*o")], ALLOWED),
        ([statement(resource="arn:aws:lambda:*:function:hello:*:*")], NOT_ALLOWED),
        ([statement(resource="arn:aws:lambda:us-east-1:0000*:function:HELLO")], NOT_ALLOWED),
        ([statement(resource=["arn:aws:lambda:*:*:function:other", FUNCTION])], ALLOWED),
        ([statement(), statement("Deny")], DENIED),
        ([statement("Deny"), statement()], DENIED),
        ([statement("Deny", resource="*", action="*")], DENIED),
        ([statement("Deny", action="lambda:DeleteFunction"), statement()], ALLOWED),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], ALLOWED),
        ([{"Effect": "Allow", "NotAction": ["iam:*", "lambda:Invoke*"], "Resource": "*"}], NOT_ALLOWED),
        ([{"Effect": "Allow", "Action": "*", "NotResource": FUNCTION}], NOT_ALLOWED),
        ([statement(), {"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:lambda:*:*:function:h*"}], ALLOWED),
        ([statement(), {"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:lambda:*:*:function:a*"}], DENIED),
    ],
    ids=str,
)
def test_identity_policies_decide(given, expected):
    assert decide(given) is expected


def test_a_wildcard_in_the_last_part_spans_qualifiers():
    given = [statement(resource="arn:aws:lambda:us-east-1:000000000000:function:hello*")]
    assert decide(given, resource=f"{FUNCTION}:live") is ALLOWED
    assert decide([statement()], resource=f"{FUNCTION}:live") is NOT_ALLOWED


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("*", ALLOWED),
        ({"AWS": "*"}, ALLOWED),
        ({"AWS": ALICE}, ALLOWED),
        ({"AWS": ["arn:aws:iam::000000000000:user/bob", ALICE]}, ALLOWED),
        ({"AWS": "arn:aws:iam::000000000000:user/bob"}, NOT_ALLOWED),
        ({"AWS": ROOT}, NOT_ALLOWED),
        ({"Service": "events.amazonaws.com"}, NOT_ALLOWED),
    ],
    ids=str,
)
def test_a_resource_policy_lets_in_whom_it_names(principal, expected):
    assert decide([], on_resource=[statement(Principal=principal)]) is expected
    assert decide([statement("Deny")], on_resource=[statement(Principal=principal)]) is DENIED


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("*", DENIED_BY_RESOURCE),
        ({"AWS": ALICE}, DENIED_BY_RESOURCE),
        ({"AWS": ROOT}, DENIED_BY_RESOURCE),
        ({"AWS": "arn:aws:iam::000000000000:user/bob"}, ALLOWED),
        ({"Service": "s3.amazonaws.com"}, ALLOWED),
    ],
    ids=str,
)
def test_a_resource_policy_keeps_out_whom_it_names(principal, expected):
    assert decide([statement()], on_resource=[statement("Deny", Principal=principal)]) is expected


def test_a_function_is_known_by_its_role_and_by_its_session():
    session, role = "arn:aws:sts::000000000000:assumed-role/r/f", "arn:aws:iam::000000000000:role/r"
    for name in (session, role):
        assert decide([], on_resource=[statement(Principal={"AWS": name})], who=(session, role)) is ALLOWED


def test_what_a_resource_policy_says_that_is_not_understood_lets_nobody_in_and_keeps_out_everybody():
    strange = {"Condition": {"ForAnyValue:StringEquals": {"aws:username": "alice"}}, "Principal": "*"}
    assert decide([], on_resource=[statement(**strange)]) is NOT_ALLOWED
    assert decide([statement()], on_resource=[statement("Deny", **strange)]) is DENIED_BY_RESOURCE


FACTS = {
    "aws:username": "alice",
    "aws:sourceip": "192.0.2.7",
    "aws:currenttime": "2026-01-01T00:00:00Z",
    "aws:epochtime": "1767225600",
    "aws:principalarn": ALICE,
    "aws:securetransport": "false",
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"StringEquals": {"aws:username": "alice"}}, True),
        ({"StringEquals": {"AWS:UserName": ["bob", "alice"]}}, True),
        ({"StringEquals": {"aws:username": "Alice"}}, False),
        ({"StringEqualsIgnoreCase": {"aws:username": "Alice"}}, True),
        ({"StringNotEquals": {"aws:username": ["bob", "alice"]}}, False),
        ({"StringNotEquals": {"aws:username": ["bob", "carol"]}}, True),
        ({"StringLike": {"aws:username": "al*"}}, True),
        ({"StringNotLike": {"aws:username": "al?ce"}}, False),
        ({"StringEquals": {"lambda:FunctionArn": "x"}}, False),
        ({"StringNotEquals": {"lambda:FunctionArn": "x"}}, True),
        ({"StringEqualsIfExists": {"lambda:FunctionArn": "x"}}, True),
        ({"StringEqualsIfExists": {"aws:username": "bob"}}, False),
        ({"Null": {"lambda:FunctionArn": "true"}}, True),
        ({"Null": {"lambda:FunctionArn": False}}, False),
        ({"Null": {"aws:username": "false"}}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/a*"}}, True),
        ({"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::*:user/a*"}}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, True),
        ({"Bool": {"aws:SecureTransport": True}}, False),
        ({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, True),
        ({"IpAddress": {"aws:SourceIp": ["192.0.2.8", "2001:db8::/32"]}}, False),
        ({"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": "2025-12-31T23:59:59Z"}}, True),
        ({"DateLessThanEquals": {"aws:CurrentTime": "2026-01-01T01:00:00+01:00"}}, True),
        ({"DateLessThan": {"aws:CurrentTime": "1767225600"}}, False),
        ({"NumericGreaterThanEquals": {"aws:EpochTime": 1767225600}}, True),
        ({"StringEquals": {"aws:username": "alice"}, "Bool": {"aws:SecureTransport": "true"}}, False),
        ({"StringLike": {"aws:username": "al*", "aws:SourceIp": "192.*"}}, True),
        ({"StringLike": {"aws:username": "al*", "aws:SourceIp": "10.*"}}, False),
        ({}, True),
    ],
    ids=str,
)
def test_conditions_hold_or_not(condition, expected):
    found = decide([statement(Condition=condition)], facts=FACTS)
    assert found is (ALLOWED if expected else NOT_ALLOWED)
    assert (decide([statement(), statement("Deny", Condition=condition)], facts=FACTS) is DENIED) is expected


def test_an_address_that_is_ipv4_within_ipv6_is_that_of_ipv4():
    given = [statement(Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}})]
    assert decide(given, facts={"aws:sourceip": "::ffff:192.0.2.7"}) is ALLOWED


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{", "not JSON"),
        ([], "an object"),
        ({"Version": "2012-10-17"}, "a statement is an object"),
        ({"Statement": [statement()]}, "Version must be"),
        ({"Version": "2020-01-01", "Statement": []}, "Version must be"),
        (document(statement()) | {"Statements": []}, "has no Statements"),
        (document(statement(Principal="*")), "has no Principal"),
        (document(statement("allow")), "Effect must be"),
        (document({"Effect": "Allow", "Resource": "*"}), "exactly one of Action and NotAction"),
        (document(statement(NotAction="*")), "exactly one of Action and NotAction"),
        (document({"Effect": "Allow", "Action": "*"}), "exactly one of Resource and NotResource"),
        (document(statement(action=[])), "Action must be"),
        (document(statement(action=1)), "Action must be"),
        (document(statement(action="InvokeFunction")), "not an action"),
        (document(statement(action="lam*:Invoke")), "not an action"),
        (document(statement(resource="hello")), "not an ARN"),
        (document(statement(resource="arn:aws:lambda:*")), "not an ARN"),
        (document(statement(resource="arn:aws:lambda:*:*:function:${aws:username}")), "policy variables"),
        (document(statement(Condition=[])), "Condition must be"),
        (document(statement(Condition={"StringEquals": "x"})), "StringEquals must be an object"),
        (document(statement(Condition={"StringMatches": {"aws:username": "x"}})), "'StringMatches' is not offered"),
        (document(statement(Condition={"ForAllValues:StringEquals": {"aws:username": "x"}})), "not offered"),
        (document(statement(Condition={"StringEquals": {"aws:MultiFactorAuthPresent": "x"}})), "not offered"),
        (document(statement(Condition={"StringEquals": {"aws:username": []}})), "has no value"),
        (document(statement(Condition={"StringEquals": {"aws:username": {}}})), "must be a text"),
        (document(statement(Condition={"IpAddress": {"aws:SourceIp": "everywhere"}})), "everywhere"),
        (document(statement(Condition={"Bool": {"aws:SecureTransport": "yes"}})), "neither true nor false"),
        (document(statement(Condition={"DateLessThan": {"aws:CurrentTime": "soon"}})), "soon"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_policy_is_said(wrong, message):
    with pytest.raises(errors.ConfigError, match=message) as raised:
        policy.parse(wrong, "users.toml, user alice")
    assert raised.value.message.startswith("users.toml, user alice")


def test_a_policy_may_be_a_text_and_its_statement_a_single_one():
    parsed = policy.parse(json.dumps({"Version": "2012-10-17", "Statement": statement()}), "test")
    assert len(parsed.allows) == 1


def test_no_pattern_takes_long():
    """Nested wildcards make a backtracking matcher take exponential time."""
    matches = globs.text("*a" * 40 + "b")
    assert not matches("a" * 4000)
    assert globs.text("*a" * 40)("a" * 4000)
