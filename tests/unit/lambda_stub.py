"""A server that remembers requests and gives prepared answers: the other side of the command line's client."""

import contextlib
import dataclasses
import http.server
import json
import threading


@dataclasses.dataclass
class Request:
    method: str
    path: str
    headers: dict
    body: bytes

    @property
    def document(self):
        return json.loads(self.body)


class Stub:
    """``answers`` maps "METHOD /path" to (status, headers, body), or to a list of them, served in order."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        self.url = ""

    def answer(self, request):
        self.requests.append(request)
        prepared = self.answers.get(f"{request.method} {request.path}")
        if isinstance(prepared, list):
            prepared = prepared.pop(0) if len(prepared) > 1 else prepared[0]
        return prepared or error(404, "ResourceNotFoundException", "Function not found")

    def seen(self):
        return [f"{request.method} {request.path}" for request in self.requests]


def ok(document, status=200, **headers):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body


def error(status, code, message, key="Message"):
    return status, {"x-amzn-ErrorType": code}, json.dumps({"Type": "User", key: message}).encode()


@contextlib.contextmanager
def running():
    stub = Stub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, answer = stub.answer(Request(self.command, self.path, dict(self.headers), body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = do  # noqa: N815 - the names that http.server calls

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
