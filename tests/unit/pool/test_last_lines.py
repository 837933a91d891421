"""What a call leaves to do is done after its caller was answered, and before anything else of its worker."""

import asyncio
import time

import pytest
import scripted

from runtime import model, wire
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


def submit(stage, request_id, on_outcome, on_answer=None, **fields):
    invocation = model.Invocation(
        request_id=request_id, version=scripted.VERSION, payload=b"{}", invoked_arn="arn", **fields
    )
    call = calls.Call(invocation, time.perf_counter(), on_outcome, pytest.fail)
    call.on_answer = on_answer
    stage.pool.submit(call)


def words(stage):
    """What was written: the first word of each line, and whose it is."""
    lines = stage.listener.logs.decode().replace("RequestId: ", "").splitlines()
    return [" ".join(line.split()[:2]) for line in lines]


async def test_the_caller_is_answered_first(stage):
    answers, outcomes = [], []

    def answered(*answer):
        answers.append((answer, words(stage), stage.pool.statistics()["busy"], len(outcomes)))

    submit(stage, "a", lambda outcome: outcomes.append((outcome, words(stage))), answered)
    stage.actors[0].log("hello\n")
    await stage.answer(stage.actors[0], b'"x"')
    await scripted.until(lambda: answers)
    # In the same turn of the loop all is done: nothing can come between.
    ((answer, written, busy, told),) = answers
    assert answer == (b'"x"', "application/json", None)
    assert (written[:1], "END a" in written, busy, told) == (["START a"], False, 1, 0)
    ((outcome, written),) = outcomes
    assert written == ["START a", "hello", "END a", "REPORT a"]
    assert outcome.payload == b'"x"'
    assert stage.listener.outcomes == [outcome]
    assert stage.pool.statistics()["idle"] == 1


async def test_an_error_is_an_answer_too(stage):
    answers = []
    submit(stage, "a", lambda _: None, lambda *answer: answers.append(answer))
    request = await stage.request(stage.actors[0])
    document = b'{"errorMessage": "no", "errorType": "ValueError"}'
    stage.actors[0].say(wire.HandlerError(request.request_id, "ValueError", document))
    await scripted.until(lambda: answers)
    assert answers == [(document, "application/json", "ValueError")]


async def test_a_caller_that_calls_again_at_its_outcome_finds_the_worker_and_the_lines_in_order(stage):
    answered = []
    submit(stage, "a", lambda _: submit(stage, "b", answered.append))
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: b"START RequestId: b" in stage.listener.logs)
    assert words(stage) == ["START a", "END a", "REPORT a", "START b"]
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: answered)
    assert words(stage)[4:] == ["END b", "REPORT b"]
    assert len(stage.actors) == 1


async def test_a_call_that_waits_gets_the_worker_before_the_first_caller_is_answered(stage):
    heard, answers = [], []
    submit(stage, "a", lambda _: heard.append(words(stage)), lambda *answer: answers.append(answer))
    submit(stage, "b", lambda _: None)
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: heard)
    assert not answers
    assert heard == [["START a", "END a", "REPORT a", "START b"]]
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: len(stage.listener.outcomes) > 1)
    assert words(stage)[4:] == ["END b", "REPORT b"]


async def test_who_wants_the_tail_gets_all_of_it(stage):
    tails, answers = [], []
    submit(
        stage,
        "a",
        lambda outcome: tails.append(outcome.log_tail),
        lambda *answer: answers.append(answer),
        want_log_tail=True,
    )
    stage.actors[0].log("hello\n")
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: tails)
    assert not answers
    assert [line.split()[0] for line in tails[0].splitlines()] == [b"START", b"hello", b"END", b"REPORT"]
    assert words(stage) == ["START a", "hello", "END a", "REPORT a"]


async def test_an_answer_that_cannot_be_given_leaves_nothing_undone(stage):
    failures, outcomes = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def fail(*_):
        raise ZeroDivisionError

    submit(stage, "a", outcomes.append, fail)
    await stage.answer(stage.actors[0])
    await scripted.until(lambda: failures)
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    assert words(stage) == ["START a", "END a", "REPORT a"]
    assert stage.listener.outcomes == outcomes
    assert len(outcomes) == 1
    assert stage.pool.statistics()["idle"] == 1


async def test_the_time_that_an_answer_takes_is_not_the_calls():
    now, outcomes = [100.0], []

    def answered(*_):
        now[0] += 5

    stage = scripted.Stage(clock=lambda: now[0])
    submit(stage, "a", outcomes.append, answered)
    await stage.ready(stage.actors[0])
    await stage.request(stage.actors[0])
    now[0] += 2
    stage.actors[0].say(wire.Response("a", "application/json", b"1"))
    await scripted.until(lambda: outcomes)
    assert outcomes[0].duration_s == 2
    await stage.close()
