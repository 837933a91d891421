"""The values that travel between rooms: frozen, slotted, keyword-only, valid from birth.

A *function* is what the Lambda API lists; a *version* is one runnable state of it ($LATEST or a number); an
*invocation* is one call of a version; its *outcome* is what came of it. Everything here is data: no I/O, no
clock, no randomness.
"""

import dataclasses
import enum
import typing
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

LATEST = "$LATEST"
ISOLATION_TAG = "hotfork:isolation"
T = typing.TypeVar("T")


@typing.dataclass_transform(frozen_default=True, kw_only_default=True)
def frozen(cls: type[T]) -> type[T]:
    """Make a class of values: frozen, slotted, keyword-only."""
    return dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(cls)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """All that is needed to run one version of a function.

    ``code_sha256`` is the base64 digest that the API shows; ``code_path`` is the unpacked, read-only folder.
    """

    function_name: str
    version: str
    """"$LATEST" or decimal digits."""
    function_arn: str
    """Unqualified."""
    runtime: str
    """"python3.N"."""
    handler: str
    role: str = ""
    """ARN of its execution role: what it may do itself."""
    code_sha256: str
    code_path: str
    layer_path: str | None = None
    """The merged, read-only folder of its layers, what the function sees as /opt."""
    memory_mb: int = 128
    timeout_s: float = 3
    ephemeral_storage_mb: int = 512
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    log_group: str
    json_logs: bool = False
    application_log_level: str = "INFO"
    system_log_level: str = "INFO"
    generation: str
    """Changes with every change of code or configuration: the RevisionId of the state it was made from."""
    snap_start: bool = False
    tenant_isolation: bool = False
    """Every call names a tenant, and no worker serves two (TenancyConfig)."""
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    key: "WorkerKey" = dataclasses.field(init=False, repr=False, compare=False)
    """Under which workers of this version are pooled."""

    def __post_init__(self) -> None:
        """Make the key once: every call asks for it."""
        key = WorkerKey(self.function_name, self.version, self.code_sha256, self.generation)
        object.__setattr__(self, "key", key)

    def isolates_calls(self, default: str) -> bool:
        """Return whether each of its calls is to get a worker of its own.

        The tag hotfork:isolation says so: "invocation" or "worker"; without it, ``default`` does.
        """
        return self.tags.get(ISOLATION_TAG, default) == "invocation"


class WorkerKey(NamedTuple):
    """What a worker was made for: a worker never serves an invocation of another key."""

    function_name: str
    version: str
    code_sha256: str
    generation: str
    tenant_id: str | None = None


class Invocation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call of a function version, resolved and admitted. The payload is opaque."""

    request_id: str
    version: Version
    payload: bytes | bytearray | memoryview
    """As it came from the socket: a large one is not copied."""
    invoked_arn: str
    """As the caller addressed it: qualified if they did."""
    trace_id: str | None = None
    client_context: bytes | None = None
    cognito_identity: bytes | None = None
    tenant_id: str | None = None
    want_log_tail: bool = False
    streaming: bool = False

    @property
    def key(self) -> WorkerKey:
        """Return the key of the workers that may serve it."""
        key = self.version.key
        return key if self.tenant_id is None else key._replace(tenant_id=self.tenant_id)


class Status(enum.Enum):
    """How an invocation ended, as the REPORT line and the metrics name it."""

    SUCCESS = "success"
    ERROR = "error"
    """The handler raised, could not be imported, or the process went away."""
    TIMEOUT = "timeout"


class StartKind(enum.Enum):
    """How the worker that served an invocation came to be."""

    WARM = "warm"
    PLAIN = "plain"
    BLANK = "blank"
    SNAPSHOT = "snapshot"
    PROVISIONED = "provisioned"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """What there is of the workers that are to be held ready for a version or an alias."""

    ready: int = 0
    """How many can serve, or do."""
    failure: str = ""
    """AWS's reason why there are no more."""


class Snapshot(enum.Enum):
    """What there is of the snapshot of a version that asks for one."""

    OFF = "off"
    """It cannot be had, though the version works."""
    MAKING = "making"
    REMAKING = "remaking"
    """There was one before."""
    READY = "ready"
    IDLE = "idle"
    """It was let go, and is made again when the version is called."""
    FAILED = "failed"
    """The function's init failed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Where the time of a cold start went, in seconds."""

    queue: float = 0.0
    """From the invocation's arrival until a worker was asked for or freed."""
    fork: float = 0.0
    """Until the process existed; nothing where one had been waiting."""
    sandbox: float = 0.0
    """Until its sandbox stood."""
    assign: float = 0.0
    """Until it had become the function, as it says itself: environment, paths, log."""
    init: float = 0.0
    """Until the handler was imported."""

    @property
    def start(self) -> float:
        """Return the time from the request for a worker until it could serve."""
        return self.fork + self.sandbox + self.assign + self.init


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What came of an invocation."""

    status: Status
    payload: bytes | memoryview
    content_type: str = "application/json"
    error_type: str | None = None
    """AWS's error type; None when the handler returned."""
    executed_version: str = LATEST
    duration_s: float = 0.0
    billed_ms: int = 0
    init_s: float | None = None
    """None on a warm start, and where a snapshot was restored."""
    restore_s: float | None = None
    """How long it took to restore a snapshot; None where none was."""
    max_memory_mb: int = 0
    start: StartKind = StartKind.WARM
    phases: Phases = Phases()
    log_tail: bytes = b""
    """The last 4 KB of its log, when asked for."""

    @property
    def failed(self) -> bool:
        """Return whether the function, not the service, failed."""
        return self.error_type is not None
