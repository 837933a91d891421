"""Events from their acceptance to their end."""

import asyncio
import sqlite3

import pytest
from event_rig import ARN, BASE_S, Rig, raised, returned, running

from runtime import errors
from runtime.invoke.queue import bounds, writing


def rows(folder):
    connection = sqlite3.connect(folder / "events.db")
    found = connection.execute("SELECT count(*) FROM items").fetchone()[0]
    connection.close()
    return found


async def test_an_event_is_on_disk_before_it_is_accepted_and_gone_when_it_has_run(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: None)
        await rig.accept(payload=b'{"a": 1}', trace_id="Root=1", client_context=b"{}", tenant_id="t", qualifier="7")
        assert rows(tmp_path) == 1
        await rig.until(lambda: rig.calls.held)
        (invocation,) = rig.calls.seen
        assert invocation.payload == b'{"a": 1}'
        assert invocation.version.version == "7"
        assert invocation.invoked_arn == f"{ARN}f:7"
        assert (invocation.trace_id, invocation.client_context, invocation.tenant_id) == ("Root=1", b"{}", "t")
        assert rows(tmp_path) == 1
        rig.calls.held.pop()(returned())
        await rig.quiet()
        assert rows(tmp_path) == 0
        assert await rig.letters() == []
        assert rig.listener.counts == {("received", "f"): 1, ("tried", "f"): 1, ("ended", "f", "Success"): 1}


async def test_a_function_that_fails_is_tried_three_times_under_one_request_id(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: raised())
        request_id = await rig.accept()
        await rig.quiet()
        assert [one.request_id for one in rig.calls.seen] == [request_id] * 3
        assert rig.listener.counts["retried", "f", "error"] == 2
        assert rig.listener.counts["ended", "f", "RetriesExhausted"] == 1
        (found,) = await rig.letters()
        ending = found.ending
        assert ending.about.request_id == request_id
        assert (ending.error_type, ending.error_message) == ("ValueError", "no")
        assert ending.invoke_count == len(ending.about.tries) == 3
        assert ending.about.log_tail == b"the log"
        first, second, third = (one.at for one in ending.about.tries)
        assert second - first >= BASE_S
        assert third - second >= 2 * BASE_S


async def test_an_event_may_succeed_in_the_end(tmp_path):
    outcomes = [raised(), raised(), returned()]
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: outcomes.pop(0))
        await rig.accept()
        await rig.quiet()
        assert not outcomes
        assert rig.listener.counts["ended", "f", "Success"] == 1
        assert await rig.letters() == []


@pytest.mark.parametrize("retries", [0, 1])
async def test_fewer_retries_where_the_qualifier_is_configured_so(tmp_path, retries):
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: raised())
        rig.functions.send("f", qualifier="live", MaximumRetryAttempts=retries)
        await rig.accept(qualifier="live")
        await rig.quiet()
        assert len(rig.calls.seen) == retries + 1


async def test_an_event_whose_retry_would_come_too_late_ends_at_once(tmp_path):
    async with running(tmp_path, base_delay_s=60.0) as rig:
        rig.function("f", lambda _: raised())
        rig.functions.send("f", MaximumEventAgeInSeconds=60)
        await rig.accept()
        await rig.quiet()
        (found,) = await rig.letters()
        assert found.ending.condition.value == "EventAgeExceeded"
        assert found.ending.invoke_count == 1
        assert found.ending.response == raised().payload


async def test_without_any_concurrency_an_event_is_not_even_tried(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", reserved=0)
        await rig.accept()
        await rig.quiet()
        (found,) = await rig.letters()
        assert found.ending.condition.value == "ZeroReservedConcurrency"
        assert found.ending.invoke_count == 0
        assert found.ending.executed_version is None
        assert not rig.calls.seen


async def test_what_is_throttled_waits_and_delays_nobody(tmp_path):
    async with running(tmp_path, base_delay_s=6.0) as rig:
        rig.function("f", reserved=1)
        rig.function("g")
        assert rig.calls.places.admit("f") is None  # a caller who waits has the only place
        await rig.accept("f")
        await rig.accept("f")
        await rig.accept("g")
        await rig.until(lambda: rig.listener.counts["ended", "g", "Success"])
        await rig.until(lambda: rig.listener.counts["retried", "f", "throttle"] == 2)
        assert not rig.calls.runs("f")
        assert rows(tmp_path) == 2
        rig.calls.places.release("f")
        await rig.quiet()
        assert len(rig.calls.runs("f")) == 2
        # Waiting was no try.
        assert rig.listener.counts["ended", "f", "Success"] == 2


async def test_faults_of_the_service_are_no_tries(tmp_path):
    results = [errors.WorkerLost("no zygote"), errors.WorkerLost("no zygote"), raised(), returned()]
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: results.pop(0))
        rig.functions.send("f", MaximumRetryAttempts=1)
        await rig.accept()
        await rig.quiet()
        assert rig.listener.counts["retried", "f", "fault"] == 2
        assert rig.listener.counts["ended", "f", "Success"] == 1


