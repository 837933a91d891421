"""Signs requests as AWS's SDKs do (Signature Version 4), with the standard library: an SDK would take long to import.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import dataclasses
import hashlib
import hmac
import time
import urllib.parse
from collections.abc import Mapping

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "lambda"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """An access key, for one region."""

    key_id: str
    secret: str = dataclasses.field(repr=False)
    token: str | None = dataclasses.field(default=None, repr=False)
    region: str

    @staticmethod
    def of(environ: Mapping[str, str]) -> "Signer | None":
        """Return the signer that AWS's variables name, or None where they name no key."""
        key_id, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        if not key_id or not secret:
            return None
        names = ("HOTFORK_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
        region = next((environ[name] for name in names if environ.get(name)), "us-east-1")
        return Signer(key_id=key_id, secret=secret, token=environ.get("AWS_SESSION_TOKEN") or None, region=region)

    def sign(
        self,
        method: str,
        host: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
        now: float | None = None,
    ) -> dict[str, str]:
        """Return the headers of a request with its signature; ``target`` is path and query, percent-encoded."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        signed = {name.lower(): value for name, value in headers.items()}
        signed |= {"host": host, "x-amz-date": stamp}
        if self.token is not None:
            signed["x-amz-security-token"] = self.token
        names = ";".join(sorted(signed))
        path, _, query = target.partition("?")
        canonical = "\n".join(
            [
                method,
                urllib.parse.quote(path, safe="/~"),
                _canonical(query),
                *(f"{name}:{' '.join(signed[name].split())}" for name in sorted(signed)),
                "",
                names,
                hashlib.sha256(body or b"").hexdigest(),
            ]
        )
        scope = f"{stamp[:8]}/{self.region}/{_SERVICE}/aws4_request"
        to_sign = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        signed["authorization"] = (
            f"{_ALGORITHM} Credential={self.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return signed


def _canonical(query: str) -> str:
    pairs = sorted(tuple(map(_encoded, pair.partition("=")[::2])) for pair in query.split("&") if pair)
    return "&".join(f"{name}={value}" for name, value in pairs)


def _encoded(text: str) -> str:
    return urllib.parse.quote(urllib.parse.unquote_to_bytes(text), safe="-_.~")
