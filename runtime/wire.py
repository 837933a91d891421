"""Frames and messages between the supervisor and a worker: pure, bounded, msgpack only.

A frame is a 4-byte big-endian length and that many bytes of msgpack. A frame holds one message: an array
whose first element is the message's tag. Payloads travel as opaque ``bin``; nothing here looks into them.

A large payload is not packed, for that copies it: then the frame's length has its highest bit set, and the frame holds
another length, so many bytes of msgpack with the message less its last field, and the last field as it is.

The limits are checked on the length prefix, before anything is allocated, because the bytes may come from a
hostile worker. ``Decoder`` does no I/O: bytes in, messages out.

    supervisor -> worker   Seal    to a blank, once: what its sandbox lacks
                           Assign  once: which function to become
                           Snap    to a template, once, after Assign
                           Invoke  one at a time
    worker -> supervisor   Confined | Refused     the sandbox stands, or which step failed
                           Ready | InitError      the handler is imported, or why not
                           Response | HandlerError   exactly one of these per Invoke, unless it streams:
                           Chunk* End             a streamed response
                           Snapped                a template forks copies from now on, or why it cannot
    supervisor -> zygote   Spawn   also to a template, which then answers as a zygote does
    zygote -> supervisor   ZygoteReady | ZygoteFailed     once
                           Spawned | SpawnFailed   for each Spawn; after Spawned, one Exited

Messages are not frozen, as values are elsewhere: to make a frozen one takes four times as long, and these live for as
long as it takes to write or read them.
"""

import dataclasses
import itertools
import operator
import struct
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeAlias, get_args

import msgpack

from runtime import buffers

PAYLOAD_LIMIT = 6 * 1024 * 1024 + 100
"""Bytes of a synchronous request or response payload (6291556, as AWS's own error message says)."""

FRAME_LIMIT = 6 * 1024 * 1024 + 64 * 1024
"""Bytes of one frame's body: a payload and what goes around it."""

LARGE = 64 * 1024
"""Bytes of a payload from which on it is sent as it is, and of a frame from which on it gets memory of its own."""

_LENGTH = struct.Struct(">I")
LENGTH_SIZE = _LENGTH.size
_SPLIT = 1 << 31
"""The bit of a frame's length."""


class WireError(Exception):
    """The other side sent bytes that are no message of ours."""


