import asyncio
import dataclasses
import json
import os

import pytest
import scripted

from runtime import errors, model, wire
from runtime.pool import idle, scaler, starting, worker


@pytest.fixture
async def stage():
    before = len(os.listdir("/proc/self/fd"))
    one = scripted.Stage()
    yield one
    await one.close()
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_a_call_starts_a_worker_and_the_next_one_finds_it_warm(stage):
    first = stage.submit()
    await stage.ready(stage.actors[0])
    await stage.answer(stage.actors[0], b'"a"')
    outcome = await first
    assert (outcome.payload, outcome.start.value, outcome.init_s is not None) == (b'"a"', "plain", True)
    second = stage.submit()
    await stage.answer(stage.actors[0], b'"b"')
    outcome = await second
    assert (outcome.payload, outcome.start.value, outcome.init_s) == (b'"b"', "warm", None)
    assert len(stage.actors) == 1


@pytest.mark.parametrize("most", [0, 1])
async def test_that_a_worker_served_is_said_after_its_first_call_and_while_it_lives(most):
    stage = scripted.Stage(max_invocations=most)
    for number in range(2):
        call = stage.submit()
        if number < len(stage.actors) and not stage.actors[number].heard:
            await stage.ready(stage.actors[number])
        await stage.answer(stage.actors[-1])
        await call
    assert [actor.firsts for actor in stage.actors] == [[False]] * (1 + most)
    await stage.close()


async def test_a_burst_starts_one_worker_a_call(stage):
    calls = [stage.submit() for _ in range(9)]
    assert (
        len(stage.actors) == starting.STARTS_A_TURN
    )  # the others have their turn when the event loop has seen to others
    await scripted.until(lambda: len(stage.actors) == 9)
    for actor in stage.actors:
        await stage.ready(actor)
    for actor in stage.actors:
        await stage.answer(actor)
    assert {(await call).payload for call in calls} == {b"1"}
    assert stage.pool.statistics()["idle"] == 9


async def test_a_waiting_call_takes_a_worker_that_frees_up_before_its_own_is_ready(stage):
    first = stage.submit()
    await stage.ready(stage.actors[0])
    request = await stage.request(stage.actors[0])
    second = stage.submit()
    assert len(stage.actors) == 2
    stage.actors[0].say(wire.Response(request.request_id, "application/json", b"1"))
    await first
    await stage.answer(stage.actors[0], b"2")
    assert (await second).payload == b"2"
    await stage.ready(stage.actors[1])
    await scripted.until(lambda: stage.pool.statistics()["idle"] == 2)


async def test_the_most_recently_used_worker_is_taken_first(stage):
    calls = [stage.submit(), stage.submit()]
    for actor in stage.actors:
        await stage.ready(actor)
    await stage.answer(stage.actors[0])
    await calls[0]
    await stage.answer(stage.actors[1])
    await calls[1]
    third = stage.submit()
    await stage.answer(stage.actors[1])
    assert (await third).start.value == "warm"


async def test_workers_of_another_generation_or_tenant_are_never_used(stage):
    await stage.warm()
    for fields in (
        {"version": dataclasses.replace(scripted.VERSION, generation="g2")},
        {"version": dataclasses.replace(scripted.VERSION, code_sha256="two")},
        {"version": dataclasses.replace(scripted.VERSION, version="1")},
        {"tenant_id": "t"},
    ):
        count = len(stage.actors)
        stage.submit(**fields)
        assert len(stage.actors) == count + 1


