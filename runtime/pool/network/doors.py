"""The doors of functions to the API: listening sockets in their network namespaces, served from ours.

A socket belongs to the namespace that it was made in, whoever holds it. So the supervisor accepts a function's
connections although there is no way from one network to the other, and no function reaches another's door. A door
costs a descriptor; an epoll(7) of their own keeps them from burdening the event loop.
"""

import asyncio
import errno
import select
import socket
from collections.abc import Callable

_TURN = 64
"""Connections that are accepted in one turn of the loop."""
_PAUSE_S = 0.5
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Welcome = Callable[[socket.socket, socket.socket], None]
"""Takes an accepted connection, and the door that it came through."""


class Doors:
    """Doors that are waited at together; use from one event loop."""

    def __init__(self, most: int) -> None:
        """``most`` connections may be open through one door at once."""
        self.most = most
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._doors: dict[int, socket.socket] = {}
        self._welcome: Welcome | None = None

    def open(self, door: socket.socket) -> None:
        """Wait at a door, and own it."""
        self._doors[door.fileno()] = door
        self._epoll.register(door.fileno(), select.EPOLLIN)

    def shut(self, door: socket.socket) -> None:
        """Close a door; what came through stays connected."""
        del self._doors[door.fileno()]
        door.close()

    def serve(self, welcome: Welcome) -> None:
        """Begin to let in."""
        self._welcome = welcome
        self._loop.add_reader(self._epoll.fileno(), self._look)

    def close(self) -> None:
        """Close them all."""
        if self._welcome is not None:
            self._welcome = None
            self._loop.remove_reader(self._epoll.fileno())
        for door in list(self._doors.values()):
            self.shut(door)
        self._epoll.close()

    def _look(self) -> None:
        for fd, _ in self._epoll.poll(0, _TURN):
            door = self._doors.get(fd)
            if door is None or self._welcome is None:
                continue
            try:
                accepted, _ = door.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._rest()
                    return
                continue  # it left before it was let in
            self._welcome(accepted, door)

    def _rest(self) -> None:
        """Look away for a moment, rather than again and again at what cannot be accepted."""
        self._loop.remove_reader(self._epoll.fileno())
        self._loop.call_later(_PAUSE_S, self._resume)

    def _resume(self) -> None:
        if self._welcome is not None:
            self._loop.add_reader(self._epoll.fileno(), self._look)
