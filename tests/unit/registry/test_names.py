"""Names and ARNs."""

import pytest

from runtime import errors
from runtime.registry import names

SITE = names.Site(region="eu-west-1", account_id="123456789012")
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:"
Ref = names.FunctionRef


@pytest.mark.parametrize(
    ("reference", "qualifier", "expected"),
    [
        ("f", None, Ref(name="f")),
        ("f", "", Ref(name="f")),
        ("f", "1", Ref(name="f", qualifier="1")),
        ("f:live", None, Ref(name="f", qualifier="live")),
        ("f:$LATEST", None, Ref(name="f", qualifier="$LATEST")),
        ("f:live", "live", Ref(name="f", qualifier="live")),
        ("function:f", None, Ref(name="f")),
        ("123456789012:function:f", None, Ref(name="f")),
        ("123456789012:function:f:1", None, Ref(name="f", qualifier="1")),
        ("eu-west-1:123456789012:function:f", None, Ref(name="f")),
        (ARN + "f", None, Ref(name="f")),
        (ARN + "f:$LATEST", "$LATEST", Ref(name="f", qualifier="$LATEST")),
        (ARN + "f", "live", Ref(name="f", qualifier="live")),
    ],
)
def test_references(reference, qualifier, expected):
    assert SITE.function(reference, qualifier) == expected


@pytest.mark.parametrize(
    ("reference", "qualifier", "error"),
    [
        (ARN.replace("eu-west-1", "us-east-1") + "f", None, errors.ResourceNotFound),
        (ARN.replace("123456789012", "000000000000") + "f", None, errors.AccessDenied),
        ("000000000000:function:f", None, errors.AccessDenied),
        ("f:1", "2", errors.InvalidParameterValue),
        ("a:b:c:d", None, errors.ResourceNotFound),
        (ARN + "f:", None, errors.ResourceNotFound),
    ],
)
def test_references_to_elsewhere(reference, qualifier, error):
    with pytest.raises(error):
        SITE.function(reference, qualifier)


def test_arns_are_built_and_read_back():
    assert SITE.function_arn("f") == ARN + "f"
    assert SITE.function(SITE.function_arn("f", "live")) == Ref(name="f", qualifier="live")
    assert SITE.layer_version(SITE.layer_arn("l", 7)) == names.LayerRef(name="l", version=7, arn=SITE.layer_arn("l", 7))
    assert SITE.layer(SITE.layer_arn("l")) == SITE.layer("l") == "l"


@pytest.mark.parametrize(
    ("qualifier", "version", "alias"),
    [
        ("$LATEST", True, False),
        ("12", True, False),
        ("live", False, True),
        ("2024-01", False, True),
        ("a$b", False, False),
    ],
)
def test_kinds_of_qualifiers(qualifier, version, alias):
    assert (names.is_version(qualifier), names.is_alias(qualifier)) == (version, alias)
