"""The messages, one class each; their fields in order are the elements of the array on the wire.

Messages are not frozen, as values are elsewhere: to make a frozen one takes four times as long, and these live for as
long as it takes to write or read them.
"""

import dataclasses
from typing import ClassVar, TypeAlias, get_args


@dataclasses.dataclass(slots=True)
class Assign:
    """Become this function version: set the environment, import the handler, answer Ready or InitError."""

    TAG: ClassVar[int] = 1
    handler: str
    environment: dict[str, str]
    """Complete: what os.environ is to hold."""
    task_root: str
    """Where the code lies: /var/task, or a host path where there is no mount namespace."""
    layer_root: str
    """Where the layers lie: /opt, or a host path."""
    sdk_root: str
    """Packages that Lambda offers to every function (boto3 ...): /var/runtime, or a host path."""
    memory_mb: int
    log_group: str
    log_stream: str


@dataclasses.dataclass(slots=True)
class Invoke:
    """Run the handler once."""

    TAG: ClassVar[int] = 2
    request_id: str
    deadline_ms: int
    """Unix time in milliseconds."""
    invoked_arn: str
    trace_id: str | None
    client_context: bytes | None
    """JSON, as decoded from the header's base64."""
    cognito_identity: bytes | None
    tenant_id: str | None
    streaming: bool
    payload: bytes | bytearray | memoryview
    """On the worker's side bytes, or memoryview where it is large."""


@dataclasses.dataclass(slots=True)
class Seal:
    """Complete the sandbox of a blank without a gate: the fields of Spawn that its order could not have."""

    TAG: ClassVar[int] = 3
    uid: int
    gid: int
    folders: dict[str, str]
    limits: dict[str, int]


@dataclasses.dataclass(slots=True)
class Snap:
    """Be a template: import the handler, get ready to be copied, answer Snapped or InitError."""

    TAG: ClassVar[int] = 4
    warm_up: bytes | None
    """JSON of an event that the handler is called with first; its result does not matter."""


@dataclasses.dataclass(slots=True)
class Confined:
    """The sandbox stands; ``missing`` names the controls that were skipped, with reasons."""

    TAG: ClassVar[int] = 16
    missing: dict[str, str]


@dataclasses.dataclass(slots=True)
class Refused:
    """A step of the sandbox failed; the worker exits."""

    TAG: ClassVar[int] = 17
    step: str
    errno: int
    reason: str


@dataclasses.dataclass(slots=True)
class Ready:
    """The handler is imported."""

    TAG: ClassVar[int] = 18
    import_us: int = dataclasses.field(default=0, compare=False)
    """How long that took, without what came before it."""


@dataclasses.dataclass(slots=True)
class InitError:
    """The handler could not be imported; the worker exits. ``payload`` is AWS's error document."""

    TAG: ClassVar[int] = 19
    error_type: str
    payload: bytes


@dataclasses.dataclass(slots=True)
class Snapped:
    """The handler is imported, and copies can be forked; or ``unsafe`` says why not, and the template exits."""

    TAG: ClassVar[int] = 24
    unsafe: str
    import_us: int


@dataclasses.dataclass(slots=True)
class Response:
    """What the handler returned."""

    TAG: ClassVar[int] = 20
    request_id: str
    content_type: str
    payload: bytes | memoryview
    """On the supervisor's side memoryview where it is large."""


@dataclasses.dataclass(slots=True)
class HandlerError:
    """What the handler raised, as AWS's error document."""

    TAG: ClassVar[int] = 21
    request_id: str
    error_type: str
    payload: bytes


@dataclasses.dataclass(slots=True)
class Chunk:
    """A part of a streamed response."""

    TAG: ClassVar[int] = 22
    request_id: str
    payload: bytes


@dataclasses.dataclass(slots=True)
class End:
    """The end of a streamed response; ``error_type`` is empty where it ended well."""

    TAG: ClassVar[int] = 23
    request_id: str
    error_type: str
    payload: bytes


