"""The worker's side of the pipes, byte by byte."""

import os
import threading

import pytest
import served

from runtime import wire
from runtime.worker import channel


class Pipes:
    """A channel and the supervisor's ends of its pipes."""

    def __init__(self) -> None:
        requests, self.requests = os.pipe()
        self.responses, responses = os.pipe()
        self.open = {requests, responses, self.requests, self.responses}
        self.channel = channel.Channel(requests, responses)

    def close(self, *fds: int) -> None:
        for fd in fds or tuple(self.open):
            os.close(fd)
            self.open.discard(fd)


@pytest.fixture
def pipes():
    pipes = Pipes()
    yield pipes
    pipes.close()


def test_a_message_that_comes_byte_by_byte(pipes):
    invoke = served.invocation(b"{}" * 50)
    frame = wire.encode(invoke)

    def trickle():
        for index in range(len(frame)):
            os.write(pipes.requests, frame[index : index + 1])

    writer = threading.Thread(target=trickle)
    writer.start()
    tag, *fields = pipes.channel.receive()
    writer.join()
    assert (tag, wire.Invoke(*fields)) == (wire.Invoke.TAG, invoke)


def test_the_fields_of_an_invocation_are_in_the_order_that_the_worker_takes_them(pipes):
    os.write(pipes.requests, wire.encode(served.invocation(b"{}", request_id="r", deadline_ms=5, tenant_id="t")))
    assert pipes.channel.receive() == [
        wire.Invoke.TAG,
        "r",
        5,
        "arn:aws:lambda:us-east-1:000000000000:function:f",
        None,
        None,
        None,
        "t",
        False,
        b"{}",
    ]


def test_a_large_message_goes_out_in_parts(pipes):
    payload = os.urandom(1_000_000)
    got = bytearray()

    def drain():
        while data := os.read(pipes.responses, 7_777):
            got.extend(data)

    reader = threading.Thread(target=drain)
    reader.start()
    pipes.channel.respond("r", "application/unknown", payload)
    pipes.channel.send(wire.Chunk("r", payload))
    pipes.close(pipes.channel._response_fd)
    reader.join()
    assert list(wire.Decoder(wire.WORKER_MESSAGES).feed(bytes(got))) == [
        wire.Response("r", "application/unknown", payload),
        wire.Chunk("r", payload),
    ]


@pytest.mark.parametrize("sent", [0, 1, 4, 10])
def test_the_end_of_the_stream_anywhere(sent, pipes):
    os.write(pipes.requests, wire.encode(served.invocation(b"{}"))[:sent])
    pipes.close(pipes.requests)
    with pytest.raises(channel.Closed):
        pipes.channel.receive()


def test_a_frame_over_the_limit_is_refused_before_it_is_read(pipes):
    os.write(pipes.requests, (wire.FRAME_LIMIT + 1).to_bytes(4, "big"))
    with pytest.raises(wire.FrameTooLarge):
        pipes.channel.receive()


def test_nobody_reads(pipes):
    pipes.close(pipes.responses)
    with pytest.raises(channel.Closed):
        pipes.channel.send(wire.Ready())


def test_a_forked_child_may_not_write(pipes):
    pid = os.fork()
    if not pid:
        try:
            pipes.channel.send(wire.Ready())
        except channel.Closed:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert not os.get_inheritable(pipes.channel._request_fd)