async def test_throttled_events_end_when_they_would_be_too_old(tmp_path):
    async with running(tmp_path, base_delay_s=60.0) as rig:
        rig.function("f", reserved=1)
        rig.calls.places.admit("f")
        rig.functions.send("f", MaximumEventAgeInSeconds=0.5)
        waiting = [rig.loop.create_task(rig.accept()) for _ in range(600)]
        await asyncio.wait(waiting)
        # A second from now they are too old: all of them end now, not when the function may be tried again.
        await rig.quiet()
        assert rig.listener.counts["ended", "f", "EventAgeExceeded"] == 600
        assert {found.ending.status for found in await rig.letters()} <= {429, 200}


async def test_events_of_a_function_that_is_gone_are_kept(tmp_path):
    async with running(tmp_path) as rig:
        await rig.accept("gone")
        await rig.quiet()
        (found,) = await rig.letters()
        assert found.ending.error_type == "ResourceNotFoundException"
        assert found.ending.invoke_count == 0


async def test_no_more_than_half_of_what_is_free_goes_to_one_function(tmp_path):
    async with running(tmp_path) as rig:
        rig.events._pace.width = 1000
        rig.function("f", lambda _: None)
        rig.calls.places = rig.events.runner._places = type(rig.calls.places)(20)
        for _ in range(50):
            await rig.accept()
        await rig.until(lambda: len(rig.calls.held) == 10)
        assert rig.calls.places.free == 10
        rig.function("g", lambda _: None)
        await rig.accept("g")
        await rig.until(lambda: rig.calls.runs("g"))
        await rig.let_go()


async def test_a_function_runs_as_many_as_are_reserved_for_it(tmp_path):
    async with running(tmp_path) as rig:
        rig.events._pace.width = 1000
        rig.function("f", lambda _: None, reserved=3)
        for _ in range(10):
            await rig.accept()
        await rig.until(lambda: len(rig.calls.held) == 3)
        await rig.let_go()
        assert rig.calls.most["f"] == 3
        assert not rig.listener.counts["retried", "f", "throttle"]


async def test_places_that_a_function_is_given_are_used_at_once(tmp_path):
    async with running(tmp_path) as rig:
        rig.events._pace.width = 1000
        rig.function("f", lambda _: None, reserved=1)
        for _ in range(10):
            await rig.accept()
        await rig.until(lambda: len(rig.calls.held) == 1)
        # Nothing ends and nothing comes: only the change can set the others going.
        rig.calls.places.reserve("f", 4)
        rig.events.reconsider("f")
        await rig.until(lambda: len(rig.calls.held) == 4)
        await rig.let_go()
        rig.events.reconsider("nobody")


async def test_a_function_that_rests_goes_on_when_it_is_given_places(tmp_path):
    async with running(tmp_path, base_delay_s=3600) as rig:
        rig.function("f", reserved=1)
        assert rig.calls.places.admit("f") is None  # by a synchronous call
        await rig.accept()
        await rig.until(lambda: rig.listener.counts["retried", "f", "throttle"] == 1)
        rig.calls.places.reserve("f", 2)
        rig.events.reconsider("f")
        await rig.until(lambda: rig.calls.runs("f"))
        await rig.quiet()


# Stops and starts


async def test_what_was_running_at_the_end_runs_again_after_the_next_start(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: None)
        ids = [await rig.accept() for _ in range(3)]
        await rig.until(lambda: len(rig.calls.held) == 3)
        rig.calls.held.pop(0)(returned())
        await rig.until(lambda: rig.events.depth == 2)
        rig.events.stop()
        await rig.accept(request_id="late")
        rig.events.hand_back()
        # The workers are killed: that is no try.
        for end in rig.calls.held:
            end(raised("Runtime.ExitError"))
    async with running(tmp_path) as rig:
        rig.function("f")
        await rig.quiet()
        assert sorted(one.request_id for one in rig.calls.seen) == sorted([*ids[1:], "late"])