class FrameTooLarge(WireError):
    """A frame announced more bytes than FRAME_LIMIT."""


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
    """Complete the sandbox of a blank: the fields of Spawn that its order could not have."""

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
    waits for a Seal."""
    fds: str
    """What each descriptor is, in their order, separated by spaces (see worker.sandbox)."""
    limits: dict[str, int]
    """Resource limits by the name of getrlimit(2) without RLIMIT_, plus sizes of mounts, in bytes or counts."""
    skip: dict[str, str]
    """Controls to leave out, with reasons."""


@dataclasses.dataclass(slots=True)
class ZygoteReady:
    """Zygote -> supervisor, once, with its pidfd as ancillary data: it serves.

    ``missing`` names the controls it cannot give, with reasons.
    """

    TAG: ClassVar[int] = 65
    missing: dict[str, str]
    conflicts: str = ""
    """Names of modules, separated by spaces: a function that brings one has no use of what was preloaded."""


@dataclasses.dataclass(slots=True)
class ZygoteFailed:
    """Zygote -> supervisor, once: it could not set itself up, and exits."""

    TAG: ClassVar[int] = 66
    step: str
    errno: int
    reason: str


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


FromSupervisor: TypeAlias = Seal | Assign | Snap | Invoke
FromWorker: TypeAlias = Confined | Refused | Ready | Snapped | InitError | Response | HandlerError | Chunk | End
FromZygote: TypeAlias = ZygoteReady | ZygoteFailed | Spawned | SpawnFailed | Exited
Message: TypeAlias = FromSupervisor | FromWorker | FromZygote | Spawn

_NONE = type(None)
_ALTERNATIVES: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bytes: (bytes,),
    bytes | memoryview: (bytes, memoryview),
    bytes | bytearray | memoryview: (bytes, memoryview),
    int: (int,),
    bool: (bool,),
    str | None: (str, _NONE),
    bytes | None: (bytes, _NONE),
    dict[str, str]: (dict,),
    dict[str, int]: (dict,),
}


class _Shape:
    """What the fields of one kind of message are, looked up once instead of for each message."""

    __slots__ = ("arity", "maps", "signatures", "values")

    def __init__(self, kind: type) -> None:
        fields = dataclasses.fields(kind)
        self.arity = len(fields)
        self.signatures = frozenset(itertools.product(*(_ALTERNATIVES[field.type] for field in fields)))
        """Every combination of types that the fields may have."""
        self.maps = tuple(
            (index, int if field.type == dict[str, int] else str)
            for index, field in enumerate(fields)
            if _ALTERNATIVES[field.type] == (dict,)
        )
        self.values: Callable[[Any], tuple[Any, ...]] = _getter([field.name for field in fields])


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda message: tuple(getattr(message, name) for name in names)


_SHAPES: dict[type, _Shape] = {kind: _Shape(kind) for kind in get_args(Message)}
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack

SUPERVISOR_MESSAGES: dict[int, type] = {kind.TAG: kind for kind in get_args(FromSupervisor)}
WORKER_MESSAGES: dict[int, type] = {kind.TAG: kind for kind in get_args(FromWorker)}
ZYGOTE_ORDERS: dict[int, type] = {Spawn.TAG: Spawn}
TEMPLATE_MESSAGES: dict[int, type] = {kind.TAG: kind for kind in (Spawned, SpawnFailed, Exited)}
ZYGOTE_MESSAGES: dict[int, type] = {kind.TAG: kind for kind in get_args(FromZygote)}

_LARGE_KINDS = frozenset({Invoke, Response})
_LENGTHS = struct.Struct(">II")

PACKET_LIMIT = 32 * 1024
"""Bytes of one packet between supervisor and zygote."""


def encode(message: Message) -> bytes:
    """Return the frame of a message."""
    kind = type(message)
    body: bytes = _pack((kind.TAG, *_SHAPES[kind].values(message)))
    return _LENGTH.pack(len(body)) + body


def encode_large(message: Message) -> tuple[bytes, Any]:
    """Return the frame of a message with a large last field, as its beginning and that field."""
    kind = type(message)
    *values, payload = _SHAPES[kind].values(message)
    return large_head((kind.TAG, *values), len(payload)), payload


def large_head(fields: tuple[Any, ...], size: int) -> bytes:
    """Return what stands before a large last field of so many bytes; ``fields`` are the tag and all others."""
    body: bytes = _pack(fields)
    return _LENGTHS.pack(_SPLIT | (LENGTH_SIZE + len(body) + size), len(body)) + body


def size_of(length: int) -> tuple[int, bool]:
    """Return how many bytes follow a frame's length, and whether a large field is among them."""
    size = length & ~_SPLIT
    if size > FRAME_LIMIT:
        raise FrameTooLarge(f"a frame of {size} bytes, over the limit of {FRAME_LIMIT}")
    return size, length != size


def parse(body: bytes | memoryview, accepted: dict[int, type], payload: memoryview | None = None) -> Any:
    """Return the message in a frame's body, one of the ``accepted`` kinds; raise WireError otherwise.

    ``payload`` is its last field, where that stands behind the body.
    """
    try:
        tag, *values = msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=True,
            max_ext_len=0,
            max_bin_len=FRAME_LIMIT,
            max_str_len=FRAME_LIMIT,
            max_array_len=32,
            max_map_len=4096,
        )
    except Exception as error:  # noqa: BLE001 - what msgpack raises is of many kinds, TypeError and RecursionError too
        raise WireError(f"not msgpack: {error}") from None
    kind = accepted.get(tag) if type(tag) is int else None
    if kind is None:
        raise WireError(f"unexpected message tag {tag!r:.32}")
    shape = _SHAPES[kind]
    if payload is not None:
        # Only where it may be memory of its own: all others are small, or need not be fast.
        values.append(payload if kind in _LARGE_KINDS else bytes(payload))
    if (*map(type, values),) not in shape.signatures:
        raise WireError(f"{kind.__name__} of {len(values)} fields does not have its {shape.arity} of the right types")
    for index, of in shape.maps:
        if not all(type(key) is str and type(value) is of for key, value in values[index].items()):
            raise WireError(f"{kind.__name__} holds a map of the wrong types")
    return kind(*values)


