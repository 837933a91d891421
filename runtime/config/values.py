"""What an operator can choose: the settings with their defaults, and the rules that they must keep."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from runtime import errors

frozen = dataclasses.dataclass(frozen=True, slots=True, kw_only=True)

MEMORY_CLASSES_MB = (128, 256, 512, 1024, 1769, 3008, 5120, 10240)
"""1769 MB is one core: docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html."""


@frozen
class Pool:
    """How many workers there are, and for how long."""

    account_concurrency: int = 1000
    """Invocations in flight at once, over all functions; above it callers get 429. AWS's default."""
    host_memory_mb: int = 0
    """Memory that all workers together may take; 0 stands for 80 % of what the machine (or container) has."""
    memory_classes_mb: tuple[int, ...] = MEMORY_CLASSES_MB
    """A function's MemorySize is served by the smallest class that holds it."""
    blanks: int = 32
    """Workers kept forked and prepared before it is known for which function, and as many copies of snapshots at the
    most; 0 for none. They are made when functions are started, as many as that needs, and let go when none is."""
    preload_sdk: Literal["auto", "off"] = "auto"
    """auto: functions whose sources name boto3 start from a process that has imported it."""
    keep_alive: Literal["learned", "fixed"] = "learned"
    """learned: a function's last worker is kept for as long as its calls so far make worth while, and started again
    when the next call is due; fixed: for idle_ttl_s."""
    idle_ttl_s: float = 600.0
    """An idle worker is reaped after this time; with learned, one that is not the function's last."""
    scale_out: int = 0
    """Workers that calls of one function may start within ten seconds; above it callers get 429. 0 stands for no limit.
    AWS's is 1000."""
    isolation: Literal["worker", "invocation"] = "worker"
    """invocation: each call gets a worker of its own, a copy of the version's snapshot where it can have one; for
    functions whose tag hotfork:isolation does not say otherwise."""
    max_invocations: int = 0
    """A worker is replaced after this many invocations; 0 stands for never."""
    max_memory_mb: int = 0
    """A worker that used so much memory is replaced when its call ends; 0 stands for never."""
    init_timeout_s: float = 10.0
    """For importing the handler, as on Lambda."""
    drain_timeout_s: float = 30.0
    """At shutdown, invocations in flight get this long to finish."""


@frozen
class Snapshots:
    """Templates: processes that ran a version's init, of which its workers are copies."""

    mode: Literal["off", "snapstart", "when-safe"] = "snapstart"
    """For no version; for published ones with SnapStart; or for all whose init takes a while. Where something in the
    process stands against copies (threads, sockets, pipes, files open for writing, children), workers are started
    without, and ``hotfork describe`` says why."""
    warm_up: str | None = None
    """JSON of an event that the handler is called with once before the snapshot; None for no call."""
    keep_s: float = 14_400.0
    """A snapshot that was not used for so long is let go."""
    memory_mb: int = 0
    """Memory that all snapshots together may take; 0 stands for a quarter of what workers may take."""


@frozen
class Sandbox:
    """How workers are confined, beyond the level chosen by ``isolation``."""

    network: Literal["auto", "none", "egress", "host"] = "auto"
    """auto: egress where it can be enforced, else none. A mode that cannot be enforced is refused."""
    allowed: tuple[str, ...] = ()
    """What functions may reach besides the Internet in mode egress: "host:port", on the LAN or on this machine."""
    cpu: Literal["weight", "quota", "off"] = "weight"
    """weight: full speed on an idle machine, memory/1769 of a core in proportion under contention; quota: a
    hard cap of that share, as on Lambda."""
    uid_base: int = 1_900_000_000
    """First uid of the range from which, as root, every function gets its own, and every worker that was a blank.
    The default lies outside the ranges that systemd, containers and /etc/subuid hand out (systemd.io/UIDS-GIDS)."""
    uid_count: int = 65_536


