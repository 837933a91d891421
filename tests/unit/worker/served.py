"""Runs bootstrap.serve in forked children, over real pipes, as the supervisor sees it.

A Nursery is one interpreter that has loaded the runtime and forks at request, so that a case costs milliseconds.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import msgpack

from runtime import config, wire

ROOT = Path(__file__).parents[3]
SITE = Path(msgpack.__file__).parents[1]

_RUNTIMES = {path: name for name, path in config.find_interpreters({}, os.environ).items()}
INTERPRETERS = list(_RUNTIMES)
"""This one, and what is here of others: those find simplejson and msgpack without their compiled parts."""


def name_of(python: str) -> str:
    return _RUNTIMES[python]


_NURSERY = """
import os, socket, sys
sys.path[:0] = {path!r}
import {server} as server
server.prepare()
{preload}
control = socket.socket(fileno=int(sys.argv[1]))
while True:
    order, fds, _, _ = socket.recv_fds(control, 64, 3)
    if not order:
        sys.exit()
    if order == b"fork":
        pid = os.fork()
        if not pid:
            control.close()
            os.dup2(fds[2], 1)
            os.dup2(fds[2], 2)
            os.close(fds[2])
            null = os.open("/dev/null", os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
            server.serve(fds[0], fds[1])
        for fd in fds:
            os.close(fd)
        control.send(str(pid).encode())
    else:
        control.send(str(os.waitpid(int(order), 0)[1]).encode())
"""


class Nursery:
    """An interpreter that forks workers; use as a context manager."""

    def __init__(
        self,
        python: str = sys.executable,
        *,
        server: str = "runtime.worker.bootstrap",
        preload: str = "",
        prefix: tuple[str, ...] = (),
    ) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [str(ROOT), str(ROOT / "tests" / "acceptance"), str(SITE)]
        script = _NURSERY.format(path=path, preload=preload, server=server)
        self._process = subprocess.Popen(
            [*prefix, python, "-I", "-c", script, str(theirs.fileno())], pass_fds=[theirs.fileno()], env={}
        )
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.wait(timeout=30)

    def fork(self, *, drain: bool = True) -> "Served":
        requests, request_end = os.pipe()
        response_end, responses = os.pipe()
        log_end, log = os.pipe()
        socket.send_fds(self._control, [b"fork"], [requests, responses, log])
        for fd in (requests, responses, log):
            os.close(fd)
        pid = int(self._control.recv(64))
        return Served(self, pid, request_end, response_end, log_end, drain=drain)

    def wait(self, pid: int) -> int:
        self._control.send(str(pid).encode())
        return os.waitstatus_to_exitcode(int(self._control.recv(64)))


class Served:
    """The supervisor's side of one worker."""

    def __init__(
        self, nursery: Nursery, pid: int, request_fd: int, response_fd: int, log_fd: int, *, drain: bool
    ) -> None:
        self.nursery, self.pid = nursery, pid
        self.request_fd, self.response_fd, self.log_fd = request_fd, response_fd, log_fd
        self._decoder = wire.Decoder(wire.WORKER_MESSAGES)
        self._messages: list[object] = []
        self._log = bytearray()
        self._status: int | None = None
        self._drainer = threading.Thread(target=self._drain, daemon=True)
        if drain:
            self._drainer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_requests()
        if self._status is None:
            pidfd = os.pidfd_open(self.pid)
            if not select.select([pidfd], [], [], 10)[0]:
                os.kill(self.pid, signal.SIGKILL)
            os.close(pidfd)
            self.exit_status()
        os.close(self.response_fd)
        if self._drainer.ident is None:
            os.close(self.log_fd)

    def close_requests(self) -> None:
        if self.request_fd >= 0:
            os.close(self.request_fd)
            self.request_fd = -1

    def send(self, message: wire.FromSupervisor) -> None:
        rest = memoryview(wire.encode(message))
        while rest:
            rest = rest[os.write(self.request_fd, rest) :]

    def receive(self, deadline_s: float = 30):
        """Return the next message, or None where the worker went away."""
        end = time.monotonic() + deadline_s
        while not self._messages:
            assert select.select([self.response_fd], [], [], max(0, end - time.monotonic()))[0], "no answer"
            data = os.read(self.response_fd, 1 << 20)
            if not data:
                return None
            self._messages += self._decoder.feed(data)
        return self._messages.pop(0)

    def assign(self, task: Path, handler: str = "app.handler", env: dict[str, str] | None = None, **paths: str):
        """Assign a function and return Ready, InitError or None."""
        self.send(
            wire.Assign(
                handler=handler,
                environment=environment(task, handler, env),
                task_root=str(task),
                layer_root=paths.get("layer_root", "/nonexistent/opt"),
                sdk_root=paths.get("sdk_root", "/nonexistent/runtime"),
                memory_mb=128,
                log_group="/aws/lambda/f",
                log_stream="s",
            )
        )
        return self.receive()

    def invoke(self, event: object = None, *, raw: bytes | None = None, **changes):
        """Invoke and return the message that came back, or None."""
        self.send(invocation(json.dumps(event).encode() if raw is None else raw, **changes))
        return self.receive()

    def exit_status(self) -> int:
        if self._status is None:
            self._status = self.nursery.wait(self.pid)
        return self._status

    def log(self) -> str:
        """Return what was logged; ends the worker."""
        self.close_requests()
        self.exit_status()
        self._drainer.join(30)
        assert not self._drainer.is_alive(), "somebody still holds the log"
        return self._log.decode(errors="backslashreplace")

    def _drain(self) -> None:
        with os.fdopen(self.log_fd, "rb", buffering=0) as pipe:
            while data := pipe.read(1 << 16):
                self._log += data


def environment(task: Path, handler: str, extra: dict[str, str] | None = None) -> dict[str, str]:
    return {
        "_HANDLER": handler,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0123",
        "AWS_REGION": "us-east-1",
        "LAMBDA_TASK_ROOT": str(task),
        "PATH": "/usr/bin:/bin",
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        **(extra or {}),
    }


def invocation(payload: bytes, **changes) -> wire.Invoke:
    given = {
        "request_id": "8e2a6d4e-0000-4000-8000-000000000001",
        "deadline_ms": int(time.time() * 1000) + 3000,
        "invoked_arn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "trace_id": None,
        "client_context": None,
        "cognito_identity": None,
        "tenant_id": None,
        "streaming": False,
        "payload": payload,
        **changes,
    }
    return wire.Invoke(**given)
