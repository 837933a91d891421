"""Links from which a package's zip can be fetched for a while: what AWS gives as presigned S3 URLs.

A link names the package, its end and a signature (HMAC-SHA256) under a key that lives as long as the process.
"""

import hashlib
import hmac
import secrets
import urllib.parse

PREFIX = "/_hotfork/code/"
LIFETIME_S = 600
"""As long as AWS's: docs.aws.amazon.com/lambda/latest/api/API_FunctionCodeLocation.html."""


class Links:
    """Makes links and checks them. ``key`` is for tests."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def link(self, sha256: str, now: float) -> str:
        """Return path and query of a link to a package."""
        end = str(int(now) + LIFETIME_S)
        return f"{PREFIX}{sha256}?Expires={end}&Signature={self._sign(sha256, end)}"

    def package(self, path: str, query: str, now: float) -> str | None:
        """Return the package that a valid link is for, or None."""
        sha256 = path.removeprefix(PREFIX)
        asked = urllib.parse.parse_qs(query)
        end = asked.get("Expires", [""])[0]
        signature = asked.get("Signature", [""])[0]
        if not hmac.compare_digest(signature.encode(), self._sign(sha256, end).encode()):
            return None
        return sha256 if now <= int(end) else None

    def _sign(self, sha256: str, end: str) -> str:
        return hmac.new(self._key, f"{sha256}\n{end}".encode(), hashlib.sha256).hexdigest()
