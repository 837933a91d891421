"""Frames and messages between the supervisor and a worker: pure, bounded, msgpack only.

A frame is a 4-byte big-endian length and that many bytes of msgpack. A frame holds one message: an array
whose first element is the message's tag. Payloads travel as opaque ``bin``; nothing here looks into them.

A large payload is not packed, for that copies it: then the frame's length has its highest bit set, and the frame holds
another length, so many bytes of msgpack with the message less its last field, and the last field as it is.

    supervisor -> worker   Seal    to a blank without a gate, once: what its sandbox lacks
                           Assign  once: which function to become
                           Snap    to a template, once, after Assign
                           Invoke  one at a time
    worker -> supervisor   Confined | Refused     the sandbox stands, or which step failed
                           Ready | InitError      the handler is imported, or why not
                           Response | HandlerError   exactly one of these per Invoke, unless it streams:
                           Chunk* End             a streamed response
                           Snapped                a template forks copies from now on, or why it cannot
    supervisor -> zygote   Spawn   also to a template, which then answers as a zygote does
    supervisor -> template Touched once: what its copies are going to write to
    zygote -> supervisor   ZygoteReady | ZygoteFailed     once
                           MounterReady  before ZygoteReady, where there are mounts, and for each that takes its place
                           Spawned | SpawnFailed   for each Spawn; after Spawned, one Exited
    supervisor -> mounter  Mount   what a blank with a gate is to see; the blank hears of that by its gate
"""

from runtime.wire.decoder import Decoder
from runtime.wire.frames import (
    FRAME_LIMIT,
    LARGE,
    LENGTH_SIZE,
    PACKET_LIMIT,
    PAYLOAD_LIMIT,
    FrameTooLarge,
    WireError,
    encode,
    encode_fields,
    encode_large,
    large_head,
    parse,
    parse_packet,
    size_of,
)
from runtime.wire.messages import (
    GATE_LIMIT,
    MOUNTER_ORDERS,
    NAMESPACE,
    PLACED,
    SUPERVISOR_MESSAGES,
    TEMPLATE_MESSAGES,
    TEMPLATE_ORDERS,
    WORKER_MESSAGES,
    ZYGOTE_MESSAGES,
    ZYGOTE_ORDERS,
    Assign,
    Chunk,
    Confined,
    End,
    Exited,
    FromSupervisor,
    FromWorker,
    FromZygote,
    HandlerError,
    InitError,
    Invoke,
    Message,
    Mount,
    MounterReady,
    Ready,
    Refused,
    Response,
    Seal,
    Snap,
    Snapped,
    Spawn,
    Spawned,
    SpawnFailed,
    Touched,
    ZygoteFailed,
    ZygoteReady,
)

__all__ = [
    "FRAME_LIMIT",
    "GATE_LIMIT",
    "LARGE",
    "LENGTH_SIZE",
    "MOUNTER_ORDERS",
    "NAMESPACE",
    "PACKET_LIMIT",
    "PAYLOAD_LIMIT",
    "PLACED",
    "SUPERVISOR_MESSAGES",
    "TEMPLATE_MESSAGES",
    "TEMPLATE_ORDERS",
    "WORKER_MESSAGES",
    "ZYGOTE_MESSAGES",
    "ZYGOTE_ORDERS",
    "Assign",
    "Chunk",
    "Confined",
    "Decoder",
    "End",
    "Exited",
    "FrameTooLarge",
    "FromSupervisor",
    "FromWorker",
    "FromZygote",
    "HandlerError",
    "InitError",
    "Invoke",
    "Message",
    "Mount",
    "MounterReady",
    "Ready",
    "Refused",
    "Response",
    "Seal",
    "Snap",
    "Snapped",
    "Spawn",
    "SpawnFailed",
    "Spawned",
    "Touched",
    "WireError",
    "ZygoteFailed",
    "ZygoteReady",
    "encode",
    "encode_fields",
    "encode_large",
    "large_head",
    "parse",
    "parse_packet",
    "size_of",
]
