"""The gate between the HTTP server and what answers its requests: who may pass.

``Open`` lets in whoever reaches the server, but no web page: on a machine with a browser, any site could otherwise have
it send requests to loopback. ``Signed`` lets in whoever signs with a known key.
"""

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import logging
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias

from runtime import errors
from runtime.api import downloads, http, replies
from runtime.api.auth import access, keys, pages, sigv4

Then: TypeAlias = Callable[[http.Exchange, access.Caller | None], None]
"""What goes on with an exchange that passed; the caller is None where nobody asks who it is."""

INLINE = 256 * 1024
"""Bytes of a body that are hashed at once, 0.2 ms; larger ones are hashed in a thread."""

_HOSTS = 64
_EMPTY = hashlib.sha256().hexdigest()
_log = logging.getLogger(__name__)


class Gate(Protocol):
    """Lets requests pass, or answers them."""

    def admit(self, exchange: http.Exchange, then: Then) -> None:
        """Go on with a request of the Lambda API, now or later, or refuse it."""

    def admit_page(self, exchange: http.Exchange, then: Callable[[], None]) -> None:
        """Go on with a request for a page of the server's own, or refuse it."""


class Open:
    """Lets in whoever reaches the server."""

    def __init__(self, rules: pages.Rules, *, loopback: bool) -> None:
        """``loopback``: the server is reached by no other name than those of this machine."""
        self._rules = rules
        self._loopback = loopback
        self._local: set[str] = set()
        """Hosts that were found to be local: looked up, not parsed, for each request."""

    def admit(self, exchange: http.Exchange, then: Then) -> None:
        """Go on with a request, unless a web page sent it."""
        try:
            self._check(exchange)
        except errors.ApiError as error:
            refuse(exchange, error)
            return
        then(exchange, None)

    def admit_page(self, exchange: http.Exchange, then: Callable[[], None]) -> None:
        """Go on with a page that is open."""
        try:
            self._check(exchange)
            if self._rules.of(exchange.method, exchange.path).mode != pages.OPEN:
                raise errors.UnknownOperation
        except errors.ApiError as error:
            refuse(exchange, error)
            return
        then()

    def _check(self, exchange: http.Exchange) -> None:
        """Raise AccessDenied for what a browser sent for a site, by its origin or by a name that leads to us."""
        headers = exchange.headers
        host = headers.get("host")
        if self._loopback and host is not None and host not in self._local:
            if not _is_local(host):
                raise errors.AccessDenied(
                    f"This server is open to its machine, so it answers to localhost and its addresses, not to {host!r}"
                )
            if len(self._local) < _HOSTS:
                self._local.add(host)
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise errors.AccessDenied(f"This server is open to its machine, and not to pages of {origin!r}")


class Signed:
    """Lets in whoever signs."""

    def __init__(
        self,
        verifier: sigv4.Verifier,
        keyring: keys.Keyring,
        authority: access.Authority,
        rules: pages.Rules,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """``spawn`` runs a coroutine that never raises as a task with a parent."""
        self._verifier = verifier
        self._keyring = keyring
        self._authority = authority
        self._rules = rules
        self._spawn = spawn

    def admit(self, exchange: http.Exchange, then: Then) -> None:
        """Go on with a request that is signed; a link to a package is signed in its own way."""
        if exchange.path.startswith(downloads.PREFIX):
            then(exchange, None)
            return
        try:
            claim = self._verifier.examine(exchange.method, exchange.path, exchange.query, exchange.headers)
            body = exchange.body
            if len(body) > INLINE:
                self._spawn(self._admit_large(exchange, claim, then))
                return
            principal = self._verifier.conclude(claim, hashlib.sha256(body).hexdigest() if body else _EMPTY)
        except errors.ApiError as error:
            refuse(exchange, error)
            return
        then(exchange, access.Identified(principal, self._authority, exchange.peer))

    async def _admit_large(self, exchange: http.Exchange, claim: sigv4.Claim, then: Then) -> None:
        try:
            digest = await asyncio.to_thread(_digest, exchange.body)
            if exchange.disconnected:
                return
            principal = self._verifier.conclude(claim, digest)
            then(exchange, access.Identified(principal, self._authority, exchange.peer))
        except errors.ApiError as error:
            refuse(exchange, error)
        except Exception:  # noqa: BLE001 - one request's bug is not the server's end
            _log.exception("%s %s failed", exchange.method, exchange.path)
            if exchange.untouched:
                refuse(exchange, errors.ServiceFault())

    def admit_page(self, exchange: http.Exchange, then: Callable[[], None]) -> None:
        """Go on with a page that is open, or whose caller may see it."""
        try:
            rule = self._rules.of(exchange.method, exchange.path)
            if rule.mode == pages.OFF:
                raise errors.UnknownOperation
            if rule.mode == pages.SIGNED:
                caller = access.Identified(self._viewer(exchange), self._authority, exchange.peer)
                caller.demand(rule.action, rule.resource())
        except errors.ApiError as error:
            refuse(exchange, error)
            return
        then()

    def _viewer(self, exchange: http.Exchange) -> keys.Principal:
        """Return who asks for a page: by a signature, or by key and secret, as browsers and Prometheus can."""
        headers = exchange.headers
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic" and exchange.method in ("GET", "HEAD"):
            # A browser sends a password along with whatever any site has it post, so it is good for reading only.
            try:
                name, _, secret = base64.b64decode(given.strip(), validate=True).decode().partition(":")
            except (binascii.Error, ValueError):
                raise errors.IncompleteSignature from None
            key = self._keyring.find(name, None)
            if key is None or not key.is_secret(secret):
                raise errors.UnrecognizedClient
            return key.principal
        try:
            claim = self._verifier.examine(exchange.method, exchange.path, exchange.query, headers)
        except errors.MissingAuthenticationToken:
            raise errors.PasswordWanted from None
        return self._verifier.conclude(claim, _digest(exchange.body))


def refuse(exchange: http.Exchange, error: errors.ApiError) -> None:
    """Answer with an error."""
    exchange.respond(*replies.of_error(error, str(uuid.uuid4())))


def _digest(body: http.Body) -> str:
    return hashlib.sha256(body).hexdigest()


def _is_local(host: str) -> bool:
    """Return whether a Host header names this machine, as no name server can: RFC 6761 keeps localhost."""
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        name = host.partition(":")[0].lower().rstrip(".")
        if name == "localhost" or name.endswith(".localhost"):
            return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
