"""Which folders of code a pool's workers run from."""

import dataclasses
from pathlib import Path

import pytest
import scripted


@pytest.fixture
async def stage():
    one = scripted.Stage()
    yield one
    await one.close()


async def test_folders_are_in_use_from_the_call_to_the_workers_end(stage):
    assert stage.pool.folders() == set()
    code = Path(scripted.VERSION.code_path)
    call = stage.submit()
    assert stage.pool.folders() == {code}
    await stage.ready(stage.actors[0])
    await stage.answer(stage.actors[0])
    await call
    layered = stage.submit(version=dataclasses.replace(scripted.VERSION, generation="2", layer_path="/layers"))
    assert stage.pool.folders() == {code, Path("/layers")}
    stage.pool.retire(scripted.VERSION.function_name, keep=lambda key: key.generation == "2")
    assert stage.pool.folders() == {code, Path("/layers")}, "it was killed, but is not gone"
    stage.actors[0].exit()
    assert stage.pool.folders() == {code, Path("/layers")}, "the other one runs from the same code"
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    await layered
    stage.pool.retire(scripted.VERSION.function_name, keep=lambda key: False)
    stage.actors[1].exit()
    await scripted.until(lambda: stage.pool.workers == 0)
    assert stage.pool.folders() == set()
