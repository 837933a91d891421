import dataclasses
import typing
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import wire
from runtime.wire import frames

VALUES = {
    str: st.text(max_size=50),
    bytes: st.binary(max_size=200),
    int: st.integers(-(2**63), 2**64 - 1),
    bool: st.booleans(),
    bytes | bytearray | memoryview: st.binary(max_size=200),
    bytes | memoryview: st.binary(max_size=200),
    str | None: st.none() | st.text(max_size=50),
    bytes | None: st.none() | st.binary(max_size=50),
    dict[str, str]: st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=5),
    dict[str, int]: st.dictionaries(st.text(max_size=9), st.integers(0, 99), max_size=5),
}
KINDS = typing.get_args(wire.Message)
BY_TAG = {kind.TAG: kind for kind in KINDS}
MESSAGES = st.one_of([st.builds(kind, *[VALUES[field.type] for field in dataclasses.fields(kind)]) for kind in KINDS])


def test_no_two_kinds_share_a_tag():
    assert len(BY_TAG) == len(KINDS)


LARGE = st.one_of(
    [
        st.builds(kind, *[VALUES[field.type] for field in dataclasses.fields(kind)[:-1]], st.binary(max_size=200))
        for kind in (wire.Invoke, wire.Response, wire.HandlerError, wire.Chunk, wire.End, wire.InitError)
    ]
)


def encoded(message, factor):
    """Return the frame of a message whose last field is repeated, standing behind it."""
    message = dataclasses.replace(message, payload=message.payload * factor)
    head, payload = wire.encode_large(message)
    return message, head + payload


@given(
    st.lists(
        MESSAGES.map(lambda each: (each, wire.encode(each)))
        | st.builds(encoded, LARGE, st.sampled_from([1, 1, 1, 800, 5000])),
        max_size=8,
    ),
    st.data(),
)
def test_messages_survive_any_cut_of_the_stream(frames, data):
    stream = b"".join(frame for _, frame in frames)
    decoder = wire.Decoder(BY_TAG)
    got = []
    while stream:
        size = data.draw(st.integers(1, min(len(stream), 100_000)))
        room = decoder.room()
        if room is not None and data.draw(st.booleans()):
            size = min(size, len(room))
            room[:size] = stream[:size]
            message = decoder.filled(size)
            got += [message] if message is not None else []
        else:
            got.extend(decoder.feed(stream[:size]))
        stream = stream[size:]
    assert got == [message for message, _ in frames]
    assert decoder.pending == 0


def test_a_large_payload_is_copied_by_neither_side():
    payload = bytes(1_000_000)
    head, sent = wire.encode_large(wire.Response("r", "t", payload))
    assert sent is payload
    decoder = wire.Decoder(wire.WORKER_MESSAGES)
    assert not list(decoder.feed(head + payload[:100_000]))
    room = decoder.room()
    assert len(room) == 900_000
    message = decoder.filled(900_000)
    assert type(message.payload) is memoryview
    assert message.payload.obj is room.obj


def test_what_is_announced_takes_no_memory():
    def resident():
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096

    before = resident()
    decoders = [wire.Decoder(wire.WORKER_MESSAGES) for _ in range(50)]
    for decoder in decoders:
        assert not list(decoder.feed(wire.FRAME_LIMIT.to_bytes(4, "big") + b"x"))
        assert decoder.pending == 5
    assert resident() - before < 50 * 3 * 1024 * 1024
    assert sum(len(decoder.room()) for decoder in decoders) > 300_000_000


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_is_a_message_and_nothing_else(data):
    decoder = wire.Decoder(wire.WORKER_MESSAGES)
    try:
        for message in decoder.feed(data):
            assert type(message) in wire.WORKER_MESSAGES.values()
    except wire.WireError:
        pass
    assert decoder.pending <= len(data)


OBJECTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(sorted(BY_TAG)), st.lists(OBJECTS, max_size=10))
def test_fields_of_the_wrong_number_or_type_are_refused(tag, values):
    body = msgpack.packb([tag, *values])
    try:
        message = wire.parse(body, BY_TAG)
    except wire.WireError:
        return
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        if typing.get_origin(field.type) is dict:
            of = typing.get_args(field.type)[1]
            assert all(type(k) is str and type(v) is of for k, v in value.items())
        else:
            assert type(value) in (typing.get_args(field.type) or (field.type,))