@frozen
class Logs:
    """Log files of functions."""

    dir: Path | None = None
    """None: the folder ``logs`` of the state folder."""
    file_mb: int = 10
    """A file is rotated at this size."""
    files: int = 5
    """Rotated files kept per function."""


@frozen
class Code:
    """Where code comes from that a request names by S3 bucket and key."""

    buckets: Path | None = None
    """A folder whose folders are buckets; a bucket that it does not have is asked of the S3 endpoint in ``aws``."""


@frozen
class AsyncInvoke:
    """Invocations of type Event."""

    retry_base_delay_s: float = 60.0
    """Before the first retry; doubles for the second. AWS waits one minute, then two. The waits after throttles and
    faults are in proportion: from a sixtieth of it to five times as long."""
    concurrency: int = 0
    """Events that may run at once, over all functions; 0 stands for ``pool.account_concurrency``."""
    queue_events: int = 2_000_000
    """Events that may wait, over all functions; above any bound of the queue callers get 429."""
    queue_events_per_function: int = 500_000
    queue_mb: int = 10_240
    """What waiting events may take on disk."""
    queue_lag_s: float = 21_600.0
    """How late a function's next event may be before no more are taken for it."""
    delivery_threads: int = 8
    """Results that are delivered to other services at once."""
    delivery_age_s: float = 21_600.0
    """For so long it is tried to deliver a result; then it is kept as a dead letter."""
    dead_letters: int = 100_000
    """Events without a taker that are kept; the oldest go first."""
    dead_letters_mb: int = 1024


PageMode = Literal["auto", "open", "signed", "off"]


@frozen
class Auth:
    """Who may call the server."""

    credentials: Path | None = None
    """TOML file of users with their keys and policies; with it every request must be signed."""
    roles: Path | None = None
    """TOML file of what execution roles allow their functions; without it, to invoke functions."""
    insecure: bool = False
    """Listen on other addresses than loopback although nobody needs to sign."""
    metrics: PageMode = "auto"
    """/metrics; auto: as the API is."""
    health: PageMode = "open"
    """/healthz and /readyz."""
    console: PageMode = "auto"
    """The pages for browsers."""


@frozen
class Aws:
    """Where other AWS services are found: destinations, queues and buckets of functions."""

    endpoint_url: str | None = None
    """For all services; None stands for AWS itself."""
    endpoints: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Per service, by its endpoint prefix: {"sqs": "http://127.0.0.1:9324"}."""

    def endpoint_of(self, service: str) -> str | None:
        """Return the endpoint of a service, or None where AWS's own is to be used."""
        return self.endpoints.get(service, self.endpoint_url)


@frozen
class Settings:
    """Everything an operator can choose. Times are in seconds, sizes in MB (2**20 bytes)."""

    host: str = "127.0.0.1"
    port: int = 3001
    """The port of ``sam local start-lambda``; 0 takes a free one."""
    state_dir: Path
    """Functions, code, logs. Default: $XDG_STATE_HOME/hotfork, or /var/lib/hotfork as root."""
    isolation: Literal["strong", "auto", "none"] = "strong"
    """strong refuses to start where a control is missing; auto takes the best and says what lacks; none is for
    measuring what the sandbox costs, on a loopback address only."""
    account_id: str = "000000000000"
    region: str = "us-east-1"
    examples: bool = False
    """Deploy the example functions at start, where their names are free."""
    function_url_suffix: str = "lambda-url.localhost"
    """Function URLs are <id>.<suffix>; names under localhost resolve to this machine (RFC 6761)."""
    interpreters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By runtime: {"python3.12": "/usr/bin/python3.12"}; others are found on PATH and among pyenv's."""
    preload_interpreters: tuple[str, ...] = ()
    """Runtimes whose zygote is up before the server listens; others start with the first function that has them."""
    pool: Pool = Pool()
    snapshots: Snapshots = Snapshots()
    sandbox: Sandbox = Sandbox()
    logs: Logs = Logs()
    code: Code = Code()
    async_invoke: AsyncInvoke = AsyncInvoke()
    auth: Auth = Auth()
    aws: Aws = Aws()

    @property
    def log_dir(self) -> Path:
        """Return the folder of the functions' log files."""
        return self.logs.dir or self.state_dir / "logs"


