import pytest
import scripted

from runtime import wire
from runtime.pool import worker


@pytest.fixture
async def stage():
    one = scripted.Stage()
    yield one
    await one.close()


async def started(stage):
    """Return a streaming call that has its worker, the parts it got, and the worker."""
    call = stage.submit(streaming=True)
    parts = []
    call.call.on_chunk = lambda part: parts.append(part) or True
    actor = stage.actors[0]
    await stage.ready(actor)
    request = await stage.request(actor)
    assert request.streaming
    return call, parts, actor, request.request_id


async def test_parts_come_in_order_and_before_the_outcome(stage):
    call, parts, actor, request_id = await started(stage)
    actor.say(wire.Chunk(request_id, b"one"))
    await scripted.until(lambda: parts == [b"one"])
    assert not call.done()
    actor.say(wire.Chunk(request_id, b"two"))
    actor.say(wire.End(request_id, "", b""))
    outcome = await call
    assert parts == [b"one", b"two"]
    assert not outcome.failed


async def test_an_error_in_the_middle_is_the_outcome(stage):
    call, parts, actor, request_id = await started(stage)
    actor.say(wire.Chunk(request_id, b"one"))
    actor.say(wire.End(request_id, "ValueError", b'{"errorType":"ValueError"}'))
    outcome = await call
    assert (parts, outcome.error_type) == ([b"one"], "ValueError")


async def test_a_reader_that_is_slow_makes_the_worker_wait(stage):
    call, parts, actor, request_id = await started(stage)
    call.call.on_chunk = parts.append  # which returns None: wait
    actor.say(wire.Chunk(request_id, b"one"))
    await scripted.until(lambda: parts == [b"one"])
    actor.say(wire.Chunk(request_id, b"two"))
    actor.say(wire.End(request_id, "", b""))
    for _ in range(20):
        await scripted.asyncio.sleep(0)
    assert parts == [b"one"]
    call.call.on_chunk = lambda part: parts.append(part) or True
    call.call.resume()
    await call
    assert parts == [b"one", b"two"]


async def test_a_stream_that_nobody_asked_for_is_a_broken_protocol(stage):
    call = stage.submit()
    actor = stage.actors[0]
    await stage.ready(actor)
    request = await stage.request(actor)
    actor.say(wire.Chunk(request.request_id, b"x"))
    assert (await call).error_type == "Runtime.ExitError"
    assert actor.killed


async def test_a_stream_over_the_limit_is_cut(stage, monkeypatch):
    monkeypatch.setattr(worker, "STREAM_LIMIT", 5)
    call, parts, actor, request_id = await started(stage)
    actor.say(wire.Chunk(request_id, b"12345"))
    actor.say(wire.Chunk(request_id, b"6"))
    assert (await call).error_type == "Function.ResponseSizeTooLarge"
    assert parts == [b"12345"]
    assert actor.killed


async def test_a_worker_that_dies_while_its_reader_waits_ends_the_call(stage):
    call, parts, actor, request_id = await started(stage)
    call.call.on_chunk = parts.append
    actor.say(wire.Chunk(request_id, b"one"))
    await scripted.until(lambda: parts == [b"one"])
    actor.exit(256)
    assert (await call).error_type == "Runtime.ExitError"