@pytest.mark.parametrize("length", [wire.FRAME_LIMIT + 1, 2**31 - 1, 2**31 + wire.FRAME_LIMIT + 1, 2**32 - 1])
def test_a_length_over_the_limit_is_refused_before_anything_is_kept(length):
    decoder = wire.Decoder(wire.WORKER_MESSAGES)
    with pytest.raises(wire.FrameTooLarge):
        list(decoder.feed(length.to_bytes(4, "big")))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x00",
        b"\x90",
        b"\xc0",
        b"\x81\xa1a\x01",
        b"\x91" * 2000,
        b"\x92\x12\xc7\x01\x05\x00",  # an extension type
        msgpack.packb([True]),
        msgpack.packb([18.0]),
        msgpack.packb([wire.Response.TAG, "id", "type", "a str is no payload"]),
        msgpack.packb([wire.Response.TAG, "id", "type", b"x", b"one more"]),
        msgpack.packb([wire.Confined.TAG, {1: "x"}]),
        msgpack.packb([wire.Confined.TAG, {"x": 1}]),
        msgpack.packb([wire.Invoke.TAG]),
    ],
)
def test_hostile_bodies(body):
    with pytest.raises(wire.WireError):
        list(wire.Decoder(wire.WORKER_MESSAGES).feed(len(body).to_bytes(4, "big") + body))
    split = len(body).to_bytes(4, "big") + body + b"a payload"
    with pytest.raises(wire.WireError):
        list(wire.Decoder(wire.WORKER_MESSAGES).feed((2**31 + len(split)).to_bytes(4, "big") + split))


RESPONSE = msgpack.packb([wire.Response.TAG, "id", "type"])


@pytest.mark.parametrize(
    "split",
    [
        b"",
        b"\0\0",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        (len(RESPONSE) + 1).to_bytes(4, "big") + RESPONSE,
        len(RESPONSE[:-1]).to_bytes(4, "big") + RESPONSE,
        b"\0\0\0\3" + msgpack.packb([wire.Confined.TAG]),
        b"\0\0\0\3" + msgpack.packb([wire.Snapped.TAG, ""]),
    ],
)
@pytest.mark.parametrize("padding", [0, 100_000])
def test_hostile_frames_with_a_payload_behind_them(split, padding):
    body = split + bytes(padding if len(split) > 4 else 0)
    with pytest.raises(wire.WireError):
        list(wire.Decoder(wire.WORKER_MESSAGES).feed((2**31 + len(body)).to_bytes(4, "big") + body))


def test_the_largest_payload_fits_into_a_frame():
    frame = wire.encode(wire.Response("0" * 36, "application/json", bytes(wire.PAYLOAD_LIMIT)))
    (message,) = wire.Decoder(wire.WORKER_MESSAGES).feed(frame)
    assert len(message.payload) == wire.PAYLOAD_LIMIT


ID = "9d1bd9d7-0f4c-4f0e-8d2f-3f7f0c1a2b3c"


@given(st.binary(max_size=70_000), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 255)), max_size=2))
def test_the_usual_response_is_read_as_any_other(payload, changes):
    frame = bytearray(wire.encode(wire.Response(ID, "application/json", payload)))
    for place, value in changes:
        frame[min(place, len(frame) - 1)] = value
    usual = frames.parse_usual(bytes(frame))
    if usual is not None:
        assert usual == wire.parse(frame[4:], wire.WORKER_MESSAGES)
    assert usual is not None or changes or len(payload) > 0xFFFF


@pytest.mark.parametrize(
    "message",
    [
        wire.Response("short", "application/json", b"{}"),
        wire.Response("é" * 18, "application/json", b"{}"),
        wire.Response(ID, "application/unknown", b"{}"),
        wire.HandlerError(ID, "application/json", b"{}"),
    ],
)
def test_what_is_not_the_usual_response_is_left_to_parse(message):
    frame = wire.encode(message)
    assert frames.parse_usual(frame) is None
    assert wire.Decoder(wire.WORKER_MESSAGES).whole(frame) == message


@pytest.mark.parametrize("cut", range(63))
def test_the_usual_response_cut_short_is_none(cut):
    assert frames.parse_usual(wire.encode(wire.Response(ID, "application/json", b"{}"))[:cut]) is None


def test_who_hears_no_responses_is_given_none():
    with pytest.raises(wire.WireError):
        wire.Decoder(wire.SUPERVISOR_MESSAGES).whole(wire.encode(wire.Response(ID, "application/json", b"{}")))


@given(MESSAGES)
def test_a_message_and_its_fields_are_the_same_frame(message):
    fields = [getattr(message, field.name) for field in dataclasses.fields(message)]
    assert wire.encode_fields(message.TAG, *fields) == wire.encode(message)