@dataclasses.dataclass(slots=True)
class Spawn:
    """Supervisor -> zygote, with descriptors as ancillary data: fork a worker and confine it."""

    TAG: ClassVar[int] = 64
    slot: int
    """The supervisor's name for the worker, unique while the zygote lives."""
    uid: int
    gid: int
    """Of the worker on the host; used where the zygote may change ids."""
    hostname: str
    folders: dict[str, str]
    """Host paths: "code", and where there are any "layers"; in mode "bare" also "tmp". Without "code": a blank, that
    waits for a Seal, or with a gate for its folders."""
    fds: str
    """What each descriptor is, in their order, separated by spaces (see worker.sandbox)."""
    limits: dict[str, int]
    """Resource limits by the name of getrlimit(2) without RLIMIT_, plus sizes of mounts, in bytes or counts."""
    skip: dict[str, str]
    """Controls to leave out, with reasons."""


@dataclasses.dataclass(slots=True)
class Mount:
    """Supervisor -> mounter, with a blank's gate as ancillary data: place these folders in its mount namespace."""

    TAG: ClassVar[int] = 71
    folders: dict[str, str]
    """Host paths: "code", and where there are any "layers"."""


@dataclasses.dataclass(slots=True)
class ZygoteReady:
    """Zygote -> supervisor, once, with its pidfd as ancillary data.

    ``missing`` names the controls it cannot give, with reasons.
    """

    TAG: ClassVar[int] = 65
    missing: dict[str, str]
    conflicts: str = ""
    """Names of modules, separated by spaces: a function that brings one has no use of what was preloaded."""


@dataclasses.dataclass(slots=True)
class MounterReady:
    """Zygote -> supervisor, for each mounter that it starts, with its pidfd, socket and bell as ancillary data."""

    TAG: ClassVar[int] = 72


@dataclasses.dataclass(slots=True)
class ZygoteFailed:
    """Zygote -> supervisor, once: it could not set itself up, and exits."""

    TAG: ClassVar[int] = 66
    step: str
    errno: int
    reason: str


@dataclasses.dataclass(slots=True)
class Touched:
    """Supervisor -> template: which pages a copy wrote to, and the copies to come will."""

    TAG: ClassVar[int] = 70
    spans: bytes
    """First address and length of each, in bytes: pairs of 64-bit numbers."""


@dataclasses.dataclass(slots=True)
class Spawned:
    """Zygote -> supervisor, with the worker's pidfd as ancillary data."""

    TAG: ClassVar[int] = 67
    slot: int


@dataclasses.dataclass(slots=True)
class SpawnFailed:
    """Zygote -> supervisor: no worker came of the order."""

    TAG: ClassVar[int] = 68
    slot: int
    step: str
    errno: int
    reason: str


@dataclasses.dataclass(slots=True)
class Exited:
    """Zygote -> supervisor: the worker is gone; ``status`` as waitpid(2) gives it."""

    TAG: ClassVar[int] = 69
    slot: int
    status: int


NAMESPACE = b"-"
"""What goes through a blank's gate with the descriptor of its mount namespace."""
PLACED = b"+"
"""What a blank is told by its gate when its folders are there, and leaves there for the supervisor; else the reason why
they are not."""
GATE_LIMIT = 1024
"""Bytes of that."""

FromSupervisor: TypeAlias = Seal | Assign | Snap | Invoke
FromWorker: TypeAlias = Confined | Refused | Ready | Snapped | InitError | Response | HandlerError | Chunk | End
FromZygote: TypeAlias = ZygoteReady | ZygoteFailed | MounterReady | Spawned | SpawnFailed | Exited
Message: TypeAlias = FromSupervisor | FromWorker | FromZygote | Spawn | Touched | Mount

SUPERVISOR_MESSAGES: dict[int, type] = {kind.TAG: kind for kind in get_args(FromSupervisor)}
WORKER_MESSAGES: dict[int, type] = {kind.TAG: kind for kind in get_args(FromWorker)}
ZYGOTE_ORDERS: dict[int, type] = {Spawn.TAG: Spawn}
TEMPLATE_ORDERS: dict[int, type] = {Spawn.TAG: Spawn, Touched.TAG: Touched}
MOUNTER_ORDERS: dict[int, type] = {Mount.TAG: Mount}
TEMPLATE_MESSAGES: dict[int, type] = {kind.TAG: kind for kind in (Spawned, SpawnFailed, Exited)}
ZYGOTE_MESSAGES: dict[int, type] = {kind.TAG: kind for kind in get_args(FromZygote)}
"""By their tags, what each side may say."""
