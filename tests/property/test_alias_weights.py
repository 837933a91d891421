"""The weights of an alias hold: by a chi-square test of many calls, with a fixed seed."""

import random

import pytest

from runtime import model
from runtime.invoke import router
from runtime.registry import aliases, code, functions, names, registry, store, versions

CALLS = 20_000
CRITICAL = 10.83
"""Of chi-square with one degree of freedom, at p = 0.001."""
SETTINGS = {
    "Runtime": "python3.11",
    "Handler": "app.handler",
    "Role": "arn:aws:iam::000000000000:role/any",
    "Timeout": 3,
    "MemorySize": 128,
    "EphemeralStorage": {"Size": 512},
    "SnapStart": {"ApplyOn": "None"},
    "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
}


async def unpack(zip_path, destination, limit):
    return 0


@pytest.fixture
async def book(tmp_path):
    one = registry.Registry(store.MemoryStore(), code.CodeStore(tmp_path, unpack), names.Site())
    await functions.create(one, "f", SETTINGS, b"zip", publish=True)
    ref = names.FunctionRef(name="f")
    await functions.update_settings(one, ref, lambda settings: {**settings, "Timeout": 4})
    await versions.publish(one, ref)
    return one


def chi_square(counts, shares):
    expected = {number: CALLS * share for number, share in shares.items()}
    return sum((counts.get(number, 0) - wanted) ** 2 / wanted for number, wanted in expected.items())


@pytest.mark.parametrize("weight", [0.01, 0.1, 0.3, 0.5, 0.9])
async def test_calls_are_shared_as_the_weights_say(book, weight):
    await aliases.create(book, "f", "live", "1", weights={"2": weight})
    draw = random.Random(20_260_101)
    counts: dict[str, int] = {}
    for _ in range(CALLS):
        version: model.Version = router.choose(book.route("f", "live"), draw.random())
        counts[version.version] = counts.get(version.version, 0) + 1
    assert chi_square(counts, {"1": 1 - weight, "2": weight}) < CRITICAL
    wrong = min(0.99, weight + 0.02)
    assert chi_square(counts, {"1": 1 - wrong, "2": wrong}) > CRITICAL, "the test would notice a weight that is off"
