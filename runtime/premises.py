"""What a server stands on: the state folder and its lock, the port, the network of functions, the interpreters."""

import contextlib
import errno
import fcntl
import importlib.util
import os
import resource
import socket
import stat
from pathlib import Path

from runtime import config, errors
from runtime.api import server, sources, walled
from runtime.invoke import clients
from runtime.pool import isolation, spawner
from runtime.pool.network import modes

_PACKAGES = ("runtime", "msgpack", "simplejson")
"""What a zygote imports of ours."""


def own(state_dir: Path, up: contextlib.AsyncExitStack) -> None:
    """Make the state folder, and hold it as long as the server lives: two servers on one folder would lose events."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_others(state_dir)
        lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.ConfigError(f"state_dir {state_dir}: {error.strerror}; choose another with --state-dir") from None
    up.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise errors.ConfigError(
            f"another hotfork server runs on {state_dir}: stop it, or choose another folder with --state-dir"
        ) from None


def _close_to_others(state_dir: Path) -> None:
    """Let nobody else into a state folder that was there before; a folder that is everybody's stays so."""
    status = state_dir.stat()
    if status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
        state_dir.chmod(0o700)


def raise_descriptor_limit() -> None:
    """Take all the descriptors that may be had: a worker needs about ten of the supervisor's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def network(settings: config.Settings, report: isolation.Report) -> modes.Network:
    """Return the network of functions; raises IsolationError where the one that is asked for cannot be enforced."""
    first, count = settings.sandbox.uid_base, settings.sandbox.uid_count
    return modes.open_network(
        settings.sandbox.network,
        uids=range(first, first + count),
        allowed=settings.sandbox.allowed,
        api_port=settings.port,
        without=report.skip.get("network", ""),
    )


def zygotes(
    settings: config.Settings, mode: str, packages: Path, network: modes.Network
) -> dict[str, spawner.Settings]:
    """Return what the zygote of each runtime is made of."""
    library = tuple(dict.fromkeys(str(_folder_of(name)) for name in _PACKAGES))
    return {
        runtime: spawner.Settings(
            python=os.path.realpath(python),
            library=library,
            sdk=str(packages),
            mode=mode,
            user_namespace=network.user_namespace,
            resolv_conf=network.resolv_conf,
        )
        for runtime, python in config.find_interpreters(settings.interpreters, os.environ).items()
    }


def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def code_source(settings: config.Settings) -> sources.Source | None:
    """Return where code comes from that is named by bucket and key: what the settings name, never AWS unasked."""
    s3 = clients.Clients(settings.region, settings.aws.endpoint_of)
    named = settings.aws.endpoint_of("s3") is not None
    return sources.chosen(settings.code.buckets, (lambda: s3.get("s3")) if named else None)


async def listen(http: server.Server | walled.Walled, host: str, port: int) -> int:
    """Listen; return the port."""
    try:
        if isinstance(http, walled.Walled):
            return http.listen(host, port)
        await http.listen(host, port)
    except OSError as error:
        why, cure = str(error), "choose others with --host and --port"
        if error.errno == errno.EADDRINUSE:
            why = "another program listens there"
            cure = "stop it, or choose another port with --port (0 takes a free one)"
        elif error.errno == errno.EACCES:
            why, cure = "ports below 1024 want root", "choose another with --port"
        elif error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            why, cure = f"this machine has no address {host}", "choose another with --host"
        raise errors.ConfigError(f"cannot listen on port {port} of {host}: {why}; {cure}") from None
    return http.port


def url(host: str, port: int) -> str:
    """Return where a server that listens is reached."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
