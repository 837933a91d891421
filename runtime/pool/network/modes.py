"""The network modes of workers behind one port: what a worker is given, and what of the sandbox it goes without."""

import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from runtime import errors
from runtime.pool.network import door, doors, namespace, nest, netns, nftables, pasta, reach, router

Use = Callable[[int | None, socket.socket | None], None]
"""Takes the descriptor of a network namespace, its to close; None: the worker makes one, or stays where it is. And the
door of this worker alone, one of ``Network.doors``, to be shut when the worker is gone."""

_DOOR_MOST, _SHARED_DOOR_MOST = 128, 2048
"""Connections through the door of one worker, and through one that all workers share."""
_RESOLV_CONF = "/etc/resolv.conf"


class Network(Protocol):
    """One mode, as it stands on this machine."""

    mode: str
    """ "none", "egress" or "host"."""
    how: str
    """One line for the banner: how it is enforced, and why not better."""
    skip: dict[str, str]
    """What orders are to leave out: the control ``network``, where workers stay in the host's."""
    user_namespace: int | None
    """A descriptor of what a zygote of mode "user" must join instead of making its own; None: none."""

    resolv_conf: str
    """Path of the file that workers are to see as /etc/resolv.conf."""
    doors: doors.Doors
    """Where functions come in to the API."""
    api_url: str | None
    """What leads there from within; None: nothing does."""
    open_to_host: bool
    """Whether functions reach this machine's services, the API for its users among them."""

    def take(self, use: Use) -> None:
        """Give ``use`` what a worker needs, now or soon; on the event loop. Raises nothing: see ``alive``."""

    def alive(self) -> bool:
        """Return whether it still works."""

    def close(self) -> None:
        """End it: after the last worker."""


class Empty:
    """Mode none: no network but a loopback of the worker's own."""

    mode = "none"
    resolv_conf = _RESOLV_CONF
    open_to_host = False

    def __init__(self, *, root: bool, how: str = "") -> None:
        self.how = how or "functions have no network"
        self.skip: dict[str, str] = {}
        self._spares: netns.Namespaces | nest.Nest | None = None
        self.user_namespace: int | None = None
        if root:
            self._spares = netns.Namespaces()
        else:
            # Without it each worker makes its own, which has no door.
            with contextlib.suppress(OSError):
                self._spares = nest.Nest()
                self.user_namespace = self._spares.user_namespace
        self.doors = doors.Doors(_DOOR_MOST)
        self.api_url = _url("127.0.0.1", door.API_PORT) if self._spares else None

    def take(self, use: Use) -> None:
        """Give a namespace that was made ahead, if any is."""

        def give(made: namespace.Namespace | OSError) -> None:
            if isinstance(made, OSError):
                use(None, None)
            else:
                self.doors.open(made.door)
                use(made.fd, made.door)

        if self._spares:
            self._spares.take(give)
        else:
            use(None, None)

    def alive(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Let go of what was made ahead."""
        if self._spares:
            self._spares.close()
        self.doors.close()


class Shared:
    """The host's network: mode host, or mode egress where ``rules`` stand on the uids of functions."""

    user_namespace: int | None = None
    resolv_conf = _RESOLV_CONF

    def __init__(self, api: socket.socket, rules: nftables.Egress | None = None, *, how: str) -> None:
        self.mode = "egress" if rules else "host"
        self.how = how
        self.skip = {"network": f"network mode {self.mode}: {self.how}"}
        self.open_to_host = rules is None
        self.doors = doors.Doors(_SHARED_DOOR_MOST)
        self.doors.open(api)
        self.api_url: str | None = _url(*api.getsockname())
        self._rules = rules

    def take(self, use: Use) -> None:
        """Give nothing: the worker stays where it is."""
        use(None, None)

    def alive(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Remove the rules."""
        if self._rules:
            self._rules.close()
        self.doors.close()


class Routed:
    """Mode egress by a router: each worker has a namespace of its own with a way to the Internet."""

    mode = "egress"
    open_to_host = False

    def __init__(self, egress: pasta.Egress, *, root: bool) -> None:
        self.how = "functions reach the Internet through pasta, held by nftables"
        self.skip: dict[str, str] = {}
        self.user_namespace: int | None = None if root else egress.user_namespace
        self.resolv_conf = str(egress.resolv_conf)
        self.doors = doors.Doors(_SHARED_DOOR_MOST)
        self.doors.open(egress.door)
        self.api_url: str | None = _url(router.GATEWAY, door.API_PORT)
        self._router = egress

    def take(self, use: Use) -> None:
        """Give a namespace; None, and so no network, where the router is gone."""
        self._router.take(lambda made: use(None if isinstance(made, OSError) else made, None))

    def alive(self) -> bool:
        """Return whether the router runs."""
        return self._router.alive

    def close(self) -> None:
        """End the router."""
        self.doors.close()
        self._router.close()


def open_network(
    mode: str, *, uids: range, allowed: Sequence[str] = (), api_port: int = 0, without: str = ""
) -> Network:
    """Return a mode as it can be enforced here; "auto" is egress, or else none, or else, told in ``how``, host.

    ``uids`` are those of functions, ``allowed`` is the allow-list of "host:port", ``api_port`` the port of this
    server's API, which may not be on it. ``without`` says why workers have no network namespaces; "" where they have.
    Raises IsolationError where the mode cannot be enforced, ConfigError where the allow-list is wrong. Blocks for up to
    a fifth of a second; call it on the event loop's thread.
    """
    root = os.geteuid() == 0
    if mode == "host":
        how = "the settings give functions this machine's network"
        return Shared(door.listen("127.0.0.1", 0), how=how)
    if mode == "none":
        if without:
            raise errors.IsolationError(f"network none cannot be enforced: {without}")
        return Empty(root=root)
    entries = nftables.resolve(allowed)
    reach.check_api(entries, api_port)
    try:
        if without:
            return _ruled(uids, entries, without, root=root)
        return _egress(uids, entries, root=root)
    except errors.IsolationError as error:
        if mode == "egress":
            raise
        if without:
            how = f"functions share this machine's network, and nothing limits what they reach: {error.message}"
            return Shared(door.listen("127.0.0.1", 0), how=how)
        return Empty(root=root, how=f"functions have no network, because egress cannot be enforced: {error.message}")


def _egress(uids: range, entries: Sequence[reach.Allowed], *, root: bool) -> Network:
    """Return egress by a router, which leaves functions a loopback of their own; else, as root, by rules on uids."""
    try:
        return Routed(pasta.Egress(entries), root=root)
    except errors.IsolationError as by_router:
        try:
            return _ruled(uids, entries, by_router.message, root=root)
        except errors.IsolationError as by_rules:
            raise errors.IsolationError(f"{by_rules.message}; nor by a router: {by_router.message}") from by_rules


def _ruled(uids: range, entries: Sequence[reach.Allowed], why: str, *, root: bool) -> Network:
    """Return egress by rules on uids; ``why`` not by anything better. Raises IsolationError."""
    if not root:
        raise errors.IsolationError("rules on the network need root")
    api = door.listen("127.0.0.1", 0)
    try:
        rules = nftables.Egress(uids, [*entries, reach.allowed(*api.getsockname())])
    except BaseException:
        api.close()
        raise
    return Shared(api, rules, how=f"functions are in the host's network, held by nftables ({why})")


def _url(address: str, port: int) -> str:
    return f"http://{address}:{port}"
