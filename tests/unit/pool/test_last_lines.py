"""When a call's last lines are written: after its caller was answered, and before anything else of its worker."""

import asyncio
import time

import pytest
import scripted

from runtime import model
from runtime.pool import call as calls


@pytest.fixture
async def stage():
    one = scripted.Stage()
    first = one.submit()
    await one.ready(one.actors[0])
    await one.answer(one.actors[0])
    await first
    await asyncio.sleep(0)
    one.listener.logs = b""
    one.listener.outcomes.clear()
    yield one
    await one.close()


def submit(stage, request_id, on_outcome, **fields):
    invocation = model.Invocation(
        request_id=request_id, version=scripted.VERSION, payload=b"{}", invoked_arn="arn", **fields
    )
    stage.pool.submit(calls.Call(invocation, time.perf_counter(), on_outcome, pytest.fail))


def words(stage):
    """What was written: the first word of each line, and whose it is."""
    lines = stage.listener.logs.decode().replace("RequestId: ", "").splitlines()
    return [" ".join(line.split()[:2]) for line in lines]


async def test_the_caller_is_answered_first(stage):
    heard = []
    submit(stage, "a", lambda _: heard.append((words(stage), len(stage.listener.outcomes))))
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: heard)
    assert heard == [(["START a"], 0)]
    # In the same turn of the loop all is told: nothing can come between.
    assert words(stage) == ["START a", "END a", "REPORT a"]
    assert len(stage.listener.outcomes) == 1


async def test_a_caller_that_calls_again_at_once_finds_the_worker_and_the_lines_in_order(stage):
    answered = []
    submit(stage, "a", lambda _: submit(stage, "b", answered.append))
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: b"START RequestId: b" in stage.listener.logs)
    assert words(stage) == ["START a", "END a", "REPORT a", "START b"]
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: answered)
    assert words(stage)[4:] == ["END b", "REPORT b"]
    assert len(stage.actors) == 1
    assert len(stage.listener.outcomes) == 2


async def test_a_call_that_waits_gets_the_worker_before_the_first_caller_is_answered(stage):
    heard = []
    submit(stage, "a", lambda _: heard.append(words(stage)))
    submit(stage, "b", lambda _: heard.append(words(stage)))
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: heard)
    assert heard == [["START a", "END a", "REPORT a", "START b"]]
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: len(heard) > 1)
    assert words(stage)[4:] == ["END b", "REPORT b"]


async def test_who_wants_the_tail_gets_all_of_it(stage):
    tails = []
    submit(stage, "a", lambda outcome: tails.append(outcome.log_tail), want_log_tail=True)
    stage.actors[0].log("hello\n")
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: tails)
    assert [line.split()[0] for line in tails[0].splitlines()] == [b"START", b"hello", b"END", b"REPORT"]
    assert words(stage) == ["START a", "hello", "END a", "REPORT a"]
    assert len(stage.listener.outcomes) == 1


async def test_a_caller_that_fails_loses_no_line(stage):
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def fail(_):
        raise ZeroDivisionError

    submit(stage, "a", fail)
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: failures)
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    assert words(stage) == ["START a", "END a", "REPORT a"]
    assert len(stage.listener.outcomes) == 1


async def test_the_last_call_of_a_worker_is_reported_too(stage):
    heard = []
    submit(stage, "a", heard.append)
    stage.pool.retire("f", keep=lambda _: False)
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: heard)
    assert words(stage) == ["START a", "END a", "REPORT a"]
    assert stage.actors[0].killed
