"""Which of the server's own pages are open, signed for, or off, and what permission the signed ones take; pure."""

import urllib.parse
from collections.abc import Callable
from typing import NamedTuple

from runtime import config
from runtime.registry import names

OPEN, SIGNED, OFF = "open", "signed", "off"

_LOGS = "/_hotfork/logs/"
_EVENTS = "/_hotfork/events/"
_STARTS = "/_hotfork/starts/"


class Rule(NamedTuple):
    """What a page asks of its caller."""

    mode: str
    action: str
    resource: Callable[[], str]
    """Asked for only when it is known who asks: it raises ResourceNotFound where there is no such function."""


class Rules:
    """The rules of all pages. A page that nobody thought of here is the console's."""

    def __init__(
        self, settings: config.Auth, site: names.Site, group_of: Callable[[str], str], *, signed: bool
    ) -> None:
        """``group_of`` gives a function's log group; ``signed``: "auto" stands for that, because the API wants it."""
        self._settings = settings
        self._auto = SIGNED if signed else OPEN
        self._site = site
        self._group_of = group_of

    def of(self, method: str, path: str) -> Rule:
        """Return the rule of a page."""
        if path.startswith(_LOGS):
            function = urllib.parse.unquote(path.removeprefix(_LOGS))
            return Rule(self._auto, "logs:FilterLogEvents", lambda: self._group(function))
        if path.startswith(_STARTS):
            name = urllib.parse.unquote(path.removeprefix(_STARTS)).partition(":")[0]
            return Rule(self._auto, "lambda:GetFunction", lambda: self._site.function_arn(name))
        if path.startswith(_EVENTS):
            return self._rule("auto", "ManageEvents" if method == "POST" else "ReadEvents")
        if path == "/metrics":
            return self._rule(self._settings.metrics, "GetMetrics")
        if path in ("/healthz", "/readyz"):
            return self._rule(self._settings.health, "GetHealth")
        return self._rule(self._settings.console, "UseConsole")

    def _rule(self, mode: str, name: str) -> Rule:
        return Rule(self._auto if mode == "auto" else mode, f"hotfork:{name}", lambda: "*")

    def _group(self, function: str) -> str:
        # Not the function's name says what is shown, but the group: it may write into any, and several into one.
        site = self._site
        group = self._group_of(function)
        return f"arn:{site.partition}:logs:{site.region}:{site.account_id}:log-group:{group}:log-stream:"
