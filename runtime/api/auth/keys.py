"""Access keys and whom they stand for."""

import dataclasses
import hashlib
import hmac
from typing import Protocol

from runtime.api.auth import policy

_TERMINATOR = "aws4_request"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A user of the credentials file, or a function in its execution role."""

    arn: str
    """arn:aws:iam::<account>:user/<name>, or arn:aws:sts::<account>:assumed-role/<role>/<function>."""
    name: str
    policies: tuple[policy.Policy, ...]
    role_arn: str | None = None
    """Of a function."""


class Key:
    """An access key with what signing takes; its repr shows no secret."""

    __slots__ = ("_date", "_secret", "_signing_key", "access_key_id", "expires", "principal", "token")

    def __init__(
        self, access_key_id: str, secret: str, principal: Principal, *, token: str | None = None, expires: float = 0.0
    ) -> None:
        """``token`` and ``expires`` (Unix time) are those of temporary credentials."""
        self.access_key_id = access_key_id
        self.principal = principal
        self.token = token
        self.expires = expires
        self._secret = secret
        self._date = ""
        self._signing_key = b""

    def signing_key(self, date: str, region: str, service: str) -> bytes:
        """Return the key derived for a day (YYYYMMDD); the last one is remembered.

        docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, "Calculate the signature".
        A server knows one region and one service, so a day is all that changes.
        """
        if date != self._date:
            derived = f"AWS4{self._secret}".encode()
            for part in (date, region, service, _TERMINATOR):
                derived = hmac.digest(derived, part.encode(), "sha256")
            self._date, self._signing_key = date, derived
        return self._signing_key

    def is_secret(self, given: str) -> bool:
        """Return whether a text is the secret, in a time that does not tell."""
        digests = (hashlib.sha256(text.encode()).digest() for text in (given, self._secret))
        return hmac.compare_digest(*digests)

    def __repr__(self) -> str:
        return f"<Key {self.access_key_id} of {self.principal.arn}>"


class Keyring(Protocol):
    """Knows keys."""

    def find(self, access_key_id: str, token: str | None) -> Key | None:
        """Return a key, or None; raise ExpiredToken for temporary credentials that are over."""
