"""Peers that answer AWS's Invoke path."""

import os
from pathlib import Path

from bench import client, machine, plan
from bench.peers.peer import Peer, Started

_INVOKE = plan.Call(path=client.invoke_path("hello"), body="{}", contains='"ok"')


def create(api: client.Client, name: str) -> None:
    """Create hello under a name."""
    api.create(name, client.bench_function("hello"), machine.runtime_name())


def _ministack(home: Path, folder: Path, port: int) -> Started:
    variables = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SERVICES": "lambda,iam,logs",
        "LOG_LEVEL": "ERROR",
        "TMPDIR": str(folder),
    }
    return Started([str(home / "venv/bin/ministack")], variables)


MINISTACK = Peer(
    name="ministack",
    note="MiniStack, executor local, only the services of Lambda. Workers are plain child processes, not confined.",
    python=("ministack==1.5.33",),
    command=_ministack,
    call=_INVOKE,
    create=create,
)

_SERVICE = """\
service: bench
frameworkVersion: "3"
provider:
  name: aws
  runtime: {runtime}
plugins:
  - serverless-offline
functions:
  hello:
    handler: handler.handler
    name: hello
"""


def _serverless_offline(home: Path, folder: Path, port: int) -> Started:
    (folder / "serverless.yml").write_text(_SERVICE.format(runtime=machine.runtime_name()), encoding="utf-8")
    for name, text in client.bench_function("hello").items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "node_modules").symlink_to(home / "node_modules")
    # It starts "python3.N" from PATH: the one that we run on.
    binaries = folder / "bin"
    binaries.mkdir()
    (binaries / machine.runtime_name()).symlink_to(machine.base_python())
    variables = {
        "SLS_TELEMETRY_DISABLED": "1",
        "SLS_NOTIFICATIONS_MODE": "off",
        "SLS_INTERACTIVE_SETUP_ENABLE": "0",
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    ports = ["--lambdaPort", str(port), "--httpPort", "0", "--albPort", "0", "--websocketPort", "0"]
    program = str(home / "node_modules/.bin/serverless")
    return Started([program, "offline", "start", "--host", "127.0.0.1", "--reloadHandler", "false", *ports], variables)


SERVERLESS_OFFLINE = Peer(
    name="serverless-offline",
    note="serverless 3 with serverless-offline 13. Handlers run in child processes, not confined, limits not enforced.",
    node=("serverless@3.40.0", "serverless-offline@13.10.1"),
    command=_serverless_offline,
    call=_INVOKE,
)
