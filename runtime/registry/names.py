"""Names and ARNs of functions and layers: parsed and built, pure.

A caller names a function by ``name``, ``name:qualifier``, ``123456789012:function:name`` or a full ARN, each
with or without a qualifier (docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html, "FunctionName").
"""

import dataclasses
import re

from runtime import errors, model

_REFERENCE = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*):lambda:)?"
    r"(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?"
    r"(?:function:)?"
    r"(?P<name>[a-zA-Z0-9_.-]+)"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]+))?"
)
_LAYER_VERSION = re.compile(
    r"arn:(?P<partition>aws[a-zA-Z-]*):lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12})"
    r":layer:(?P<name>[a-zA-Z0-9_-]+):(?P<version>[0-9]+)"
)
_LAYER = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):layer:)?(?P<name>[a-zA-Z0-9_-]+)"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRef:
    """A function as a caller named it; ``qualifier`` is None where they gave none."""

    name: str
    qualifier: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerRef:
    """A layer version as an ARN names it."""

    name: str
    version: int
    arn: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The account and region that every ARN of this installation bears."""

    region: str = "us-east-1"
    account_id: str = "000000000000"
    partition: str = "aws"

    @property
    def _root(self) -> str:
        return f"arn:{self.partition}:iam::{self.account_id}:root"

    def _arn(self, rest: str) -> str:
        return f"arn:{self.partition}:lambda:{self.region}:{self.account_id}:{rest}"

    def function_arn(self, name: str, qualifier: str | None = None) -> str:
        """Return a function's ARN, qualified when a qualifier is given."""
        return self._arn(f"function:{name}" if qualifier is None else f"function:{name}:{qualifier}")

    def layer_arn(self, name: str, version: int | None = None) -> str:
        """Return a layer's ARN, or that of one of its versions."""
        return self._arn(f"layer:{name}" if version is None else f"layer:{name}:{version}")

    def function(self, reference: str, qualifier: str | None = None) -> FunctionRef:
        """Return what a ``FunctionName`` and a ``Qualifier`` parameter name together.

        Raises ResourceNotFound for another region, AccessDenied for another account, and
        InvalidParameterValue where both carry a qualifier and they differ.
        """
        qualifier = qualifier or None
        if ":" not in reference:
            return FunctionRef(name=reference, qualifier=qualifier)
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise errors.ResourceNotFound(f"Function not found: {self.function_arn(reference)}")
        region, account, derived = match["region"], match["account"], match["qualifier"]
        if region is not None and region != self.region:
            raise errors.ResourceNotFound(
                f"Functions from '{region}' are not reachable in this region ('{self.region}')"
            )
        if account is not None and account != self.account_id:
            qualified = ":".join(filter(None, (match["name"], derived or qualifier)))
            arn = f"arn:{self.partition}:lambda:{self.region}:{account}:function:{qualified}"
            raise errors.ForeignAccount(arn, self._root)
        if derived is not None and qualifier is not None and derived != qualifier:
            raise errors.InvalidParameterValue(
                "The derived qualifier from the function name does not match the specified qualifier."
            )
        return FunctionRef(name=match["name"], qualifier=derived or qualifier)

    def layer(self, reference: str) -> str:
        """Return the name of the layer that a ``LayerName`` parameter names; it may be an ARN."""
        match = _LAYER.fullmatch(reference)
        if match is None:
            raise errors.InvalidParameterValue(f"Invalid Layer name: {reference}")
        if match["account"] is not None and match["account"] != self.account_id:
            raise errors.ForeignAccount(reference, self._root)
        return match["name"]

    def layer_version(self, arn: str) -> LayerRef:
        """Return what a layer version's ARN names; the region is checked, the account by the caller."""
        match = _LAYER_VERSION.fullmatch(arn)
        if match is None:
            raise errors.InvalidParameterValue(f"Layer version {arn} does not exist.")
        if match["region"] != self.region:
            raise errors.InvalidParameterValue(
                f"Layers are not in the same region as the function. Layers are expected to be in region {self.region}."
            )
        if match["account"] != self.account_id:
            raise errors.ForeignAccount(arn, self._root, "lambda:GetLayerVersion")
        return LayerRef(name=match["name"], version=int(match["version"]), arn=arn)


def is_version(qualifier: str) -> bool:
    """Return whether a qualifier is $LATEST or a version number, and so no alias."""
    return qualifier == model.LATEST or (qualifier.isascii() and qualifier.isdigit())


def is_alias(qualifier: str) -> bool:
    """Return whether a qualifier could be the name of an alias."""
    return not is_version(qualifier) and "$" not in qualifier
