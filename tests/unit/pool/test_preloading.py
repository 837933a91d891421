"""Which zygote a version's workers come from, by what its folders hold."""

import asyncio
import dataclasses

import pytest
import scripted

from runtime.pool import preloading


class Forks:
    def __init__(self):
        self.down = ""
        self.started = []

    def warm(self, zygote):
        self.started.append(zygote)
        return self.down

    def conflicts(self, zygote):
        return frozenset({"botocore", "urllib3", "queue", "awscrt"})


@pytest.fixture
def forks():
    return Forks()


def version(tmp_path, files, *, layers=None, **environment):
    for folder, content in (("code", files), ("layers", layers or {})):
        for name, text in content.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return dataclasses.replace(
        scripted.VERSION,
        code_path=str(tmp_path / "code"),
        layer_path=str(tmp_path / "layers") if layers else None,
        environment=environment,
    )


async def chosen(forks, one, mode="auto"):
    """Return the choice for a version when it was looked through."""
    async with asyncio.TaskGroup() as tasks:
        choice = preloading.Preloading(forks, mode, tasks.create_task)
        choice.examine(one)
    return choice.choose(one)


async def test_a_function_that_names_the_sdk_gets_the_zygote_that_has_it(forks, tmp_path):
    one = version(tmp_path, {"handler.py": "x", "lib/store.py": "import boto3"})
    assert await chosen(forks, one) == preloading.Choice(f"{one.runtime}+sdk", "lib/store.py names boto3")


async def test_that_zygote_is_started_when_the_function_is_made(forks, tmp_path):
    one = version(tmp_path, {"handler.py": "import boto3"})
    async with asyncio.TaskGroup() as tasks:
        preloading.Preloading(forks, "auto", tasks.create_task).examine(one)
    assert forks.started == [f"{one.runtime}+sdk"]


async def test_one_that_does_not_gets_the_plain_one_and_starts_no_other(forks, tmp_path):
    one = version(tmp_path, {"handler.py": "import json # boto33", "readme.txt": "boto3"})
    assert (await chosen(forks, one)).zygote == one.runtime
    assert forks.started == []


async def test_a_layer_may_name_it(forks, tmp_path):
    one = version(tmp_path, {"handler.py": ""}, layers={"python/tools.py": "from botocore import config"})
    assert (await chosen(forks, one)).zygote.endswith("+sdk")


@pytest.mark.parametrize(
    "files", [{"botocore/__init__.py": ""}, {"urllib3.py": ""}, {"queue.pyc": ""}, {"awscrt.abi3.so": ""}]
)
async def test_one_that_brings_what_was_imported_gets_the_plain_one(forks, tmp_path, files):
    one = version(tmp_path, {"handler.py": "import boto3", **files})
    choice = await chosen(forks, one)
    assert choice.zygote == one.runtime
    assert choice.reason.startswith("it brings ")


@pytest.mark.parametrize(
    "files", [{"botocore/data.json": ""}, {"urllib3.txt": ""}, {"urllib3-2.0.dist-info/METADATA": ""}]
)
async def test_what_cannot_be_imported_brings_nothing(forks, tmp_path, files):
    one = version(tmp_path, {"handler.py": "import boto3", **files})
    assert (await chosen(forks, one)).zygote.endswith("+sdk")


@pytest.mark.parametrize("folder", ["python", "python/lib/{runtime}/site-packages"])
async def test_a_layer_may_bring_it(forks, tmp_path, folder):
    folder = folder.format(runtime=scripted.VERSION.runtime)
    one = version(tmp_path, {"handler.py": "import boto3"}, layers={f"{folder}/urllib3/__init__.py": ""})
    assert (await chosen(forks, one)).reason == "it brings urllib3"


@pytest.mark.parametrize("entry", ["/var/task/more", "/opt/more", "/elsewhere:/var/task/more/../more"])
async def test_a_variable_may_lead_to_it(forks, tmp_path, entry):
    more = {"more/urllib3.py": ""}
    one = version(tmp_path, {"handler.py": "import boto3", **more}, layers=more, PYTHONPATH=entry)
    assert (await chosen(forks, one)).reason == "it brings urllib3"


async def test_until_the_zygote_is_up_there_is_the_plain_one(forks, tmp_path):
    one = version(tmp_path, {"handler.py": "import boto3"})
    forks.down = "is being started"
    choice = await chosen(forks, one)
    assert choice.zygote == one.runtime
    assert choice.reason == "handler.py names boto3, but the zygote that has it is being started"
    assert forks.started == [f"{one.runtime}+sdk"] * 2, "when it was looked through, and when it was chosen"


async def test_nobody_waits_for_the_look(forks, tmp_path):
    one = version(tmp_path, {"handler.py": "import boto3"})
    async with asyncio.TaskGroup() as tasks:
        choice = preloading.Preloading(forks, "auto", tasks.create_task)
        assert choice.choose(one).zygote == one.runtime
    assert choice.choose(one).zygote.endswith("+sdk")


async def test_off_is_off(forks, tmp_path):
    one = version(tmp_path, {"handler.py": "import boto3"})
    assert (await chosen(forks, one, "off")) == preloading.Choice(one.runtime, "preloading is off")


async def test_code_that_went_meanwhile_is_nobodys_trouble(forks, tmp_path):
    one = dataclasses.replace(scripted.VERSION, code_path=str(tmp_path / "gone"))
    async with asyncio.TaskGroup() as tasks:
        choice = preloading.Preloading(forks, "auto", tasks.create_task)
        choice.examine(one)
        assert choice.choose(one).zygote == one.runtime
