"""AWS Signature Version 4, from the side of the service that verifies it.

The rules: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html. The texts of the refusals, and the order in
which they are made, are those of AWS's services. A test holds what is computed here against botocore's own signer.

Two steps, because hashing a large body takes milliseconds: ``examine`` needs no body and finds the key, ``conclude``
takes the body's digest and compares.
"""

import email.utils
import functools
import hashlib
import hmac
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import NamedTuple

from botocore.utils import normalize_url_path

from runtime import errors
from runtime.api.auth import keys

SERVICE = "lambda"
ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW_S = 15 * 60
"""How far the clocks of both sides may be apart."""
EXPIRES_LIMIT_S = 7 * 24 * 3600
"""For how long a presigned URL may be good."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^\s,]+), *SignedHeaders=([^\s,]+), *Signature=([^\s,]+)", re.ASCII
)
_TIMESTAMP = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)
_TERMINATOR = "aws4_request"
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_OTHER_BODY = "The provided 'x-amz-content-sha256' header does not match what was computed."
_PRESIGNED = ("X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date", "X-Amz-Expires")


class Claim(NamedTuple):
    """What a request says of itself, before its signature is compared."""

    key: keys.Key
    timestamp: str
    scope: str
    canonical: str
    """The canonical request up to the line of the body's digest."""
    digest: str | None
    """Of the body, as the request names it; None where it does not."""
    signature: str


class _Said(NamedTuple):
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