def parse_packet(packet: bytes, accepted: dict[int, type]) -> Any:
    """Return the message that a packet of a SOCK_SEQPACKET socket holds: exactly one frame, or WireError."""
    if len(packet) < LENGTH_SIZE or _LENGTH.unpack_from(packet)[0] != len(packet) - LENGTH_SIZE:
        raise WireError(f"a packet of {len(packet)} bytes is not one frame")
    return parse(memoryview(packet)[LENGTH_SIZE:], accepted)


class Decoder:
    """Cuts a byte stream into messages. After a WireError the stream is lost: close it."""

    __slots__ = ("_accepted", "_buffer", "_filled", "_is_split", "_large")

    def __init__(self, accepted: dict[int, type]) -> None:
        self._accepted = accepted
        self._buffer = bytearray()
        """What came of a frame, less than is known how long it is, or less than LARGE."""
        self._large: memoryview | None = None
        """A large frame without its length, of which ``_filled`` bytes came."""
        self._filled = 0
        self._is_split = False

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame."""
        return len(self._buffer) if self._large is None else self._filled + LENGTH_SIZE

    def whole(self, data: bytes) -> Any:
        """Return the message that ``data`` is, where it is one frame and nothing else is pending; else None.

        The common case: nothing is copied, and no generator is made.
        """
        if not self._buffer and self._large is None and len(data) > LENGTH_SIZE:
            (length,) = _LENGTH.unpack_from(data)
            if length == len(data) - LENGTH_SIZE <= FRAME_LIMIT:
                return parse(memoryview(data)[LENGTH_SIZE:], self._accepted)
        return None

    def room(self) -> memoryview | None:
        """Return where the rest of a large frame is to be read to; None where none is under way."""
        return None if self._large is None else self._large[self._filled :]

    def filled(self, count: int) -> Any:
        """Note that ``count`` bytes were read into the room; return the message if it is complete, else None."""
        large = self._large
        assert large is not None
        self._filled += count
        if self._filled < len(large):
            return None
        self._large = None
        return self._parse(large, self._is_split)

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield the messages that ``data`` completes; raise WireError on the first that is none."""
        rest: bytes | bytearray = data
        if self._large is not None:
            rest, message = self._fill(data)
            if message is None:
                return
            yield message
        held = self._buffer
        held += rest
        while len(held) >= LENGTH_SIZE:
            size, is_split = size_of(_LENGTH.unpack_from(held)[0])
            needed = size + LENGTH_SIZE
            if len(held) < needed:
                if needed > LARGE:
                    self._begin_large(size, is_split)
                return
            with memoryview(held) as view, view[LENGTH_SIZE:needed] as body:
                message = self._parse(body, is_split)
                if is_split:
                    message.payload = bytes(message.payload)
            del held[:needed]
            yield message

    def _begin_large(self, size: int, is_split: bool) -> None:
        start = self._buffer[LENGTH_SIZE:]
        self._large = buffers.take(size)
        self._large[: len(start)] = start
        self._filled = len(start)
        self._is_split = is_split
        self._buffer.clear()

    def _fill(self, data: bytes) -> tuple[bytes, Any]:
        """Add to a large frame; return what lies behind it, and its message if it is complete."""
        room = self.room()
        assert room is not None
        count = min(len(room), len(data))
        room[:count] = data[:count]
        return data[count:], self.filled(count)

    def _parse(self, body: memoryview, is_split: bool) -> Any:
        if not is_split:
            return parse(body, self._accepted)
        start = LENGTH_SIZE + (_LENGTH.unpack_from(body)[0] if len(body) >= LENGTH_SIZE else len(body))
        if start > len(body):
            raise WireError("a frame is shorter than what it begins with")
        return parse(body[LENGTH_SIZE:start], self._accepted, body[start:])
