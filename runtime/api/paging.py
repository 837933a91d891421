"""Pages of lists: ``Marker`` and ``MaxItems`` in, ``NextMarker`` out. Pure.

A marker is opaque to callers: the place after which the next page starts, in base64.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from runtime import errors

MAX_ITEMS = 50
"""docs.aws.amazon.com/lambda/latest/api/API_ListFunctions.html: more are asked for in vain."""

T = TypeVar("T")


def size(request: Mapping[str, Any], most: int = MAX_ITEMS) -> int:
    """Return how many items a request wants."""
    return min(int(request.get("MaxItems", most)), most)


def marker(place: Sequence[str]) -> str:
    """Return the marker of a place."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def place(request: Mapping[str, Any]) -> list[str] | None:
    """Return the place after which a request wants its page, None for the start."""
    given = request.get("Marker")
    if not given:
        return None
    try:
        decoded = json.loads(base64.urlsafe_b64decode(given))
    except (binascii.Error, ValueError):
        decoded = None
    if not isinstance(decoded, list) or not all(isinstance(part, str) for part in decoded):
        raise errors.InvalidParameterValue("Invalid Marker")
    return decoded


def cut(items: Sequence[T], request: Mapping[str, Any], most: int = MAX_ITEMS) -> tuple[Sequence[T], str | None]:
    """Return a page of a list that is all in memory, and the next marker or None. The place is an index."""
    start = place(request)
    first = int(start[0]) if start and start[0].isdecimal() else 0
    end = first + size(request, most)
    return items[first:end], marker([str(end)]) if end < len(items) else None
