"""Pages of lists: ``Marker`` and ``MaxItems`` in, ``NextMarker`` out. Pure.

A marker is opaque to callers: the place after which the next page starts, in base64.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from runtime import errors

MAX_ITEMS = 50
"""docs.aws.amazon.com/lambda/latest/api/API_ListFunctions.html: more are asked for in vain."""


def size(request: Mapping[str, Any]) -> int:
    """Return how many items a request wants."""
    return min(int(request.get("MaxItems", MAX_ITEMS)), MAX_ITEMS)


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
    if not isinstance(decoded, list) or not decoded or not all(isinstance(part, str) for part in decoded):
        raise errors.InvalidParameterValue("Invalid Marker")
    return decoded


def page(key: str, items: Sequence[Any], last: str, *, more: bool) -> dict[str, Any]:
    """Return a list's answer; ``last`` is the place of the last item."""
    return {key: items, "NextMarker": marker([last])} if more else {key: items}


def listed(key: str, items: Sequence[Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of a list that is all in memory. The place is an index."""
    start = place(request)
    first = int(start[0]) if start and start[0].isdecimal() else 0
    end = first + size(request)
    return page(key, items[first:end], str(end), more=end < len(items))