async def test_an_init_error_is_the_result_of_the_call_that_waited_and_the_next_starts_afresh(stage):
    first, second = stage.submit(), stage.submit()
    document = b'{"errorMessage":"no","errorType":"Runtime.ImportModuleError"}'
    actor = stage.actors[0]
    actor.say(wire.Confined({}))
    actor.log("printed during init\n")
    actor.say(wire.InitError("Runtime.ImportModuleError", document))
    outcome = await first
    assert (outcome.payload, outcome.error_type) == (document, "Runtime.ImportModuleError")
    assert b"printed during init" in stage.listener.logs
    assert actor.killed
    assert not second.done()
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    assert (await second).error_type is None


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (0, "Runtime exited without providing a reason"),
        (256, "Runtime exited with error: exit status 1"),
        (9, "Runtime exited with error: signal: killed"),
    ],
)
async def test_a_worker_that_dies_ends_its_call_with_awss_error_and_its_last_line(stage, status, message):
    call = stage.submit(want_log_tail=True)
    actor = stage.actors[0]
    await stage.ready(actor)
    request = await stage.request(actor)
    actor.log("last words")
    actor.exit(status)
    outcome = await call
    assert json.loads(outcome.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request.request_id} Error: {message}",
    }
    assert b"last words" in outcome.log_tail
    assert b"REPORT RequestId" in outcome.log_tail
    again = stage.submit()
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    assert (await again).error_type is None


async def test_an_oom_kill_is_counted_as_one(stage):
    call = stage.submit()
    actor = stage.actors[0]
    await stage.ready(actor)
    await stage.request(actor)
    actor.oom = True
    actor.exit(9)
    assert (await call).error_type == "Runtime.ExitError"
    assert stage.listener.failures == ["oom"]


async def test_the_deadline_is_the_supervisors(stage):
    call = stage.submit(version=dataclasses.replace(scripted.VERSION, timeout_s=0.01))
    actor = stage.actors[0]
    await stage.ready(actor)
    request = await stage.request(actor)
    outcome = await call
    assert outcome.error_type == "Sandbox.Timedout"
    assert json.loads(outcome.payload)["errorMessage"] == (
        f"RequestId: {request.request_id} Error: Task timed out after 0.01 seconds"
    )
    assert actor.killed
    # What it still says counts for nothing.
    actor.say(wire.Response(request.request_id, "application/json", b'"late"'))
    actor.exit(9)
    assert stage.listener.failures == ["timeout"]


async def test_a_sandbox_that_does_not_stand_is_not_waited_for_for_ever(stage, monkeypatch):
    monkeypatch.setattr(worker, "START_LIMIT", 0.01)
    with pytest.raises(errors.WorkerLost, match="its sandbox did not stand"):
        await stage.submit()
    assert stage.actors[0].killed
    stage.actors[0].exit(9)


async def test_init_that_takes_too_long_is_run_once_more_within_the_functions_timeout():
    stage = scripted.Stage(init_timeout_s=0.01)
    call = stage.submit(version=dataclasses.replace(scripted.VERSION, timeout_s=0.02))
    stage.actors[0].say(wire.Confined({}))
    await scripted.until(lambda: len(stage.actors) == 2)
    assert stage.actors[0].killed
    assert not call.done()
    stage.actors[1].say(wire.Confined({}))
    outcome = await call
    assert outcome.error_type == "Sandbox.Timedout"
    assert len(stage.actors) == 2
    await stage.close()


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\xc1",
        wire.encode(wire.Response("another", "application/json", b"1")),
        wire.encode(wire.Ready()),
        wire.encode(wire.Confined({})),
        wire.encode(wire.Invoke("r", 0, "", None, None, None, None, False, b"")),
    ],
)
async def test_a_busy_worker_that_breaks_the_protocol_is_killed_and_its_caller_gets_an_error(stage, frame):
    call = stage.submit()
    actor = stage.actors[0]
    await stage.ready(actor)
    await stage.request(actor)
    actor.write_raw(frame)
    assert (await call).error_type == "Runtime.ExitError"
    assert actor.killed
    actor.exit(9)
    assert stage.listener.failures == ["protocol"]


async def test_an_idle_worker_that_speaks_is_killed_and_not_heard_by_the_next_caller(stage):
    first = stage.submit()
    actor = stage.actors[0]
    await stage.ready(actor)
    await stage.answer(actor)
    await first
    actor.say(wire.Response("r2", "application/json", b'"forged"'))
    await scripted.until(lambda: actor.killed)
    second = stage.submit()
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1], b'"true"')
    assert (await second).payload == b'"true"'


