"""Which of the server's own pages are open, signed for, or off, and what permission the signed ones take; pure."""

import urllib.parse
from typing import NamedTuple

from runtime import config
from runtime.registry import names

OPEN, SIGNED, OFF = "open", "signed", "off"

_LOGS = "/_hotfork/logs/"
_EVENTS = "/_hotfork/events/"


class Rule(NamedTuple):
    """What a page asks of its caller."""

    mode: str
    action: str
    resource: str


class Rules:
    """The rules of all pages. A page that nobody thought of here is the console's."""

    def __init__(self, settings: config.Auth, site: names.Site, *, signed: bool) -> None:
        """``signed`` is what "auto" stands for: whether the API demands signatures."""
        self._settings = settings
        self._auto = SIGNED if signed else OPEN
        self._site = site

    def of(self, method: str, path: str) -> Rule:
        """Return the rule of a page; raise ApiError where its path names no function that could be."""
        if path.startswith(_LOGS):
            site = self._site
            name = site.function(urllib.parse.unquote(path.removeprefix(_LOGS))).name
            group = (
                f"arn:{site.partition}:logs:{site.region}:{site.account_id}:log-group:/aws/lambda/{name}:log-stream:"
            )
            return Rule(self._auto, "logs:FilterLogEvents", group)
        if path.startswith(_EVENTS):
            return self._rule("auto", "ManageEvents" if method == "POST" else "ReadEvents")
        if path == "/metrics":
            return self._rule(self._settings.metrics, "GetMetrics")
        if path in ("/healthz", "/readyz"):
            return self._rule(self._settings.health, "GetHealth")
        return self._rule(self._settings.console, "UseConsole")

    def _rule(self, mode: str, name: str) -> Rule:
        return Rule(self._auto if mode == "auto" else mode, f"hotfork:{name}", "*")
