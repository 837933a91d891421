"""Which permissions each operation takes."""

import pytest

from runtime.api import shapes
from runtime.api.auth import actions
from runtime.registry import names

SITE = names.Site()
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:hello"
LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:numbers"
ROLE = "arn:aws:iam::000000000000:role/r"
MAPPING = "arn:aws:lambda:us-east-1:000000000000:event-source-mapping:0b1c"


def needs(operation, **request):
    return [(need.action, need.resource) for need in actions.needs(operation, request, SITE)]


@pytest.mark.parametrize(
    ("operation", "request_", "expected"),
    [
        ("GetFunction", {"FunctionName": "hello"}, [("lambda:GetFunction", FUNCTION)]),
        ("GetFunction", {"FunctionName": FUNCTION, "Qualifier": "live"}, [("lambda:GetFunction", f"{FUNCTION}:live")]),
        ("GetFunction", {"FunctionName": f"{FUNCTION}:3"}, [("lambda:GetFunction", f"{FUNCTION}:3")]),
        ("ListFunctions", {"MaxItems": 1}, [("lambda:ListFunctions", "*")]),
        ("GetAccountSettings", {}, [("lambda:GetAccountSettings", "*")]),
        ("Invoke", {"FunctionName": "hello"}, [("lambda:InvokeFunction", FUNCTION)]),
        (
            "CreateFunction",
            {
                "FunctionName": "hello",
                "Role": ROLE,
                "Layers": [f"{LAYER}:1"],
                "Code": {"S3Bucket": "b", "S3Key": "k/z"},
            },
            [
                ("lambda:CreateFunction", FUNCTION),
                ("s3:GetObject", "arn:aws:s3:::b/k/z"),
                ("iam:PassRole", ROLE),
                ("lambda:GetLayerVersion", f"{LAYER}:1"),
            ],
        ),
        ("PublishLayerVersion", {"LayerName": "numbers", "Content": {}}, [("lambda:PublishLayerVersion", LAYER)]),
        (
            "GetLayerVersion",
            {"LayerName": "numbers", "VersionNumber": 2},
            [("lambda:GetLayerVersion", f"{LAYER}:2")],
        ),
        ("GetLayerVersionByArn", {"Arn": f"{LAYER}:2"}, [("lambda:GetLayerVersion", f"{LAYER}:2")]),
        ("TagResource", {"Resource": FUNCTION, "Tags": {}}, [("lambda:TagResource", FUNCTION)]),
        # However a caller spells it, it is the same function or layer to a policy.
        ("TagResource", {"Resource": FUNCTION.replace("aws", "aws-cn", 1)}, [("lambda:TagResource", FUNCTION)]),
        ("ListTags", {"Resource": MAPPING}, [("lambda:ListTags", MAPPING)]),
        (
            "GetLayerVersionByArn",
            {"Arn": f"{LAYER}:2".replace("aws", "aws-cn", 1)},
            [("lambda:GetLayerVersion", f"{LAYER}:2")],
        ),
        ("GetFunction", {"FunctionName": "000000000000:function:hello"}, [("lambda:GetFunction", FUNCTION)]),
        (
            "UpdateFunctionConfiguration",
            {"FunctionName": FUNCTION.replace("aws", "aws-cn", 1), "Layers": [f"{LAYER}:01"]},
            [("lambda:UpdateFunctionConfiguration", FUNCTION), ("lambda:GetLayerVersion", f"{LAYER}:1")],
        ),
        ("UpdateEventSourceMapping", {"UUID": "0b1c"}, [("lambda:UpdateEventSourceMapping", MAPPING)]),
        ("CreateEventSourceMapping", {"FunctionName": "hello"}, [("lambda:CreateEventSourceMapping", "*")]),
        (
            "PutFunctionCodeSigningConfig",
            {"FunctionName": "hello", "CodeSigningConfigArn": "arn:csc"},
            [("lambda:PutFunctionCodeSigningConfig", FUNCTION)],
        ),
    ],
    ids=str,
)
def test_an_operation_takes(operation, request_, expected):
    assert needs(operation, **request_) == expected


def test_a_mapping_says_of_which_function_it_is():
    need = next(actions.needs("CreateEventSourceMapping", {"FunctionName": "hello"}, SITE))
    assert need.function_arn == FUNCTION


SAMPLES = {
    "FunctionName": "hello",
    "LayerName": "numbers",
    "VersionNumber": 1,
    "UUID": "0b1c",
    "Arn": f"{LAYER}:1",
    "Resource": FUNCTION,
    "ResourceArn": FUNCTION,
    "CodeSigningConfigArn": "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0b1c",
    "DurableExecutionArn": f"{FUNCTION}:1/durable-execution/a/b",
}


@pytest.mark.parametrize("operation", shapes.service().operation_names)
def test_every_operation_takes_something_and_names_what_it_is_about(operation):
    """An operation that took nothing would be anybody's."""
    shape = shapes.service().operation_model(operation).input_shape
    members = shape.members if shape is not None else {}
    required = shape.required_members if shape is not None else []
    found = needs(operation, **{name: SAMPLES[name] for name in required if name in SAMPLES})
    assert len(found) == 1
    action, resource = found[0]
    assert action.startswith("lambda:")
    about = [name for name in required if name in SAMPLES and name in members]
    assert (resource == "*") is (not about or operation == "CreateEventSourceMapping")