async def test_a_second_answer_kills_the_worker_and_reaches_nobody(stage):
    first = stage.submit()
    actor = stage.actors[0]
    await stage.ready(actor)
    request = await stage.request(actor)
    actor.write_raw(wire.encode(wire.Response(request.request_id, "application/json", b"1")) * 2)
    assert (await first).payload == b"1"
    await scripted.until(lambda: actor.killed)


async def test_a_worker_that_cannot_be_confined_refuses_the_call_with_the_steps_name(stage):
    call = stage.submit()
    stage.actors[0].say(wire.Refused("seccomp", 22, "Invalid argument"))
    with pytest.raises(errors.WorkerLost, match="seccomp: Invalid argument"):
        await call


async def test_a_launch_that_cannot_be_tried_refuses_the_call(stage):
    stage.launcher.error = errors.WorkerLost("there is no zygote")
    with pytest.raises(errors.WorkerLost, match="no zygote"):
        await stage.submit()


async def test_without_room_the_worker_idle_longest_is_evicted(stage):
    await stage.warm()
    stage.launcher.room = False
    stage.submit(version=dataclasses.replace(scripted.VERSION, function_name="g"))
    assert stage.actors[0].killed
    assert len(stage.actors) == 2


async def test_without_room_and_without_idle_workers_the_call_is_throttled(stage):
    stage.launcher.room = False
    with pytest.raises(errors.TooManyRequests):
        await stage.submit()


async def test_a_retired_generation_serves_who_waited_and_then_goes(stage):
    busy_call, waiting = stage.submit(), stage.submit()
    await stage.ready(stage.actors[0])
    await stage.request(stage.actors[0])
    stage.pool.retire("f", keep=lambda key: key.generation != "g1")
    stage.actors[0].say(wire.Response("r1", "application/json", b'"old"'))
    assert (await busy_call).payload == b'"old"'
    await stage.answer(stage.actors[0], b'"old too"')
    assert (await waiting).payload == b'"old too"'
    await scripted.until(lambda: stage.actors[0].killed)


async def test_idle_workers_of_a_retired_generation_die_at_once_and_others_stay(stage):
    first = stage.submit()
    second = stage.submit(version=dataclasses.replace(scripted.VERSION, generation="g2"))
    for actor in stage.actors:
        await stage.ready(actor)
        await stage.answer(actor)
    await first
    await second
    stage.pool.retire("f", keep=lambda key: key.generation == "g2")
    assert [actor.killed for actor in stage.actors] == [True, False]


async def test_a_call_that_nobody_waits_for_any_more_is_not_run(stage):
    first = stage.submit()
    stage.pool.withdraw(first.call)
    assert isinstance(first.exception(), errors.Withdrawn)
    await stage.ready(stage.actors[0])
    await scripted.until(lambda: stage.pool.statistics()["idle"] == 1)
    assert not [message for message in stage.actors[0].hear() if isinstance(message, wire.Invoke)]


async def test_a_call_that_runs_goes_on_when_nobody_waits_for_it(stage):
    first = stage.submit()
    await stage.ready(stage.actors[0])
    await stage.request(stage.actors[0])
    stage.pool.withdraw(first.call)
    assert not first.done()
    stage.actors[0].say(wire.Response("r1", "application/json", b"1"))
    assert (await first).payload == b"1"


async def test_a_server_is_quiet_when_the_last_call_that_waited_is_withdrawn(stage):
    first = stage.submit()
    draining = asyncio.get_running_loop().create_task(stage.pool.drain(10))
    await asyncio.sleep(0)
    assert not draining.done()
    stage.pool.withdraw(first.call)
    assert await draining


async def test_idle_workers_are_reaped_when_their_time_is_up():
    stage = scripted.Stage(idle_ttl_s=0.01)
    await stage.warm()
    await scripted.until(lambda: stage.actors[0].killed)
    await stage.close()


