import dataclasses
import typing

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import wire

VALUES = {
    str: st.text(max_size=50),
    bytes: st.binary(max_size=200),
    int: st.integers(-(2**63), 2**64 - 1),
    bool: st.booleans(),
    bytes | bytearray | memoryview: st.binary(max_size=200),
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


@given(st.lists(MESSAGES, max_size=8), st.data())
def test_messages_survive_any_cut_of_the_stream(messages, data):
    stream = b"".join(map(wire.encode, messages))
    decoder = wire.Decoder(BY_TAG)
    got = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got.extend(decoder.feed(stream[:size]))
        stream = stream[size:]
    assert got == messages
    assert decoder.pending == 0


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


@pytest.mark.parametrize("length", [wire.FRAME_LIMIT + 1, 2**31, 2**32 - 1])
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


def test_the_largest_payload_fits_into_a_frame():
    frame = wire.encode(wire.Response("0" * 36, "application/json", bytes(wire.PAYLOAD_LIMIT)))
    (message,) = wire.Decoder(wire.WORKER_MESSAGES).feed(frame)
    assert len(message.payload) == wire.PAYLOAD_LIMIT
