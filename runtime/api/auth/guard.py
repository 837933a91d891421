"""All of authentication and authorisation, put together for a server.

guard = Guard(settings, registry, spawn)      # reads the files; raises ConfigError
guard.public()                                # the gate of what users reach
guard.functions()                             # the gate of what functions reach: never open
guard.environment(version)                    # a function's own credentials, for its environment
"""

import ipaddress
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from runtime import config, errors, model
from runtime.api.auth import access, files, gate, keys, pages, policy, sessions, sigv4
from runtime.registry import layers, registry

WORKER_AGE_S = 12 * 3600.0
"""A worker that is older is replaced after its call, because its credentials end."""
_CALL_LIMIT_S = 900.0
_SLACK_S = 3600.0

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Guard:
    """Knows who may do what. ``clock`` gives Unix time in seconds."""

    def __init__(
        self,
        settings: config.Settings,
        book: registry.Registry,
        spawn: Spawn,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read the files that the settings name; raise ConfigError where they or the address are not as they must."""
        self._settings = settings
        self._spawn = spawn
        self._clock = clock
        self._site = site = book.site
        self.signed = settings.auth.credentials is not None
        check_address(settings.host, settings.auth)

        def user_arn(name: str) -> str:
            return f"arn:{site.partition}:iam::{site.account_id}:user/{name}"

        self._users = _watch(settings.auth.credentials, lambda path: files.users(path, user_arn))
        self._roles = _watch(settings.auth.roles, lambda path: {arn: (one,) for arn, one in files.roles(path).items()})
        self._by_default = (policy.parse(_invoke_only(site.function_arn("*")), "execution roles"),)
        self._sessions = sessions.Sessions(
            self._policies_of,
            lifetime_s=WORKER_AGE_S + settings.pool.idle_ttl_s + _CALL_LIMIT_S + _SLACK_S,
            clock=clock,
        )
        self._group_of = lambda name: book.version(name, None).log_group
        self._authority = access.Authority(site, Statements(book).on, clock)

    def public(self) -> gate.Gate:
        """Return the gate of what users reach."""
        rules = pages.Rules(self._settings.auth, self._site, self._group_of, signed=self.signed)
        if self.signed:
            return self._gate(rules)
        return gate.Open(rules, loopback=is_loopback(self._settings.host))

    def functions(self) -> gate.Gate:
        """Return the gate of what functions reach: whoever comes must sign, whatever the settings say."""
        return self._gate(pages.Rules(self._settings.auth, self._site, self._group_of, signed=True))

    def environment(self, version: model.Version, api_url: str | None) -> dict[str, str]:
        """Return credentials of a function's own as environment variables, and where it reaches the API, if it does."""
        found = self._sessions.issue(version)
        if api_url is not None:
            found["AWS_ENDPOINT_URL_LAMBDA"] = api_url
        return found

    def notice(self) -> str:
        """Return one line for the start: who may call."""
        if self.signed:
            return "Authentication: every request must be signed by a user of the credentials file."
        whom = "whoever is on this machine" if is_loopback(self._settings.host) else "whoever reaches this address"
        return f"Authentication: none, {whom} may do everything here (--credentials FILE changes that)."

    def needs_wall(self, exposure: str, *, own_uids: bool) -> bool:
        """Return whether users and functions must be told apart where they connect (``api.walled``).

        ``exposure`` says why functions reach what this machine's users reach; "" where they do not. ``own_uids``: they
        have uids of their own. Raises IsolationError where they would reach the API as anybody: an API that is open to
        users is never open to functions.
        """
        if not exposure or self.signed:
            return False
        if own_uids and is_loopback(self._settings.host):
            return True
        raise errors.IsolationError(
            f"functions could call the API as anybody, because it is open and they share this machine's network "
            f"({exposure}): name a file of credentials with --credentials FILE (see docs/authentication.md), or let "
            "hotfork give functions a network of their own (see hotfork doctor)"
        )

    def find(self, access_key_id: str, token: str | None) -> keys.Key | None:
        """Return the key of a user or of a function; implements ``keys.Keyring``."""
        if token is not None:
            return self._sessions.find(access_key_id, token)
        return self._users().get(access_key_id)

    def _gate(self, rules: pages.Rules) -> gate.Signed:
        verifier = sigv4.Verifier(self, region=self._site.region, clock=self._clock)
        return gate.Signed(verifier, self, self._authority, rules, self._spawn)

    def _policies_of(self, role: str) -> tuple[policy.Policy, ...]:
        found: tuple[policy.Policy, ...] = self._roles().get(role, self._by_default)
        return found


class Statements:
    """Finds the statements of resource-based policies."""

    def __init__(self, book: registry.Registry) -> None:
        self._book = book
        self._functions = book.site.function_arn("")
        self._layers = book.site.layer_arn("")

    def on(self, resource: str) -> access.Statements | None:
        """Return the statements on what an ARN names."""
        if resource.startswith(self._functions):
            name, _, qualifier = resource.removeprefix(self._functions).partition(":")
            function = self._book.ledger.function(name)
            return function.policies.get(qualifier) if function is not None else None
        if resource.startswith(self._layers):
            name, _, number = resource.removeprefix(self._layers).partition(":")
            if number.isascii() and number.isdigit():
                try:
                    return layers.get(self._book, name, int(number)).policy
                except errors.ApiError:
                    return None
        return None


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, auth: config.Auth) -> None:
    """Raise ConfigError where others than this machine's users would reach a server that asks nobody who they are."""
    if auth.credentials is None and not auth.insecure and not is_loopback(host):
        raise errors.ConfigError(
            f"on {host} whoever reaches the port could run code on this machine: name a file of credentials with "
            "--credentials FILE (see docs/authentication.md), listen on 127.0.0.1, or say --insecure"
        )


def _watch(path: Path | None, read: Callable[[Path], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Return what gives the content of a file, as it is now; of no file, nothing."""
    if path is None:
        nothing: dict[str, Any] = {}
        return lambda: nothing
    return files.Watched(path, read, time.monotonic).get


def _invoke_only(functions: str) -> dict[str, Any]:
    """Return what an execution role allows where nothing else is said."""
    statement = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": functions}
    return {"Version": policy.VERSIONS[0], "Statement": [statement]}