async def test_a_worker_is_replaced_after_its_number_of_calls():
    stage = scripted.Stage(max_invocations=2)
    for number in range(2):
        call = stage.submit()
        if not number:
            await stage.ready(stage.actors[0])
        await stage.answer(stage.actors[0])
        await call
    assert stage.actors[0].killed
    stage.submit()
    assert len(stage.actors) == 2
    await stage.close()


async def test_a_worker_that_is_old_is_replaced_after_its_call():
    now = 1000.0
    stage = scripted.Stage(max_age_s=100.0, clock=lambda: now)
    for number, later in enumerate((0.0, 99.0, 2.0)):
        now += later
        assert not number or not stage.actors[0].killed
        call = stage.submit()
        if not number:
            await stage.ready(stage.actors[0])
        await stage.answer(stage.actors[0])
        await call
    assert stage.actors[0].killed
    await stage.close()


async def test_a_worker_that_grew_too_large_is_replaced_after_its_call():
    stage = scripted.Stage(max_memory_mb=64)
    for peak in (63, 64):
        call = stage.submit()
        if peak == 63:
            await stage.ready(stage.actors[0])
        stage.actors[0].peak = peak << 20
        await stage.answer(stage.actors[0])
        await call
        assert stage.actors[0].killed == (peak == 64)
    await stage.close()


async def keep_busy(stage, condition):
    """Have one call wait while another is served, until a condition holds; return those two."""
    calls = [stage.submit(), stage.submit()]
    async with asyncio.timeout(10):
        while not condition():
            calls.append(stage.submit())
            await stage.answer(stage.actors[0])
            assert (await calls.pop(0)).payload == b"1"
    return calls


async def warm(stage):
    """Have one worker that served a call, and starts taken to last so long that no call is ever late."""
    await stage.warm()
    stage.pool._starts.time.value = 0.05


async def test_a_worker_that_never_rests_gets_one_beside_it(stage):
    await warm(stage)
    calls = await keep_busy(stage, lambda: len(stage.actors) == 2)
    await stage.ready(stage.actors[1])
    for actor in stage.actors:
        await stage.answer(actor)
    assert [(await call).payload for call in calls] == [b"1", b"1"]


@pytest.mark.parametrize("obstacle", ["room", "error", "rate"])
async def test_where_it_cannot_have_one_calls_go_on_as_before(obstacle, monkeypatch):
    stage = scripted.Stage(scale_out=1 if obstacle == "rate" else 0)
    await warm(stage)
    stage.launcher.room = obstacle != "room"
    stage.launcher.error = errors.WorkerLost("no") if obstacle == "error" else None
    asked = []
    real = scaler.wants_more
    monkeypatch.setattr(scaler, "wants_more", lambda **state: asked.append(real(**state)) or asked[-1])
    calls = await keep_busy(stage, lambda: asked.count(True) == 2)
    assert len(stage.actors) == 1
    for call in calls:
        await stage.answer(stage.actors[0])
        assert (await call).payload == b"1"
    await stage.close()


async def test_workers_that_rest_now_and_then_are_enough(stage, monkeypatch):
    await warm(stage)
    asked = []
    real = scaler.wants_more
    monkeypatch.setattr(scaler, "wants_more", lambda **state: asked.append((state["rested"], real(**state))) or False)
    async with asyncio.timeout(10):
        while (True, False) not in asked:
            calls = [stage.submit(), stage.submit()]
            for call in calls:
                await stage.answer(stage.actors[0])
                await call


async def test_drain_waits_for_the_last_call(stage):
    call = stage.submit()
    await stage.ready(stage.actors[0])
    assert not await stage.pool.drain(0.01)
    await stage.answer(stage.actors[0])
    assert await stage.pool.drain(10)
    assert call.done()