_MINIMA: dict[str, float] = {
    "port": 0,
    "pool.account_concurrency": 1,
    "pool.host_memory_mb": 0,
    "pool.blanks": 0,
    "pool.idle_ttl_s": 0,
    "pool.max_invocations": 0,
    "pool.scale_out": 0,
    "pool.max_memory_mb": 0,
    "pool.init_timeout_s": 0.001,
    "pool.drain_timeout_s": 0,
    "snapshots.keep_s": 0,
    "snapshots.memory_mb": 0,
    "sandbox.uid_base": 1,
    "sandbox.uid_count": 1,
    "logs.file_mb": 1,
    "logs.files": 1,
    "async_invoke.retry_base_delay_s": 0,
    "async_invoke.concurrency": 0,
    "async_invoke.queue_events": 1,
    "async_invoke.queue_events_per_function": 1,
    "async_invoke.queue_mb": 1,
    "async_invoke.queue_lag_s": 0,
    "async_invoke.delivery_threads": 1,
    "async_invoke.delivery_age_s": 0,
    "async_invoke.dead_letters": 0,
    "async_invoke.dead_letters_mb": 0,
}
_RUNTIME = re.compile(r"python3\.\d+")
_URL = re.compile(r"https?://[^/\s]+")
_PORT_LIMIT = 65535
_UID_LIMIT = 2**32 - 2


def check(settings: Settings) -> None:
    """Raise ConfigError where values that are well formed make no sense."""

    def demand(holds: object, message: str) -> None:
        if not holds:
            raise errors.ConfigError(message)

    for key, least in _MINIMA.items():
        value: Any = settings
        for name in key.split("."):
            value = getattr(value, name)
        # "not >=" instead of "<": a NaN is refused as well.
        demand(value >= least, f"{key} is {value}, but must be at least {least}")
    loopback = re.fullmatch(r"127(\.\d{1,3}){3}|::1|localhost", settings.host)
    demand(settings.isolation != "none" or loopback, "isolation none is for a loopback address: host is something else")
    demand(settings.port <= _PORT_LIMIT, f"port is {settings.port}, but ports end at {_PORT_LIMIT}")
    demand(re.fullmatch(r"\d{12}", settings.account_id), "account_id must be twelve digits")
    demand(re.fullmatch(r"[a-z0-9-]+", settings.region), f"region {settings.region!r} is not a region's name")
    for runtime in (*settings.interpreters, *settings.preload_interpreters):
        demand(_RUNTIME.fullmatch(runtime), f"interpreters: {runtime!r} is not a runtime such as python3.12")
    if settings.snapshots.warm_up:
        try:
            json.loads(settings.snapshots.warm_up)
        except ValueError as error:
            raise errors.ConfigError(f"snapshots.warm_up is no JSON: {error}") from None
    for url in (settings.aws.endpoint_url or "http://x", *settings.aws.endpoints.values()):
        demand(_URL.match(url), f"aws: {url!r} is not a URL such as http://127.0.0.1:9324")
    for page in ("metrics", "health", "console"):
        signed = getattr(settings.auth, page) == "signed" and settings.auth.credentials is None
        demand(not signed, f'auth.{page} is "signed", but without auth.credentials nobody can sign')
    classes = settings.pool.memory_classes_mb
    demand(
        classes and list(classes) == sorted(set(classes)) and classes[0] >= 1 and classes[-1] == MEMORY_CLASSES_MB[-1],
        "pool.memory_classes_mb must rise, and end with 10240, so that every function has a class",
    )
    last_uid = settings.sandbox.uid_base + settings.sandbox.uid_count - 1
    demand(last_uid <= _UID_LIMIT, f"sandbox.uid_base + uid_count goes beyond the last uid, {_UID_LIMIT}")
