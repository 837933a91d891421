"""What a request says of its signature, in the Authorization header or, presigned, in the query; pure."""

import email.utils
import re
import time
import urllib.parse
from collections.abc import Mapping
from typing import NamedTuple

from runtime import errors

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_S = 15 * 60
"""How far the clocks of both sides may be apart."""
EXPIRES_LIMIT_S = 7 * 24 * 3600
"""For how long a presigned URL may be good."""
PRESIGNED = ("X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date", "X-Amz-Expires")

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^\s,]+), *SignedHeaders=([^\s,]+), *Signature=([^\s,]+)", re.ASCII
)
_TIMESTAMP = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)


class Parameters(NamedTuple):
    """The parameters of a signature, wherever they stood."""

    credential: str
    signed_headers: str
    signature: str
    timestamp: str
    token: str | None
    query: str
    """Without the signature."""
    lifetime_s: int
    """How old the signature may be."""


def of_header(authorization: str, query: str, headers: Mapping[str, str]) -> Parameters:
    """Return those of an Authorization header; raise MissingAuthenticationToken or IncompleteSignature."""
    date = headers.get("x-amz-date") or headers.get("date")
    match = _AUTHORIZATION.fullmatch(authorization)
    credential, signed, signature = match.groups() if match else _parameters(authorization, date)
    if date is None:
        raise errors.IncompleteSignature(f"{_no('date')}Authorization={_shown(authorization)}")
    token = headers.get("x-amz-security-token")
    return Parameters(credential, signed, signature, _timestamp(date), token, query, SKEW_S)


def _parameters(authorization: str, date: str | None) -> tuple[str, str, str]:
    """Return the parameters of a header that is not of the common form; raise for what is missing."""
    algorithm, _, rest = authorization.strip().partition(" ")
    if not algorithm.startswith("AWS4-"):
        # Basic, Bearer and the like: to AWS's services no authentication at all.
        raise errors.MissingAuthenticationToken
    if algorithm != ALGORITHM:
        raise errors.IncompleteSignature(f"Unsupported AWS 'algorithm': '{algorithm}' (only {ALGORITHM} for now). ")
    found = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if name and not equals:
            raise errors.IncompleteSignature(
                f"'{name}' not a valid key=value pair (missing equal-sign) in Authorization header: "
                f"'{_shown(authorization)}'."
            )
        found[name] = value
    missing = "".join(_no(name) for name in ("Credential", "Signature", "SignedHeaders") if not found.get(name))
    if missing:
        if date is None:
            missing += _no("date")
        raise errors.IncompleteSignature(f"{missing}Authorization={_shown(authorization)}")
    return found["Credential"], found["SignedHeaders"], found["Signature"]


def _no(name: str) -> str:
    if name == "date":
        return "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
    return f"Authorization header requires '{name}' parameter. "


def _shown(authorization: str) -> str:
    """Return a header for an error: whoever reads the error is not to learn a signature that may be good."""
    return re.sub(r"(Signature=)[^,\s]+", r"\1...", authorization)


def of_query(query: str) -> Parameters:
    """Return those of a presigned request; raise IncompleteSignature."""
    pairs = [pair.partition("=")[::2] for pair in query.split("&")]
    found = {urllib.parse.unquote(name): urllib.parse.unquote(value) for name, value in pairs}
    missing = [name for name in PRESIGNED if not found.get(name)]
    if missing:
        wanted = ". ".join(f"AWS query-string parameters must include '{name}'" for name in missing)
        raise errors.IncompleteSignature(f"{wanted}. Re-examine the query-string parameters.")
    if found["X-Amz-Algorithm"] != ALGORITHM:
        raise errors.IncompleteSignature(
            f"Unsupported AWS 'algorithm': '{found['X-Amz-Algorithm']}' (only {ALGORITHM} for now). "
        )
    expires = found["X-Amz-Expires"]
    if not (_SECONDS.fullmatch(expires) and 0 < int(expires) <= EXPIRES_LIMIT_S):
        raise errors.IncompleteSignature(f"X-Amz-Expires must be between 1 and {EXPIRES_LIMIT_S} seconds.")
    return Parameters(
        found["X-Amz-Credential"],
        found["X-Amz-SignedHeaders"],
        found["X-Amz-Signature"],
        _timestamp(found["X-Amz-Date"]),
        found.get("X-Amz-Security-Token"),
        "&".join(f"{name}={value}" for name, value in pairs if name != "X-Amz-Signature"),
        int(expires),
    )


def _timestamp(given: str) -> str:
    """Return a date in ISO 8601's basic form; it may be that of the Date header."""
    if _TIMESTAMP.fullmatch(given):
        return given
    try:
        return stamp(int(email.utils.parsedate_to_datetime(given).timestamp()))
    except (ValueError, OverflowError):
        raise errors.IncompleteSignature(
            f"Date must be in ISO-8601 'basic format'. Got '{given}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


def stamp(second: int) -> str:
    """Return Unix time as signatures write it."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