async def test_the_log_of_a_call_lies_between_its_platform_lines(stage):
    call = stage.submit(want_log_tail=True)
    actor = stage.actors[0]
    await stage.ready(actor)
    request = await stage.request(actor)
    actor.log("hello\n")
    actor.say(wire.Response(request.request_id, "application/json", b"1"))
    lines = (await call).log_tail.decode().splitlines()
    assert lines[0] == "START RequestId: r1 Version: $LATEST"
    assert lines[1:3] == ["hello", "END RequestId: r1"]
    assert lines[3].startswith("REPORT RequestId: r1\tDuration: ")
    assert "Max Memory Used: 30 MB" in lines[3]


async def test_what_starts_finishes_exactly_once_however_it_ends(stage):
    calls = [stage.submit() for _ in range(3)]
    answering, failing, dying = stage.actors
    failing.say(wire.Confined({}))
    failing.say(wire.InitError("E", b"{}"))
    assert (await calls[0]).error_type == "E"
    await stage.ready(answering)
    await stage.answer(answering)
    await calls[1]
    dying.exit(256)
    if not calls[2].done():
        await stage.answer(answering)
    await calls[2]
    assert stage.listener.started == len(stage.listener.outcomes) == 3


async def test_an_idle_worker_is_frozen_and_thawed_for_its_next_call(stage, monkeypatch):
    monkeypatch.setattr(idle, "FREEZE_AFTER_S", 0.001)
    first = stage.submit()
    actor = stage.actors[0]
    await stage.ready(actor)
    await stage.answer(actor)
    await first
    await scripted.until(lambda: actor.frozen)
    second = stage.submit()
    assert not actor.frozen
    await stage.answer(actor)
    await second
    await scripted.until(lambda: actor.frozen)


async def test_a_busy_worker_is_never_frozen(stage, monkeypatch):
    monkeypatch.setattr(idle, "FREEZE_AFTER_S", 0.001)
    await stage.warm()
    second = stage.submit()
    other = stage.submit()
    await scripted.until(lambda: len(stage.actors) == 2)  # when its patience has ended
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    await other
    await scripted.until(lambda: stage.actors[1].frozen)
    assert not stage.actors[0].frozen
    await stage.answer(stage.actors[0])
    await second


async def test_a_worker_that_only_closes_its_pipe_is_killed(stage, monkeypatch):
    monkeypatch.setattr(worker, "EXIT_GRACE", 0.001)
    call = stage.submit()
    actor = stage.actors[0]
    await stage.ready(actor)
    await stage.request(actor)
    os.close(actor.response_fd)
    await scripted.until(lambda: actor.killed)
    assert not call.done()
    actor.response_fd = os.open("/dev/null", os.O_RDONLY)
    actor.exit(9)
    assert json.loads((await call).payload)["errorMessage"].endswith("signal: killed")
    assert stage.listener.failures == ["protocol"]


async def test_news_of_an_exit_that_come_late_still_say_how_it_was(stage, monkeypatch):
    monkeypatch.setattr(worker, "EXIT_GRACE", 0.001)
    call = stage.submit()
    actor = stage.actors[0]
    await stage.ready(actor)
    await stage.request(actor)
    os.close(actor.response_fd)
    await scripted.until(lambda: actor.killed)
    actor.response_fd = os.open("/dev/null", os.O_RDONLY)
    actor.exit(5 << 8)
    assert json.loads((await call).payload)["errorMessage"].endswith("exit status 5")


async def test_an_idle_worker_that_ends_is_gone_at_once(stage):
    call = stage.submit()
    actor = stage.actors[0]
    await stage.ready(actor)
    await stage.answer(actor)
    await call
    os.close(actor.response_fd)
    await scripted.until(lambda: actor.killed)
    assert stage.pool.statistics()["idle"] == 0
    actor.response_fd = os.open("/dev/null", os.O_RDONLY)


async def test_a_fast_function_gets_no_second_worker_while_the_first_is_as_quick_as_a_start(stage):
    await stage.warm()
    calls = [stage.submit() for _ in range(3)]
    for _ in calls:
        await stage.answer(stage.actors[0])
    for call in calls:
        await call
    assert len(stage.actors) == 1


