from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from runtime.api import event_stream

NAMES = st.text("abcdefghijklmnopqrstuvwxyz:-", min_size=1, max_size=60)


@given(st.dictionaries(NAMES, st.text(max_size=50), max_size=5), st.binary(max_size=500))
def test_botocore_reads_what_we_write(headers, payload):
    buffer = EventStreamBuffer()
    buffer.add_data(event_stream.frame(headers, payload))
    (message,) = buffer
    assert (message.headers, message.payload) == (headers, payload)


def test_an_event_names_its_kind():
    buffer = EventStreamBuffer()
    buffer.add_data(event_stream.event("PayloadChunk", "application/octet-stream", b"x"))
    (message,) = buffer
    assert message.headers == {
        ":event-type": "PayloadChunk",
        ":content-type": "application/octet-stream",
        ":message-type": "event",
    }
