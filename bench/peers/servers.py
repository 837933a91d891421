"""Peers that call a function for a plain POST: a framework for functions, and bare servers as floors."""

import os
from pathlib import Path

from bench.peers.peer import Peer, Started

_FUNCTION = """\
import functions_framework


@functions_framework.http
def hello(request):
    request.get_json(silent=True)
    return {"ok": True}
"""
_ASGI = """\
import json

HEADERS = [(b"content-type", b"application/json")]


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    json.loads(body or b"{}")
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": json.dumps({"ok": True}).encode()})
"""
_WSGI = """\
import json


def app(environ, start_response):
    json.loads(environ["wsgi.input"].read() or b"{}")
    body = json.dumps({"ok": True}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


def _cores() -> str:
    return str(len(os.sched_getaffinity(0)))


def _functions_framework(home: Path, folder: Path, port: int) -> Started:
    (folder / "main.py").write_text(_FUNCTION, encoding="utf-8")
    return Started(
        [str(home / "venv/bin/functions-framework"), "--target", "hello", "--host", "127.0.0.1", "--port", str(port)],
        {"WORKERS": _cores(), "THREADS": "16"},
    )


FUNCTIONS_FRAMEWORK = Peer(
    name="functions-framework",
    note="Functions Framework (Google) on gunicorn: a worker a core, 16 threads each. Calls share processes.",
    python=("functions-framework==3.10.2",),
    command=_functions_framework,
)


def _granian(home: Path, folder: Path, port: int) -> Started:
    (folder / "app.py").write_text(_ASGI, encoding="utf-8")
    program = [str(home / "venv/bin/granian"), "--interface", "asgi", "--loop", "uvloop", "--no-access-log"]
    return Started([*program, "--workers", _cores(), "--host", "127.0.0.1", "--port", str(port), "app:app"])


GRANIAN = Peer(
    name="granian",
    note="A floor: granian with uvloop, a worker a core, calls the function in its own process. Nothing is confined.",
    python=("granian[uvloop]==2.8.7",),
    command=_granian,
)


def _gunicorn(home: Path, folder: Path, port: int) -> Started:
    (folder / "app.py").write_text(_WSGI, encoding="utf-8")
    program = [str(home / "venv/bin/gunicorn"), "--worker-class", "gthread", "--threads", "16"]
    return Started([*program, "--workers", _cores(), "--bind", f"127.0.0.1:{port}", "app:app"])


GUNICORN = Peer(
    name="gunicorn",
    note="A floor: gunicorn, a worker a core, 16 threads each, calls the function in its own process; not confined.",
    python=("gunicorn==27.0.1",),
    command=_gunicorn,
)