async def test_a_call_that_waited_as_long_as_a_start_takes_gets_a_worker_of_its_own(stage):
    await stage.warm()
    stage.submit()
    waiting = stage.submit()
    assert len(stage.actors) == 1
    await scripted.until(lambda: len(stage.actors) == 2)
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    await waiting


async def test_calls_that_waited_for_a_worker_that_died_get_another_at_once(stage):
    await stage.warm()
    dying, waiting = stage.submit(), stage.submit()
    await stage.request(stage.actors[0])
    stage.actors[0].exit(256)
    assert (await dying).error_type == "Runtime.ExitError"
    assert len(stage.actors) == 2
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    await waiting


async def idle_and_moving(stage):
    """Return a worker that has served a call, and will not stand still."""
    served = stage.submit()
    actor = stage.actors[0]
    actor.evades = True
    await stage.ready(actor)
    await stage.answer(actor)
    await served
    return actor


async def test_a_worker_that_will_not_stand_still_is_killed_but_not_for_waiting_for_a_processor(monkeypatch):
    monkeypatch.setattr(idle, "FREEZE_AFTER_S", 0.001)
    now = 0.0
    stage = scripted.Stage(clock=lambda: now)
    actor = await idle_and_moving(stage)
    await scripted.until(lambda: actor.freezes > 2 * worker.FREEZE_ATTEMPTS)
    assert not actor.killed
    now = worker.FREEZE_LIMIT_S
    await scripted.until(lambda: actor.killed)
    assert stage.pool.statistics()["idle"] == 0
    await stage.close()


async def test_a_worker_that_moves_is_not_killed_after_a_long_pause_of_the_server(monkeypatch):
    monkeypatch.setattr(idle, "FREEZE_AFTER_S", 0.001)
    monkeypatch.setattr(worker, "FREEZE_ATTEMPTS", 1_000_000)
    now = 0.0
    stage = scripted.Stage(clock=lambda: now)
    actor = await idle_and_moving(stage)
    await scripted.until(lambda: actor.freezes)
    now = 2 * worker.FREEZE_LIMIT_S
    looks = actor.freezes
    await scripted.until(lambda: actor.freezes > looks)
    assert not actor.killed
    actor.evades = False
    await scripted.until(lambda: actor.frozen)
    await stage.close()


@pytest.mark.parametrize("message", [wire.Refused("seccomp", 1, "forged"), wire.Confined({})])
async def test_once_the_sandbox_stands_a_function_cannot_speak_for_it(stage, message):
    call = stage.submit()
    actor = stage.actors[0]
    actor.say(wire.Confined({}))
    actor.say(message)
    assert (await call).error_type == "Runtime.ExitError"
    assert actor.killed


async def test_a_response_over_the_limit_is_a_broken_protocol(stage, monkeypatch):
    monkeypatch.setattr(worker, "PAYLOAD_LIMIT", 3)
    call = stage.submit()
    await stage.ready(stage.actors[0])
    await stage.answer(stage.actors[0], b"1234")
    assert (await call).error_type == "Runtime.ExitError"


NOT_DOCUMENTS = [
    b"",
    b"x",
    b'{"errorMessage": ',
    b"[1]",
    b'"text"',
    b"1",
    b'{"a": "\xff"}',
    b'{"a": ' + b"[" * 10**4 + b"}",
]


@pytest.mark.parametrize("payload", NOT_DOCUMENTS)
async def test_an_error_that_is_no_document_breaks_the_protocol_and_reaches_no_caller(stage, payload):
    first = stage.submit()
    stage.actors[0].say(wire.Confined({}))
    stage.actors[0].say(wire.InitError("E", payload))
    assert json.loads((await first).payload)["errorType"] == "Runtime.ExitError"
    second = stage.submit()
    await stage.ready(stage.actors[1])
    request = await stage.request(stage.actors[1])
    stage.actors[1].say(wire.HandlerError(request.request_id, "E", payload))
    assert json.loads((await second).payload)["errorType"] == "Runtime.ExitError"
    for actor in stage.actors:
        assert actor.killed
        actor.exit(9)
    assert stage.listener.failures == ["protocol", "protocol"]


