"""One port for users and functions, where functions cannot be kept from it: they are told apart by their uids.

Needed where functions share the host's network without rules on it: an API that is open to the machine's users must not
be open to its functions. Whoever is none of the machine's users for certain, because its socket is gone already, is
taken for a function, which must sign.
"""

import socket
from collections.abc import Callable, Coroutine
from typing import Any

from runtime.api import server
from runtime.pool.network import doors, peers

_MOST = 8192
_BACKLOG = 1024


class Walled:
    """Accepts connections and gives each to the server it belongs to. Use from one event loop."""

    def __init__(
        self,
        users: server.Server,
        functions: server.Server,
        uids: range,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """``uids`` are those of functions; ``spawn`` runs a coroutine that never raises as a task with a parent."""
        self._users = users
        self._functions = functions
        self._uids = uids
        self._spawn = spawn
        self._doors = doors.Doors(_MOST)
        self._peers = peers.Peers()

    def listen(self, host: str, port: int) -> int:
        """Accept connections on a port of loopback, 0 takes a free one; return it. Raises OSError."""
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        listener.setblocking(False)
        self._doors.open(listener)
        self._doors.serve(self._welcome)
        return int(listener.getsockname()[1])

    def close(self) -> None:
        """Stop accepting."""
        self._doors.close()
        self._peers.close()

    def _welcome(self, accepted: socket.socket, door: socket.socket) -> None:
        to = self._users if self._is_user(accepted) else self._functions
        self._spawn(to.adopt(accepted, door, _MOST))

    def _is_user(self, accepted: socket.socket) -> bool:
        try:
            uid = self._peers.uid(accepted)
        except OSError:
            return False
        return uid is not None and uid not in self._uids
