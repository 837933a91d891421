"""A registry on a fake store and a counting clock, and settings for its functions."""

import itertools

from runtime import errors
from runtime.registry import code, names, registry, store

SETTINGS = {
    "Runtime": "python3.11",
    "Handler": "app.handler",
    "Role": "arn:aws:iam::000000000000:role/any",
    "Description": "",
    "Timeout": 3,
    "MemorySize": 128,
    "EphemeralStorage": {"Size": 512},
    "SnapStart": {"ApplyOn": "None"},
    "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
    "Environment": {"Variables": {"KEY": "value"}},
}
F = names.FunctionRef(name="f")


async def fake_unpack(zip_path, destination, limit):
    """Make one file that holds the zip; a zip that starts with "bad" is refused."""
    data = zip_path.read_bytes()
    if data.startswith(b"bad"):
        raise errors.InvalidParameterValue("Could not unzip uploaded file.")
    if len(data) > limit:
        raise errors.InvalidParameterValue("Unzipped size must be smaller than 262144000 bytes")
    (destination / "file").write_bytes(data)
    return len(data)


def make(folder, kept=None):
    """Return a registry whose ids are id-1, id-2 ... and whose clock goes by milliseconds."""
    ids = (f"id-{number}" for number in itertools.count(1))
    times = itertools.count(1_700_000_000_000)
    return registry.Registry(
        store.MemoryStore() if kept is None else kept,
        code.CodeStore(folder, fake_unpack),
        names.Site(),
        clock=lambda: next(times) / 1000,
        new_id=lambda: next(ids),
    )