async def test_an_error_over_the_limit_breaks_the_protocol(stage, monkeypatch):
    monkeypatch.setattr(wire, "PAYLOAD_LIMIT", 100)
    for length, kind in ((100, "E"), (101, "Runtime.ExitError")):
        call = stage.submit()
        (actor,) = stage.actors
        if length == 100:
            await stage.ready(actor)
        request = await stage.request(actor)
        document = json.dumps({"errorMessage": "x" * (length - 20)}).encode()
        assert len(document) == length
        actor.say(wire.HandlerError(request.request_id, "E", document))
        assert (await call).error_type == kind


async def test_a_function_that_scales_out_too_fast_is_throttled_and_others_are_not():
    stage = scripted.Stage(scale_out=2)
    calls = [stage.submit() for _ in range(3)]
    assert len(stage.actors) == 2
    with pytest.raises(errors.TooManyRequests, match="Rate Exceeded"):
        await calls[0]
    stage.submit(dataclasses.replace(scripted.VERSION, function_name="other"))
    assert len(stage.actors) == 3
    await stage.close()


DOCUMENT = b'{"errorMessage":"no","errorType":"Runtime.AfterRestoreError"}'


def copy(actor):
    actor.kind = model.StartKind.SNAPSHOT
    return actor


async def test_a_copy_that_is_gone_fails_its_call_as_it_says_and_its_snapshot_is_not_blamed(stage):
    call = stage.submit()
    actor = copy(stage.actors[0])
    actor.lacks = None
    actor.say(wire.Confined({}))
    actor.say(wire.InitError("Runtime.AfterRestoreError", DOCUMENT))
    assert (await call).payload == DOCUMENT
    assert stage.launcher.distrusted == []


async def test_a_copy_that_is_gone_is_given_no_call_whatever_it_says(stage):
    call = stage.submit()
    actor = copy(stage.actors[0])
    actor.lacks = None
    actor.say(wire.Confined({}))
    actor.say(wire.Ready())
    actor.say(wire.Response("r1", "application/json", b"1"))
    await scripted.until(lambda: actor.killed)  # which answered what it was not asked
    outcome = await call
    assert (outcome.error_type, outcome.start) == ("Runtime.ExitError", model.StartKind.SNAPSHOT)
    assert stage.launcher.starts == stage.launcher.distrusted == []


async def test_a_copy_that_is_gone_fails_its_call_as_it_ended(stage):
    call = stage.submit()
    actor = copy(stage.actors[0])
    actor.lacks = None
    actor.say(wire.Confined({}))
    actor.say(wire.Ready())
    await scripted.until(lambda: any(isinstance(m, wire.Assign) for m in actor.hear()))
    actor.exit(65 << 8)
    assert b"exit status 65" in (await call).payload
    assert stage.launcher.distrusted == []


async def test_a_copy_with_a_flaw_costs_its_snapshot_and_no_call(stage):
    call = stage.submit()
    actor = copy(stage.actors[0])
    actor.lacks = "a copy did not seal itself"
    actor.say(wire.Confined({}))
    await scripted.until(lambda: len(stage.actors) == 2)
    assert actor.lacks in stage.launcher.distrusted[0]
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    assert (await call).payload == b"1"


async def test_why_a_worker_failed_counts_though_its_exit_is_heard_first(stage):
    call = stage.submit()
    actor = stage.actors[0]
    actor.say(wire.Confined({}))
    actor.say(wire.InitError("Runtime.AfterRestoreError", DOCUMENT))
    actor.exit(65 << 8)
    assert (await call).payload == DOCUMENT


async def test_an_answer_counts_though_its_workers_exit_is_heard_first(stage):
    first = stage.submit()
    actor = stage.actors[0]
    await stage.ready(actor)
    request = await stage.request(actor)
    second = stage.submit()
    actor.say(wire.Response(request.request_id, "application/json", b'"answered"'))
    actor.exit(9)
    assert (await first).payload == b'"answered"'
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    assert (await second).payload == b"1"
    assert stage.pool.workers == 1


