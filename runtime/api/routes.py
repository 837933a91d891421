"""From a method and a raw path to an operation of the service model, and the labels in the path. Pure.

The path is cut at its slashes before it is decoded, so a label may hold an encoded slash, and colons encoded or
not: boto3 encodes the colons of an ARN, other clients don't.
"""

import dataclasses
import functools
import urllib.parse
from collections.abc import Mapping

from runtime.api import shapes


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """An operation, and the decoded labels of the path by name."""

    operation: str
    labels: Mapping[str, str]


@dataclasses.dataclass(slots=True)
class _Node:
    literals: "dict[str, _Node]" = dataclasses.field(default_factory=dict)
    label: "_Node | None" = None
    operations: dict[str, list[tuple[str, tuple[str, ...], str]]] = dataclasses.field(default_factory=dict)
    """By method: (query that must stand in the request, names of the labels on the way, operation)."""


@functools.cache
def _tree() -> _Node:
    root = _Node()
    model = shapes.service()
    for name in model.operation_names:
        http = model.operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        node, labels = root, []
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                labels.append(segment[1:-1])
                node.label = node.label or _Node()
                node = node.label
            else:
                node = node.literals.setdefault(segment, _Node())
        candidates = node.operations.setdefault(http["method"], [])
        candidates.append((query, tuple(labels), name))
        # What demands a query comes before what does not.
        candidates.sort(key=lambda candidate: not candidate[0])
    return root


def find(method: str, raw_path: str, query: str) -> Match | None:
    """Return the operation that a request is for, or None. A trailing slash is ignored."""
    node, values = _tree(), []
    for segment in raw_path.rstrip("/").split("/")[1:]:
        following = node.literals.get(segment)
        if following is None:
            following = node.label
            if following is None or not segment:
                return None
            values.append(urllib.parse.unquote(segment))
        node = following
    for demanded, labels, operation in node.operations.get(method, ()):
        if not demanded or demanded in query.split("&"):
            return Match(operation, dict(zip(labels, values, strict=True)))
    return None
