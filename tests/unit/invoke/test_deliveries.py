"""What came of events, on its way to where it is wanted, and the letters that are left."""

import asyncio
import threading

import pytest
from event_rig import ARN, QUEUE, TOPIC, raised, returned, running

from runtime import errors
from runtime.invoke import retry
from runtime.invoke.destinations import aws
from runtime.invoke.queue import bounds, letters

ALL = letters.Filter()


async def test_results_go_to_their_destination(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", lambda one: returned(b'{"done": true}') if one.payload == b"1" else raised())
        rig.functions.send("f", success=QUEUE, failure=TOPIC, MaximumRetryAttempts=1)
        done = await rig.accept(payload=b"1")
        failed = await rig.accept(payload=b"2")
        await rig.quiet()
        ((ending, payload),) = rig.sender.to(QUEUE)
        assert rig.deliver(ending, payload) == {
            "version": "1.0",
            "timestamp": rig.deliver(ending, payload)["timestamp"],
            "requestContext": {
                "requestId": done,
                "functionArn": f"{ARN}f:$LATEST",
                "condition": "Success",
                "approximateInvokeCount": 1,
            },
            "requestPayload": 1,
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": {"done": True},
        }
        ((ending, payload),) = rig.sender.to(TOPIC)
        shown = rig.deliver(ending, payload)
        assert shown["requestContext"]["requestId"] == failed
        assert shown["requestContext"]["condition"] == "RetriesExhausted"
        assert shown["requestContext"]["approximateInvokeCount"] == 2
        assert shown["responseContext"]["functionError"] == "Unhandled"
        assert await rig.letters() == []


async def test_a_destination_and_a_dead_letter_queue_both_get_what_failed(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: raised())
        rig.functions.send("f", failure=TOPIC, MaximumRetryAttempts=0)
        rig.functions.queues["f"] = QUEUE
        await rig.accept(payload=b'{"a": 1}')
        await rig.quiet()
        assert {(ending.target, ending.queue) for ending, _ in rig.sender.sent} == {(TOPIC, False), (QUEUE, True)}
        assert {payload for _, payload in rig.sender.sent} == {b'{"a": 1}'}


async def test_no_queue_gets_what_succeeded(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f")
        rig.functions.queues["f"] = QUEUE
        await rig.accept()
        await rig.quiet()
        assert not rig.sender.sent


async def test_a_target_that_goes_away_and_comes_back_misses_nothing(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f")
        rig.functions.send("f", success=QUEUE)
        rig.sender.away.add(QUEUE)
        ids = {await rig.accept() for _ in range(20)}
        await rig.until(lambda: rig.listener.counts["undelivered", "f", False] >= 3 and rig.events.depth == 0)
        assert rig.events.undelivered == 20
        rig.sender.away.clear()
        await rig.quiet()
        assert {ending.about.request_id for ending, _ in rig.sender.to(QUEUE)} == ids
        assert len(rig.sender.sent) == 20


async def test_a_target_that_is_away_delays_no_other(tmp_path):
    async with running(tmp_path, base_delay_s=60.0, delivery_threads=2) as rig:
        rig.function("f")
        rig.function("g")
        rig.functions.send("f", success=QUEUE)
        rig.functions.send("g", success=TOPIC)
        rig.sender.away.add(QUEUE)
        for _ in range(20):
            await rig.accept("f")
        await rig.accept("g")
        await rig.until(lambda: rig.sender.to(TOPIC))
        # While it is away it is hardly ever tried.
        assert rig.sender.tried[QUEUE] <= 4


async def test_deliveries_survive_a_restart(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f")
        rig.functions.send("f", success=QUEUE)
        rig.sender.away.add(QUEUE)
        request_id = await rig.accept()
        await rig.until(lambda: rig.sender.tried[QUEUE])
    async with running(tmp_path) as rig:
        await rig.quiet()
        ((ending, _),) = rig.sender.to(QUEUE)
        assert ending.about.request_id == request_id
        assert not rig.calls.seen


async def test_a_message_that_is_refused_holds_up_no_other_and_is_kept(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f")
        rig.functions.send("f", success=QUEUE)
        rig.sender.faults[QUEUE] = [aws.Undelivered("too long", refused=True) for _ in range(3)]
        await rig.accept()
        await rig.quiet()
        assert rig.sender.tried[QUEUE] == 3
        assert rig.listener.counts["undelivered", "f", False] == 3
        (found,) = await rig.letters()
        assert found.ending.undelivered == "too long"
        assert found.ending.target == QUEUE
        assert rig.listener.counts["buried", "f"] == 1


async def test_what_cannot_be_delivered_for_too_long_is_kept(tmp_path):
    async with running(tmp_path, delivery_age_s=0.2) as rig:
        rig.function("f", lambda _: raised())
        rig.functions.queues["f"] = QUEUE
        rig.functions.send("f", MaximumRetryAttempts=0)
        rig.sender.away.add(QUEUE)
        for number in range(5):
            await rig.accept(payload=str(number).encode())
        await rig.quiet()
        found = await rig.letters()
        assert sorted(one.letter.body for one in found) == [b"0", b"1", b"2", b"3", b"4"]
        assert {one.ending.undelivered for one in found} == {"connection refused"}
        assert rig.listener.counts["undelivered", "f", True] >= 5


async def test_a_sender_that_breaks_is_like_a_refusal(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f")
        rig.functions.send("f", success=QUEUE)
        rig.sender.faults[QUEUE] = [RuntimeError("a bug"), RuntimeError("a bug"), RuntimeError("a bug")]
        await rig.accept()
        await rig.quiet()
        (found,) = await rig.letters()
        assert "a bug" in found.ending.undelivered


async def test_another_function_gets_the_record_as_an_event(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: returned(b'"done"'))
        rig.function("g")
        rig.functions.send("f", success=f"{ARN}g:live")
        await rig.accept(trace_id="Root=1", payload=b'"given"')
        await rig.quiet()
        (second,) = rig.calls.runs("g")
        assert second.invoked_arn == f"{ARN}g:live"
        assert second.request_id == "new-2"
        assert second.trace_id.startswith("Root=1;Lineage=1:")
        assert b'"requestPayload":"given"' in second.payload
        assert b'"responsePayload":"done"' in second.payload
        assert rig.listener.counts["received", "g"] == 1


async def test_functions_that_tell_each_other_of_their_ends_are_stopped(tmp_path):
    async with running(tmp_path) as rig:
        for name, other in ("fg", "gf"):
            rig.function(name)
            rig.functions.send(name, success=f"{ARN}{other}")
        await rig.accept()
        await rig.quiet()
        # The caller's own call of f is counted where it comes in.
        assert len(rig.calls.runs("g")) == 16
        assert len(rig.calls.runs("f")) == 17
        assert rig.events.letters == 1


async def test_a_function_that_is_made_later_gets_its_records(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f")
        rig.functions.send("f", success=f"{ARN}g")
        await rig.accept()
        await rig.until(lambda: rig.listener.counts["undelivered", "f", False] >= 2)
        rig.function("g")
        await rig.quiet()
        assert len(rig.calls.runs("g")) == 1


async def test_many_records_to_a_function_whose_queue_is_full_wait_for_room(tmp_path):
    async with running(tmp_path, queue=bounds.Bounds(function_events=2)) as rig:
        rig.function("f")
        rig.function("g", lambda _: None, reserved=1)
        rig.functions.send("f", success=f"{ARN}g")
        for _ in range(6):
            await rig.accept("f")
            await rig.until(lambda: rig.events._lanes.get("f") is None)
        await rig.until(lambda: rig.listener.counts["undelivered", "f", False])
        assert rig.events._lanes.get("g").depth == 2
        while rig.events.depth or rig.events.undelivered:
            if rig.calls.held:
                rig.calls.held.pop()(returned())
            await asyncio.sleep(0.001)
        assert len(rig.calls.runs("g")) == 6


async def test_deliveries_share_their_threads(tmp_path):
    gate = threading.Event()
    async with running(tmp_path, delivery_threads=4) as rig:
        real = rig.sender.send

        def send(ending, payload):
            if ending.target == QUEUE:
                gate.wait(20)
            real(ending, payload)

        rig.sender.send = send
        rig.function("f")
        rig.function("g")
        rig.functions.send("f", success=QUEUE)
        rig.functions.send("g", success=TOPIC)
        for _ in range(10):
            await rig.accept("f")
        await rig.until(lambda: rig.events._targets.running == 2)  # half of them
        await rig.accept("g")
        await rig.until(lambda: rig.sender.to(TOPIC))
        gate.set()
        await rig.quiet()


# Letters


async def test_letters_run_again_under_their_old_request_id(tmp_path):
    outcomes = [raised()] * 3 + [returned()]
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: outcomes.pop(0))
        request_id = await rig.accept(payload=b'"p"', trace_id="Root=1")
        await rig.quiet()
        (found,) = await rig.letters()
        assert await rig.dead.redrive(ALL) == [found.letter.id]
        await rig.quiet()
        last = rig.calls.seen[-1]
        assert (last.request_id, last.payload, last.trace_id) == (request_id, b'"p"', "Root=1")
        assert await rig.letters() == []
        assert rig.events.letters == 0


async def test_a_letter_that_fails_again_is_a_new_letter_with_its_last_tries(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", lambda _: raised())
        await rig.accept()
        await rig.quiet()
        (first,) = await rig.letters()
        await rig.dead.redrive(ALL)
        await rig.quiet()
        (second,) = await rig.letters()
        assert second.letter.id > first.letter.id
        assert second.ending.invoke_count == len(second.ending.about.tries) == 3


async def test_only_the_delivery_of_what_succeeded_is_done_again(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f")
        rig.functions.send("f", success=QUEUE)
        rig.sender.faults[QUEUE] = [aws.Undelivered("no", refused=True)] * 3
        await rig.accept()
        await rig.quiet()
        await rig.dead.redrive(ALL)
        await rig.quiet()
        assert len(rig.calls.seen) == 1
        ((ending, _),) = rig.sender.to(QUEUE)
        assert ending.condition is retry.Condition.SUCCESS
        assert ending.undelivered == ""
        assert await rig.letters() == []


async def test_letters_are_redriven_oldest_first_as_many_as_asked_for(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", reserved=0)
        for number in range(5):
            await rig.accept(payload=str(number).encode())
        await rig.quiet()
        rig.calls.places.reserve("f", None)
        assert len(await rig.dead.redrive(ALL, 2)) == 2
        await rig.quiet()
        assert sorted(one.payload for one in rig.calls.seen) == [b"0", b"1"]
        assert await rig.dead.redrive(letters.Filter(function="g")) == []
        count, newest = await rig.dead.count(ALL)
        assert count == 3
        assert await rig.dead.redrive(letters.Filter(after=newest)) == []


async def test_two_who_redrive_at_once_do_not_run_anything_twice(tmp_path):
    async with running(tmp_path) as rig:
        rig.function("f", reserved=0)
        for _ in range(20):
            await rig.accept()
        await rig.quiet()
        rig.calls.places.reserve("f", None)
        async with asyncio.TaskGroup() as group:
            both = [group.create_task(rig.dead.redrive(ALL)) for _ in range(2)]
        assert sum(len(one.result()) for one in both) == 20
        await rig.quiet()
        assert len(rig.calls.seen) == 20


async def test_a_full_queue_takes_no_letters(tmp_path):
    async with running(tmp_path, queue=bounds.Bounds(function_events=3)) as rig:
        rig.function("f", reserved=0)
        for _ in range(3):
            await rig.accept()
            await rig.quiet()
        for _ in range(2):
            await rig.accept()
            await rig.quiet()
        rig.function("f", lambda _: None, reserved=1)
        assert len(await rig.dead.redrive(ALL)) == 3
        with pytest.raises(errors.TooManyRequests):
            await rig.dead.redrive(ALL)
        assert rig.events.letters == 2
        await rig.let_go()


async def test_letters_are_thrown_away(tmp_path):
    async with running(tmp_path) as rig:
        for name in ("f", "f", "g"):
            rig.function(name, reserved=0)
            await rig.accept(name)
        await rig.quiet()
        assert await rig.dead.purge(letters.Filter(function="f")) == 2
        (left,) = await rig.letters()
        assert left.ending.function == "g"
        with pytest.raises(errors.ResourceNotFound):
            await rig.dead.get(left.letter.id + 1)


async def test_letters_without_room_are_counted(tmp_path):
    async with running(tmp_path, letters_kept=2) as rig:
        rig.function("f", reserved=0)
        for _ in range(5):
            await rig.accept()
        await rig.quiet()
        await rig.until(lambda: rig.events.evicted == 3)
        assert rig.events.letters == 2