async def test_a_worker_that_is_ready_when_its_exit_is_heard_is_given_no_call(stage):
    call = stage.submit()
    actor = stage.actors[0]
    actor.say(wire.Confined({}))
    actor.say(wire.Ready())
    actor.exit(9)
    assert (await call).error_type == "Runtime.ExitError"
    assert stage.launcher.starts == []


async def test_no_call_is_given_to_a_worker_that_is_about_to_end(stage):
    await stage.warm()
    stage.actors[0].listener.process_doomed("its template ended")
    assert stage.actors[0].killed
    second = stage.submit()
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    assert (await second).error_type is None


async def test_a_call_that_waits_for_a_worker_that_is_about_to_end_gets_another(stage):
    call = stage.submit()
    copy(stage.actors[0]).listener.process_doomed("its template ended")
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    assert (await call).error_type is None


async def test_a_call_on_a_worker_that_is_about_to_end_may_still_be_answered(stage):
    call = stage.submit()
    actor = stage.actors[0]
    await stage.ready(actor)
    request = await stage.request(actor)
    actor.listener.process_doomed("its template ended")
    assert not actor.killed
    actor.say(wire.Response(request.request_id, "application/json", b"1"))
    assert (await call).payload == b"1"
    assert actor.killed
    assert stage.pool.statistics()["idle"] == 0


async def test_the_first_workers_of_a_function_find_out_how_long_its_calls_take(stage):
    calls = [stage.submit() for _ in range(40)]
    assert len(stage.actors) == scaler.TRIAL
    await stage.ready(stage.actors[0])
    for _ in calls:
        await stage.answer(stage.actors[0])
    for one in calls:
        await one
    assert len(stage.actors) == scaler.TRIAL


async def test_calls_that_take_long_get_a_worker_each_after_the_trial(stage):
    many = 2 * scaler.TRIAL
    calls = [stage.submit() for _ in range(many)]
    await stage.ready(stage.actors[0])
    await scripted.until(lambda: len(stage.actors) == many)
    for actor in stage.actors[1:]:
        await stage.ready(actor)
    for actor in stage.actors:
        await stage.answer(actor)
    for one in calls:
        await one


async def test_so_many_starts_are_begun_at_once_and_the_others_when_those_stand(stage):
    many = starting.AT_ONCE + 3
    calls = [stage.submit() for _ in range(many)]
    await scripted.until(lambda: len(stage.actors) == starting.AT_ONCE)
    stage.actors[0].say(wire.Confined({}))
    await scripted.until(lambda: len(stage.actors) == starting.AT_ONCE + 1)
    stage.actors[1].exit(9)
    await scripted.until(lambda: len(stage.actors) == starting.AT_ONCE + 2)
    assert (await calls[0]).failed
    for one in calls[1:]:
        stage.pool.withdraw(one.call)
        assert isinstance(one.exception(), errors.Withdrawn)
    stage.actors[2].say(wire.Confined({}))
    await stage.ready(stage.actors[3])
    await scripted.until(lambda: stage.pool.statistics()["idle"] == 1)
    assert len(stage.actors) == starting.AT_ONCE + 2


async def test_one_functions_burst_does_not_keep_anothers_start_waiting(stage):
    many = 20 * starting.STARTS_A_TURN
    calls = [stage.submit() for _ in range(many)]
    other = dataclasses.replace(scripted.VERSION, function_name="g", generation="g2")
    calls += [stage.submit(version=other) for _ in range(2)]

    def before():
        names = [actor.version.function_name for actor in stage.actors]
        return names.index("g") if names.count("g") == 2 else None

    await scripted.until(lambda: before() is not None)
    assert before() <= 2 * starting.STARTS_A_TURN
    await scripted.until(lambda: len(stage.actors) == starting.AT_ONCE + 2)
    for one in calls:
        stage.pool.withdraw(one.call)
        assert isinstance(one.exception(), errors.Withdrawn)