async def test_what_ran_is_written_at_the_end(tmp_path):
    rig = Rig(tmp_path)
    await rig.events.start()
    rig.function("f", lambda _: None)
    for _ in range(5):
        await rig.accept()
    await rig.until(lambda: len(rig.calls.held) == 5)
    for end in rig.calls.held:
        end(returned())
    await rig.events.close()
    assert rows(tmp_path) == 0


async def test_retries_survive_a_restart(tmp_path):
    async with running(tmp_path, base_delay_s=0.5) as rig:
        rig.function("f", lambda _: raised())
        request_id = await rig.accept()
        await rig.until(lambda: rig.listener.counts["retried", "f", "error"])
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: raised())
        await rig.quiet()
        assert [one.request_id for one in rig.calls.seen] == [request_id] * 2
        (found,) = await rig.letters()
        assert found.ending.invoke_count == len(found.ending.about.tries) == 3


# What is refused


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        ({"events": 3}, "queue_events)"),
        ({"function_events": 3}, "queue_events_per_function"),
        ({"bytes": 1}, "queue_mb"),
        ({"lag_s": 0.0}, "queue_lag_s"),
    ],
)
async def test_too_many_events_are_refused_with_a_reason(tmp_path, bound, text):
    async with running(tmp_path, queue=bounds.Bounds(**bound)) as rig:
        rig.function("f", lambda _: None, reserved=1)
        with pytest.raises(errors.TooManyRequests) as caught:
            await rig.accept_many(50)
        assert text in caught.value.message
        assert sum(rig.listener.counts[key] for key in rig.listener.counts if key[0] == "throttled") == 1
        waiting = rig.events.depth
        assert waiting <= 3 or "lag" in text
        await rig.until(lambda: rig.calls.held)
        await rig.let_go()
        assert len(rig.calls.seen) == waiting
        rig.function("f", reserved=1)
        await rig.accept()
        await rig.quiet()


async def test_an_event_that_cannot_be_stored_is_an_error_to_its_caller(tmp_path, monkeypatch):
    real = writing.write

    def full(*_arguments):
        raise sqlite3.OperationalError("database or disk is full")

    async with running(tmp_path) as rig:
        rig.function("f")
        monkeypatch.setattr(writing, "write", full)
        with pytest.raises(errors.ServiceFault, match="disk is full"):
            await rig.accept()
        assert rig.events.depth == 0
        assert rig.events.backlogs() == []
        monkeypatch.setattr(writing, "write", real)
        await rig.accept()
        await rig.quiet()
        assert len(rig.calls.seen) == 1


async def test_what_ran_while_the_disk_was_full_does_not_run_again(tmp_path, monkeypatch):
    real = writing.write
    full = [False]

    def write(*arguments):
        if full[0]:
            raise sqlite3.OperationalError("database or disk is full")
        return real(*arguments)

    monkeypatch.setattr(writing, "write", write)
    monkeypatch.setattr("runtime.invoke.queue.sqlite.RETRY_S", 0.01)
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: None)
        for _ in range(3):
            await rig.accept()
        await rig.until(lambda: len(rig.calls.held) == 3)
        full[0] = True
        for end in rig.calls.held:
            end(returned())
        await asyncio.sleep(0.05)
        assert rig.events.depth == 3
        full[0] = False
        await rig.quiet()
        assert len(rig.calls.seen) == 3


async def test_what_waits_is_told_by_function(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: None, reserved=1)
        for _ in range(3):
            await rig.accept()
        await rig.until(lambda: rig.calls.held)
        (shown,) = rig.events.backlogs()
        assert (shown["kind"], shown["name"], shown["events"], shown["running"]) == ("function", "f", 3, 1)
        assert rig.events.depths() == {"f": 3}
        await rig.let_go()


async def test_a_backlog_that_was_left_gets_as_many_workers_as_a_new_one(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", reserved=1)
        rig.calls.places.admit("f")
        for _ in range(20):
            await rig.accept()
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: None)
        # Nothing is sent any more, and nothing ends.
        await rig.until(lambda: len(rig.calls.held) == 20)
        await rig.let_go()


async def test_a_disk_that_is_behind_gets_no_more_workers(tmp_path):
    async with running(tmp_path) as rig:
        rig.events._processors.idle = lambda: 1.0  # they wait for the disk
        rig.function("f", lambda _: None)
        for _ in range(20):
            await rig.accept()
        await rig.until(lambda: len(rig.calls.held) == rig.events._pace.width)
        few = rig.events._pace.width
        rig.events.runner.dispatcher.held_up = True
        rig.events._adapt()
        assert rig.events._pace.width == few
        rig.events._adapt()
        assert rig.events._pace.width > few
        await rig.let_go()
