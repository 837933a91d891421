"""A server whose latency is known: one thread, one request at a time, whatever connection it comes on."""

import contextlib
import re
import select
import socket
import threading
import time


class ToyServer:
    """Serves until the block ends. ``answer(number, body)`` returns a whole response; it may sleep, and so stall all."""

    def __init__(self, answer):
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.served = 0
        self.accepts = True
        """Set to False by ``answer``: nobody can connect any more."""

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.send(b"x")
        self._thread.join()
        self._stop.close()
        self._stopped.close()

    def _serve(self):
        poll = select.poll()
        open_ = {each.fileno(): each for each in (self._listener, self._stopped)}
        held = {}
        for fd in open_:
            poll.register(fd, select.POLLIN)
        with contextlib.ExitStack() as stack:
            stack.callback(self._listener.close)
            while True:
                for fd, _ in poll.poll():
                    if fd == self._stopped.fileno():
                        for each in held:
                            open_[each].close()
                        return
                    if fd == self._listener.fileno():
                        client, _ = self._listener.accept()
                        self.connections += 1
                        open_[client.fileno()] = client
                        held[client.fileno()] = b""
                        poll.register(client, select.POLLIN)
                        continue
                    if not self._take(open_[fd], held, fd):
                        poll.unregister(fd)
                        open_.pop(fd).close()
                        del held[fd]
                    if not self.accepts and self._listener.fileno() >= 0:
                        poll.unregister(self._listener)
                        self._listener.close()

    def _take(self, client, held, fd):
        """Return whether the connection stays open."""
        try:
            data = client.recv(1 << 20)
        except OSError:
            return False
        held[fd] += data
        head, _, body = held[fd].partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if not data:
            return False
        if b"\r\n\r\n" not in held[fd] or len(body) < int(length[1] if length else 0):
            return True
        held[fd] = b""
        self.served += 1
        response = self._answer(self.served, body)
        if response is None:
            return False
        with contextlib.suppress(OSError):
            client.sendall(response)
        return b"Connection: close" not in response


def reply(body=b'{"ok": true}', status=b"200 OK", head=b""):
    """Return a response."""
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, head, len(body), body)


def stalling(at, seconds):
    """Return an ``answer`` that stalls the whole server once."""

    def answer(number, body):
        if number == at:
            time.sleep(seconds)
        return reply()

    return answer
