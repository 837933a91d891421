"""Floating point arithmetic."""

import math


def handler(event, context):
    """Return a sum over event["n"] (default 20,000) numbers: sin^2 + cos^2 + sqrt(i)^2, which is near n + n(n-1)/2."""
    n = event.get("n", 20_000)
    total = 0.0
    for i in range(n):
        total += math.sin(i) ** 2 + math.cos(i) ** 2 + math.sqrt(i) ** 2
    return {"n": n, "total": total}
