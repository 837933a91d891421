"""Checks a request against the service model's constraints, and says what fails in AWS's words. Pure.

The words were learnt from recorded answers: every failed constraint is named, in the order of the model's members,
after a count; a list or map whose elements fail is shown whole, with all constraints of its elements. Where the
model is wider than what Lambda takes for an ordinary function, or AWS words a constraint otherwise than the model
has it, the tables below say so.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore import model as shapes

from runtime import errors

RUNTIMES = (
    *("nodejs20.x", "python3.14", "provided.al2023", "python3.12", "python3.13", "nodejs24.x", "nodejs22.x"),
    *("java25", "python3.10", "python3.11", "java21", "ruby3.3", "ruby3.4", "ruby3.2", "python3.8", "python3.9"),
    *("java17", "nodejs16.x", "dotnet10", "dotnet8", "java11", "dotnet6", "nodejs18.x", "provided.al2", "java8.al2"),
)
"""What AWS creates functions for, in the order in which it names them."""

_ENUMS: Mapping[str, tuple[str, ...]] = {
    "CompatibleRuntimes": RUNTIMES,
    "EventSourcePosition": ("LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"),
    "InvokeMode": ("RESPONSE_STREAM", "BUFFERED"),
    "RecursiveLoop": ("Terminate", "Allow"),
}
"""Enumerations that AWS names in another order than the model, by shape."""

_ALL_RUNTIMES = (
    *("ruby3.5", "ruby2.6", "dotnetcore1.0", "python3.7", "nodejs8.10", "nasa", "ruby2.7", "python2.7-greengrass"),
    *("dotnetcore2.0", "python3.8", "java21", "dotnet6", "dotnetcore2.1", "python3.9", "java11", "nodejs6.10"),
    *("provided", "dotnetcore3.1", "dotnet8", "java25", "java17", "nodejs", "nodejs4.3", "java8.al2", "go1.x"),
    *("dotnet10", "nodejs20.x", "go1.9", "byol", "nodejs10.x", "provided.al2023", "nodejs22.x", "python3.10"),
    *("java8", "nodejs12.x", "python3.11", "nodejs24.x", "nodejs8.x", "python3.12", "nodejs14.x", "nodejs8.9"),
    *("nodejs26.x", "python3.13", "python3.14", "nodejs16.x", "python3.15", "provided.al2", "nodejs4.3-edge"),
    *("nodejs18.x", "ruby3.2", "python3.4", "ruby3.3", "ruby3.4", "ruby2.5", "python3.6", "python2.7"),
)
_OWN_CHECKS = frozenset({"CreateFunctionRequest.Runtime", "UpdateFunctionConfigurationRequest.Runtime"})
"""Members that a handler checks itself, because AWS answers with another error."""

_MAXIMA: Mapping[str, int] = {"Timeout": 900, "MemorySize": 10240, "EphemeralStorageSize": 10240}
"""Lambda quotas (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html); the model's are those of
functions on managed instances."""

_LAYER_VERSION = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:"
    r"[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
)
_TAGGABLE = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
    r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}"
    r"|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|capacity-provider:[a-zA-Z0-9-_]+)"
)
_PATTERNS: Mapping[str, str] = {"LayerVersionArn": _LAYER_VERSION, "TaggableResource": _TAGGABLE}
"""Patterns that AWS words otherwise than the model, by shape."""

_NULLABLE_ELEMENTS = frozenset({"SecurityGroupIds", "SubnetIds", "CompatibleRuntimes"})
"""Lists of whose elements AWS does not say that they must not be null."""

_LATE = frozenset({"CompatibleArchitectures"})
"""Members that AWS names after others that the model has later."""

_TESTED_LENGTH = 20_000
"""Longer strings break a length constraint anyway, and are not matched, so that no pattern takes long."""


def validate(shape: shapes.StructureShape, request: Mapping[str, Any]) -> None:
    """Raise Validation, naming all that is wrong with a request."""
    found = list(_structure(shape, request, ""))
    if found:
        noun = "error" if len(found) == 1 else "errors"
        raise errors.Validation(f"{len(found)} validation {noun} detected: {'; '.join(found)}")


def failure(path: str, value: object, constraint: str) -> str:
    """Return AWS's words for one value that fails one constraint."""
    shown = "null" if value is None else f"'{_shown(value)}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def _structure(shape: shapes.StructureShape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    required = frozenset(shape.metadata.get("required", ()))
    for name in sorted(shape.members, key=_LATE.__contains__):
        member = shape.members[name]
        inner = f"{path}{name[0].lower()}{name[1:]}"
        if value.get(name) is not None:
            if f"{shape.name}.{name}" not in _OWN_CHECKS:
                yield from _member(member, value[name], inner)
        elif name in required:
            yield failure(inner, None, "Member must not be null")


