"""A door: a listening socket in the network of functions, through which they reach the API. Standard library only."""

import socket

API_PORT = 3001
"""Of doors in namespaces that are not the host's."""

_BACKLOG = 128


def listen(address: str, port: int) -> socket.socket:
    """Return a door in the network namespace of the calling thread; port 0 takes a free one. Raises OSError."""
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((address, port))
        door.listen(_BACKLOG)
        door.setblocking(False)
    except BaseException:
        door.close()
        raise
    return door