class Verifier:
    """Verifies requests for one region. ``clock`` gives Unix time in seconds."""

    def __init__(self, keyring: keys.Keyring, *, region: str, clock: Callable[[], float] = time.time) -> None:
        self._keyring = keyring
        self._region = region
        self._clock = clock
        self._second = 0
        self._now = self._earliest = self._latest = ""

    def examine(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Claim:
        """Return what a request claims; ``path`` and ``query`` as on the wire, ``headers`` with lower-case names.

        Raises one of the errors that AWS has for requests whose sender is not known.
        """
        authorization = headers.get("authorization")
        if authorization is not None:
            said = _of_header(authorization, query, headers)
        elif "X-Amz-Algorithm=" in query:
            said = _of_query(query)
        else:
            raise errors.MissingAuthenticationToken
        self._check_time(said)
        names = _names(said.signed_headers)
        _check_headers(names, headers)
        access_key_id, scope = self._check_scope(said)
        key = self._keyring.find(access_key_id, said.token)
        if key is None:
            raise errors.UnrecognizedClient
        lines = [method, urllib.parse.quote(normalize_url_path(path), safe="/~"), _canonical_query(said.query)]
        lines += [f"{name}:{' '.join(headers[name].split())}" for name in names]
        lines += ["", said.signed_headers]
        return Claim(key, said.timestamp, scope, "\n".join(lines), headers.get("x-amz-content-sha256"), said.signature)

    def conclude(self, claim: Claim, digest: str) -> keys.Principal:
        """Return who sent a request whose body has this SHA-256 (hexadecimal); raise InvalidSignature."""
        named = claim.digest
        if named is not None and named != UNSIGNED and not _DIGEST.fullmatch(named):
            raise errors.InvalidSignature(f"x-amz-content-sha256 must be {UNSIGNED}, or a valid sha256 value.")
        canonical = f"{claim.canonical}\n{named or digest}"
        # Header values came as Latin-1: encoded so, they are the bytes that were on the wire, and signed.
        hashed = hashlib.sha256(canonical.encode("latin-1", "replace")).hexdigest()
        to_sign = f"{ALGORITHM}\n{claim.timestamp}\n{claim.scope}\n{hashed}"
        signing_key = claim.key.signing_key(claim.timestamp[:8], self._region, SERVICE)
        expected = hmac.digest(signing_key, to_sign.encode(), "sha256").hex()
        if not hmac.compare_digest(expected.encode(), claim.signature.encode("latin-1", "replace")):
            raise errors.InvalidSignature(
                f"{_MISMATCH}\n\nThe Canonical String for this request should have been\n'{canonical}'\n\n"
                f"The String-to-Sign should have been\n'{to_sign}'\n"
            )
        if named is not None and named not in (UNSIGNED, digest):
            raise errors.InvalidSignature(
                "The provided 'x-amz-content-sha256' header does not match what was computed."
            )
        return claim.key.principal

    def _check_time(self, said: _Said) -> None:
        """Raise where a signature is too old or of the future. Timestamps of this form sort as texts."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._now, self._latest, self._earliest = map(_stamp, (second, second + SKEW_S, second - SKEW_S))
        earliest = self._earliest
        if said.lifetime_s != SKEW_S:
            earliest = _stamp(second - said.lifetime_s)
        if earliest <= said.timestamp <= self._latest:
            return
        if said.timestamp < earliest:
            raise errors.InvalidSignature(
                f"Signature expired: {said.timestamp} is now earlier than {earliest} "
                f"({self._now} - {_span(said.lifetime_s)}.)"
            )
        raise errors.InvalidSignature(
            f"Signature not yet current: {said.timestamp} is still later than {self._latest} "
            f"({self._now} + {_span(SKEW_S)}.)"
        )

    def _check_scope(self, said: _Said) -> tuple[str, str]:
        """Return access key id and scope of a credential that is for us and for the day of the request."""
        access_key_id, _, scope = said.credential.partition("/")
        date = said.timestamp[:8]
        if scope != f"{date}/{self._region}/{SERVICE}/{_TERMINATOR}":
            raise self._wrong_scope(said, date)
        return access_key_id, scope

    def _wrong_scope(self, said: _Said, date: str) -> errors.ApiError:
        parts = said.credential.split("/")
        if len(parts) != 5:  # noqa: PLR2004 - as the message says
            return errors.IncompleteSignature(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
                f"got '{said.credential}'"
            )
        _, given, region, service, terminator = parts
        message = ""
        if region != self._region:
            message += f"Credential should be scoped to a valid region, not '{region}'. "
        if service != SERVICE:
            message += f"Credential should be scoped to correct service: '{SERVICE}'. "
        if terminator != _TERMINATOR:
            message += f"Credential should be scoped with a valid terminator: '{_TERMINATOR}', not '{terminator}'. "
        if given != date:
            message += (
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                f"'{given}' != '{date}', from '{said.timestamp}'."
            )
        return errors.InvalidSignature(message)


def _of_header(authorization: str, query: str, headers: Mapping[str, str]) -> _Said:
    date = headers.get("x-amz-date") or headers.get("date")
    match = _AUTHORIZATION.fullmatch(authorization)
    credential, signed, signature = match.groups() if match else _parameters(authorization, date)
    if date is None:
        raise errors.IncompleteSignature(f"{_no('date')}Authorization={_shown(authorization)}")
    token = headers.get("x-amz-security-token")
    return _Said(credential, signed, signature, _timestamp(date), token, query, SKEW_S)


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


def _of_query(query: str) -> _Said:
    pairs = [pair.partition("=")[::2] for pair in query.split("&")]
    found = {urllib.parse.unquote(name): urllib.parse.unquote(value) for name, value in pairs}
    missing = [name for name in _PRESIGNED if not found.get(name)]
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
    return _Said(
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
        return _stamp(int(email.utils.parsedate_to_datetime(given).timestamp()))
    except (ValueError, OverflowError):
        raise errors.IncompleteSignature(
            f"Date must be in ISO-8601 'basic format'. Got '{given}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


@functools.lru_cache(maxsize=256)
def _names(signed_headers: str) -> tuple[str, ...]:
    return tuple(signed_headers.split(";"))


def _check_headers(names: tuple[str, ...], headers: Mapping[str, str]) -> None:
    """Raise where what must be signed is not, or where what is signed did not come."""
    if "host" not in names:
        raise errors.InvalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    unsigned = [name for name in headers if name.startswith("x-amz-") and name not in names]
    if unsigned:
        # They change what a request does. S3's text; other services only document that they must be signed.
        raise errors.InvalidSignature(
            f"There were headers present in the request which were not signed: {', '.join(unsigned)}"
        )
    missing = [name for name in names if name not in headers]
    if missing:
        raise errors.InvalidSignature(f"Signed headers are missing in the request: {', '.join(missing)}")


def _canonical_query(query: str) -> str:
    """Return a query with its parameters sorted and each encoded in the one way that counts."""
    if not query:
        return ""
    pairs = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        pairs.append((_encoded(name), _encoded(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: str) -> str:
    return urllib.parse.quote(urllib.parse.unquote_to_bytes(text), safe="-_.~")


def _stamp(second: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


def _span(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} sec"