def _member(shape: shapes.Shape, value: Any, path: str) -> Iterator[str]:
    if shape.metadata.get("sensitive") and shape.type_name != "blob":
        # AWS does not repeat what may be a secret.
        for problem in _unmasked(shape, value, path):
            yield "Value at '" + problem.partition("' at '")[2]
    else:
        yield from _unmasked(shape, value, path)


def _unmasked(shape: shapes.Shape, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        yield from _structure(shape, value, f"{path}.")
    elif kind == "list":
        yield from _list(shape, value, path)
    elif kind == "map":
        yield from _map(shape, value, path)
    elif kind != "blob":
        yield from (failure(path, value, text) for text in _broken(shape, value))


def _list(shape: shapes.ListShape, value: list[Any], path: str) -> Iterator[str]:
    yield from (failure(path, value, text) for text in _size(shape, len(value)))
    member = shape.member
    if member.type_name in {"structure", "list", "map"}:
        for position, element in enumerate(value, start=1):
            yield from _member(member, element, f"{path}.{position}.member")
        return
    if any(True for element in value for _ in _broken(member, element)):
        texts = _constraints(member, shape.name)
        if shape.name not in _NULLABLE_ELEMENTS:
            texts = [*texts, "Member must not be null"]
        text = texts[0] if len(texts) == 1 else f"Member must satisfy constraint: [{', '.join(texts)}]"
        yield failure(path, value, text)


def _map(shape: shapes.MapShape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    yield from (failure(path, value, text) for text in _size(shape, len(value)))
    if any(True for key in value for _ in _broken(shape.key, key)):
        texts = ", ".join(_constraints(shape.key))
        yield failure(path, value, f"Map keys must satisfy constraint: [{texts}]")
    if shape.value.type_name in {"structure", "list", "map"}:
        return
    if any(True for element in value.values() for _ in _broken(shape.value, element)):
        texts = ", ".join([*_constraints(shape.value), "Member must not be null"])
        yield failure(path, value, f"Map value must satisfy constraint: [{texts}]")


def _broken(shape: shapes.Shape, value: Any) -> Iterator[str]:
    """Yield the constraints that one plain value breaks."""
    metadata = shape.metadata
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        greatest = _MAXIMA.get(shape.name, metadata.get("max"))
        if greatest is not None and value > greatest:
            yield _at_most("value", greatest)
        if "min" in metadata and value < metadata["min"]:
            yield _at_least("value", metadata["min"])
        return
    if not isinstance(value, str):
        return
    if "enum" in metadata and value not in _enum(shape, shape.name):
        yield _one_of(_enum(shape, shape.name))
    if "pattern" in metadata and len(value) <= _TESTED_LENGTH and not _matches(metadata["pattern"], value):
        yield _like(shape)
    yield from _size(shape, len(value))


def _size(shape: shapes.Shape, length: int) -> Iterator[str]:
    metadata = shape.metadata
    if "max" in metadata and length > metadata["max"]:
        yield _at_most("length", metadata["max"])
    if "min" in metadata and length < metadata["min"]:
        yield _at_least("length", metadata["min"])


def _constraints(shape: shapes.Shape, container: str = "") -> list[str]:
    """Return all constraints of a list's or map's elements, in AWS's order."""
    metadata = shape.metadata
    measure = "length" if shape.type_name == "string" else "value"
    texts = []
    if "max" in metadata:
        texts.append(_at_most(measure, metadata["max"]))
    if "min" in metadata:
        texts.append(_at_least(measure, metadata["min"]))
    if "pattern" in metadata:
        texts.append(_like(shape))
    if "enum" in metadata:
        texts.append(_one_of(_enum(shape, container)))
    return texts


def _enum(shape: shapes.Shape, name: str) -> tuple[str, ...]:
    if shape.name == "Runtime" and name == "Runtime":
        return _ALL_RUNTIMES
    return _ENUMS.get(name, tuple(shape.metadata["enum"]))


def _one_of(values: tuple[str, ...]) -> str:
    return f"Member must satisfy enum value set: [{', '.join(values)}]"


def _like(shape: shapes.Shape) -> str:
    pattern = _PATTERNS.get(shape.name, shape.metadata["pattern"])
    return f"Member must satisfy regular expression pattern: {pattern}"


def _at_most(measure: str, bound: object) -> str:
    return f"Member must have {measure} less than or equal to {_shown(bound)}"


def _at_least(measure: str, bound: object) -> str:
    return f"Member must have {measure} greater than or equal to {_shown(bound)}"


def _matches(pattern: str, value: str) -> bool:
    return _compiled(pattern).fullmatch(value) is not None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Java's classes of letters, separators and numbers, as far as Python's re can say them.
    translated = pattern.replace(r"\p{L}\p{Z}\p{N}", r"\w\s").replace(r"\p{L}", r"\w")
    return re.compile(translated)


def _shown(value: object) -> str:
    """Return a value as Java's toString would."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_shown(element) for element in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}={_shown(element)}' for key, element in value.items())}}}"
    return str(value)
