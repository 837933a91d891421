"""Temporary credentials of functions: made of a secret that lives as long as the process, and kept nowhere.

The session token says for which role, function and version, and until when, with a signature of ours (HMAC-SHA256).
Access key id and secret follow from it, so there is no table to fill, and nothing to revoke when a worker ends but
time. A function's process has them in its environment, as on Lambda.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from runtime import errors, model
from runtime.api.auth import keys, policy

_REMEMBERED = 4096
"""Keys kept with what was derived from their secrets."""
_TOKEN_LIMIT = 2048
_MAC_SIZE = 32


class Sessions:
    """Issues and knows temporary credentials; implements ``keys.Keyring``.

    ``policies_of`` gives what a role allows now, the same object until that changes. ``clock`` gives Unix time in
    seconds; ``master`` is for tests.
    """

    def __init__(
        self,
        policies_of: Callable[[str], tuple[policy.Policy, ...]],
        *,
        lifetime_s: float,
        clock: Callable[[], float] = time.time,
        master: bytes | None = None,
    ) -> None:
        self._policies_of = policies_of
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._master = master or secrets.token_bytes(32)
        self._known: OrderedDict[str, keys.Key] = OrderedDict()

    def issue(self, version: model.Version) -> dict[str, str]:
        """Return credentials for a worker of a version, as environment variables."""
        until = int(self._clock() + self._lifetime_s)
        nonce = secrets.token_hex(4)
        body = json.dumps([version.role, version.function_arn, version.version, until, nonce]).encode()
        token = base64.b64encode(self._mac(b"token", body) + body).decode()
        return {
            "AWS_ACCESS_KEY_ID": self._key_id(body),
            "AWS_SECRET_ACCESS_KEY": self._secret(body),
            "AWS_SESSION_TOKEN": token,
        }

    def find(self, access_key_id: str, token: str | None) -> keys.Key | None:
        """Return the key of a session, or None; raise ExpiredToken where it is over."""
        if token is None or len(token) > _TOKEN_LIMIT:
            return None
        key = self._known.get(token)
        if key is None or key.principal.policies is not self._policies_of(key.principal.role_arn or ""):
            key = self._restore(token)
            if key is None:
                return None
            self._known[token] = key
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        if not hmac.compare_digest(key.access_key_id.encode(), access_key_id.encode("latin-1", "replace")):
            return None
        if key.expires <= self._clock():
            raise errors.ExpiredToken
        return key

    def _restore(self, token: str) -> keys.Key | None:
        """Return the key that a token of ours was made with."""
        try:
            content = base64.b64decode(token, validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, body = content[:_MAC_SIZE], content[_MAC_SIZE:]
        if not hmac.compare_digest(mac, self._mac(b"token", body)):
            return None
        role, function_arn, _, until, _ = json.loads(body)
        return keys.Key(
            self._key_id(body),
            self._secret(body),
            _principal(role, function_arn, self._policies_of(role)),
            token=token,
            expires=until,
        )

    def _key_id(self, body: bytes) -> str:
        return "ASIA" + base64.b32encode(self._mac(b"id", body)).decode()[:16]

    def _secret(self, body: bytes) -> str:
        return base64.b64encode(self._mac(b"secret", body)).decode()[:40]

    def _mac(self, purpose: bytes, body: bytes) -> bytes:
        return hmac.digest(self._master, purpose + b"\0" + body, hashlib.sha256)


def _principal(role: str, function_arn: str, policies: tuple[policy.Policy, ...]) -> keys.Principal:
    """Return who a function is in its role: docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html."""
    partition, account = role.split(":")[1], role.split(":")[4]
    name = function_arn.rpartition(":")[2]
    arn = f"arn:{partition}:sts::{account}:assumed-role/{role.rpartition('/')[2]}/{name}"
    return keys.Principal(arn=arn, name=name, policies=policies, role_arn=role)
