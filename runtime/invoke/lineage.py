"""Loops of functions that call each other: seen by the lineage in the trace header, and stopped. Pure.

docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html: a function that was invoked about 16 times in one chain
of requests is not invoked again. AWS's SDKs pass the header on from a function's environment (``_X_AMZN_TRACE_ID``) to
what it calls. In it stands, as on AWS, ``Lineage=1:8f3a01bc:0|55ee1209:2``: for each function of the chain a digest of
its name and how often it was invoked before.
"""

import functools
import hashlib
import re
import urllib.parse

LIMIT = 16
"""How often a function is invoked in one chain."""

_FUNCTIONS = 64
"""Functions of a chain that are remembered, those last: a header is not to grow without end."""
_LINEAGE = re.compile(r";?Lineage=([^;]*)", re.ASCII)
_ENTRY = re.compile(r"([0-9a-f]{8}):(\d{1,6})", re.ASCII)


def begin(trace_id: str, function_arn: str) -> str:
    """Return what ``extend`` makes of a trace header without a lineage that is not empty."""
    return f"{trace_id};Lineage=1:{_digest(function_arn)}:0"


def extend(trace_id: str, function_arn: str) -> tuple[str, int]:
    """Return the trace header that a function's invocation gets, and how often the chain invoked it before."""
    digest = _digest(function_arn)
    match = _LINEAGE.search(trace_id) if "Lineage=" in trace_id else None
    if match is None:
        return begin(trace_id, function_arn) if trace_id else f"Lineage=1:{digest}:0", 0
    # SDKs encode the bar.
    chain = dict(_ENTRY.findall(urllib.parse.unquote(match[1])))
    before = int(chain.pop(digest)) + 1 if digest in chain else 0
    chain[digest] = str(before)
    shown = "|".join(f"{one}:{count}" for one, count in list(chain.items())[-_FUNCTIONS:])
    return f"{trace_id[: match.start()]};Lineage=1:{shown}{trace_id[match.end() :]}", before


@functools.lru_cache(maxsize=4096)
def _digest(function_arn: str) -> str:
    return hashlib.sha256(function_arn.encode()).hexdigest()[:8]
