"""The HTTP/1.1 server: where it listens, how many it serves, how it stops. It knows nothing of Lambda.

The way of a request: ``connection`` (asyncio protocol) -> ``reader`` (httptools) -> the application, a plain
function that gets an ``Exchange`` (``http``) and answers it whenever it likes. No task or future is made for it.
"""

import asyncio
import contextlib
import os
import socket
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from runtime.api import answers, connection, heads, http

Application = http.Application
Exchange = http.Exchange
Limits = http.Limits
Refusal = http.Refusal

_BACKLOG = 1024


class Server:
    """Serves one application on any number of addresses. Made and used in the event loop's thread."""

    def __init__(
        self,
        application: Application,
        limits: Limits | None = None,
        *,
        refusal: Refusal = http.plain_refusal,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._shared = answers.Shared(
            application, limits or Limits(), refusal, heads.Dates(now), asyncio.get_running_loop()
        )
        self._listeners: list[asyncio.Server] = []
        self._port: int | None = None
        self._sockets: list[tuple[Path, int]] = []
        self._adopted: weakref.WeakKeyDictionary[socket.socket, set[answers.Answers]] = weakref.WeakKeyDictionary()

    async def listen(self, host: str, port: int) -> None:
        """Accept connections on a TCP port; 0 takes a free one. Raise OSError when it is taken."""
        listener = await self._shared.loop.create_server(self._protocol, host, port, backlog=_BACKLOG)
        self._listeners.append(listener)
        self._port = listener.sockets[0].getsockname()[1]

    async def listen_unix(self, path: Path) -> None:
        """Accept connections on a unix socket; a stale one there is replaced."""
        listener = await self._shared.loop.create_unix_server(self._protocol, str(path), backlog=_BACKLOG)
        self._listeners.append(listener)
        self._sockets.append((path, path.stat().st_ino))  # noqa: ASYNC240 - once, at the start

    async def adopt(self, accepted: socket.socket, door: socket.socket, most: int) -> None:
        """Serve a connection that somebody else accepted, unless ``most`` are open that came through the same door."""
        known = self._adopted.setdefault(door, set())
        if len(known) >= most:
            known &= self._shared.connections
        if len(known) >= most:
            accepted.close()
            return
        try:
            accepted.setblocking(False)
            _, protocol = await self._shared.loop.connect_accepted_socket(self._protocol, accepted)
        except OSError:
            accepted.close()
        else:
            known.add(protocol)

    @property
    def port(self) -> int:
        """The TCP port that was listened on last."""
        if self._port is None:
            raise RuntimeError("not listening on a port")
        return self._port

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._shared.connections)

    def stop_accepting(self) -> None:
        """Close the listening sockets; open connections go on."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for path, inode in self._sockets:
            with contextlib.suppress(OSError):
                if path.stat().st_ino == inode:  # not another's, put there since
                    os.unlink(path)  # noqa: PTH108
        self._sockets.clear()

    async def drain(self, timeout_s: float) -> bool:
        """Stop accepting, close idle connections, and the others after their open exchanges.

        Return whether all were closed within the time; those that were not are still open.
        """
        self.stop_accepting()
        for each in list(self._shared.connections):
            each.drain()
        try:
            async with asyncio.timeout(timeout_s):
                await self._shared.empty.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Drop everything, and return when it is gone."""
        self.stop_accepting()
        for each in list(self._shared.connections):
            each.abort()
        await self._shared.empty.wait()

    def _protocol(self) -> connection.Connection:
        return connection.Connection(self._shared)
