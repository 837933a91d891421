"""Versions of which each call gets a worker of its own."""

import dataclasses

import pytest
import scripted

from runtime import model

ISOLATED = dataclasses.replace(scripted.VERSION, tags={model.ISOLATION_TAG: "invocation"})
SHARED = dataclasses.replace(scripted.VERSION, tags={model.ISOLATION_TAG: "worker"})


async def served(stage, version, actor):
    """Have a call served by an actor, which is to get it."""
    call = stage.submit(version)
    await stage.answer(actor)
    return await call


@pytest.mark.parametrize(("version", "setting"), [(ISOLATED, "worker"), (scripted.VERSION, "invocation")])
async def test_each_call_gets_a_worker_that_served_none_and_the_next_is_held_ready(version, setting):
    stage = scripted.Stage(isolation=setting)
    call = stage.submit(version)
    await stage.ready(stage.actors[0])
    await stage.answer(stage.actors[0])
    await call
    assert stage.actors[0].killed
    for number in range(1, 4):
        await stage.ready(stage.actors[number])
        await scripted.until(lambda: stage.pool.statistics()["idle"])
        await served(stage, version, stage.actors[number])
        assert stage.actors[number].killed
        assert len(stage.actors) == number + 2
    await stage.close()


async def test_a_tag_goes_before_the_setting():
    stage = scripted.Stage(isolation="invocation")
    call = stage.submit(SHARED)
    await stage.ready(stage.actors[0])
    await stage.answer(stage.actors[0])
    await call
    await served(stage, SHARED, stage.actors[0])
    assert len(stage.actors) == 1
    await stage.close()


async def test_as_many_are_held_ready_as_run():
    stage = scripted.Stage()
    for _ in range(3):
        stage.submit(ISOLATED)
    assert len(stage.actors) == 3
    for actor in stage.actors[:3]:
        await stage.ready(actor)
        await stage.request(actor)
    assert len(stage.actors) == 6
    for actor in stage.actors[3:]:
        await stage.ready(actor)
    await scripted.until(lambda: stage.pool.statistics()["idle"] == 3)
    assert len(stage.actors) == 6
    await stage.close()


async def test_a_call_never_waits_for_a_worker_that_is_busy():
    stage = scripted.Stage()
    for _ in range(3):  # calls are short, so that a worker would be expected to be free again soon
        call = stage.submit()
        if len(stage.actors) == 1 and not stage.listener.outcomes:
            await stage.ready(stage.actors[0])
        await stage.answer(stage.actors[0])
        await call
    stage.submit(ISOLATED)
    assert len(stage.actors) == 2
    stage.submit(ISOLATED)
    assert len(stage.actors) == 3
    await stage.close()


async def test_who_served_before_the_tag_came_serves_no_more():
    stage = scripted.Stage()
    first, second = stage.submit(), stage.submit()
    for actor in stage.actors[:2]:
        await stage.ready(actor)
    await stage.answer(stage.actors[0])
    await first
    stage.submit(ISOLATED)
    assert stage.actors[0].killed
    await stage.answer(stage.actors[1])
    await second
    assert stage.actors[1].killed
    assert len(stage.actors) == 3
    await stage.close()


async def test_nothing_is_held_ready_where_there_is_no_room_or_no_version_any_more():
    stage = scripted.Stage()
    call = stage.submit(ISOLATED)
    stage.launcher.room = False
    await stage.ready(stage.actors[0])
    await stage.answer(stage.actors[0])
    await call
    assert len(stage.actors) == 1
    stage.launcher.room = True
    call = stage.submit(ISOLATED)
    stage.pool.retire(ISOLATED.function_name, keep=lambda _key: False)
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    await call
    assert len(stage.actors) == 2
    await stage.close()
