"""AWS Signature Version 4, from the side of the service that verifies it.

The rules: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html. The texts of the refusals, and the order in
which they are made, are those of AWS's services. A test holds what is computed here against botocore's own signer.

Two steps, because hashing a large body takes milliseconds: ``examine`` needs no body and finds the key, ``conclude``
takes the body's digest and compares.
"""

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
from runtime.api.auth import keys, parameters

SERVICE = "lambda"
UNSIGNED = "UNSIGNED-PAYLOAD"

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TERMINATOR = "aws4_request"
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_OTHER_BODY = "The provided 'x-amz-content-sha256' header does not match what was computed."


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
            said = parameters.of_header(authorization, query, headers)
        elif "X-Amz-Algorithm=" in query:
            said = parameters.of_query(query)
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
        to_sign = f"{parameters.ALGORITHM}\n{claim.timestamp}\n{claim.scope}\n{hashed}"
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

    def _check_time(self, said: parameters.Parameters) -> None:
        """Raise where a signature is too old or of the future. Timestamps of this form sort as texts."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._now, self._latest, self._earliest = map(
                parameters.stamp, (second, second + parameters.SKEW_S, second - parameters.SKEW_S)
            )
        earliest = self._earliest
        if said.lifetime_s != parameters.SKEW_S:
            earliest = parameters.stamp(second - said.lifetime_s)
        if earliest <= said.timestamp <= self._latest:
            return
        if said.timestamp < earliest:
            raise errors.InvalidSignature(
                f"Signature expired: {said.timestamp} is now earlier than {earliest} "
                f"({self._now} - {_span(said.lifetime_s)}.)"
            )
        raise errors.InvalidSignature(
            f"Signature not yet current: {said.timestamp} is still later than {self._latest} "
            f"({self._now} + {_span(parameters.SKEW_S)}.)"
        )

    def _check_scope(self, said: parameters.Parameters) -> tuple[str, str]:
        """Return access key id and scope of a credential that is for us and for the day of the request."""
        access_key_id, _, scope = said.credential.partition("/")
        date = said.timestamp[:8]
        if scope != f"{date}/{self._region}/{SERVICE}/{_TERMINATOR}":
            raise self._wrong_scope(said, date)
        return access_key_id, scope

    def _wrong_scope(self, said: parameters.Parameters, date: str) -> errors.ApiError:
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


def _span(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} sec"
