"""Random sequences of changes against a small model of functions, versions and aliases.

After every step the registry says what the model says, and so does a second registry started on the same store, as
after a crash; no code is lost and none is left over; revision ids and generations change exactly when they should.
"""

import asyncio
import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import stateful
from hypothesis import strategies as st

from runtime import errors
from runtime.registry import aliases, code, functions, names, registry, store, versions

SETTINGS = {
    "Runtime": "python3.11",
    "Handler": "app.handler",
    "Role": "arn:aws:iam::000000000000:role/any",
    "MemorySize": 128,
    "EphemeralStorage": {"Size": 512},
    "SnapStart": {"ApplyOn": "None"},
    "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
}


async def fake_unpack(zip_path, destination, limit):
    """Make one file that holds the zip."""
    (destination / "file").write_bytes(zip_path.read_bytes())
    return 1


NAMES = st.sampled_from(["f", "g"])
ALIASES = st.sampled_from(["live", "next"])
NUMBERS = st.sampled_from(["$LATEST", "1", "2", "3", "9"])
CONTENTS = st.tuples(st.sampled_from([b"one", b"two"]), st.integers(3, 5))


class Model:
    """One function as it should be: contents are (zip, timeout)."""

    def __init__(self, content):
        self.latest = content
        self.versions = {}
        self.next = 1
        self.newest = None
        self.aliases = {}

    def exists(self, number):
        return number == "$LATEST" or number in self.versions

    def content(self, qualifier):
        number, _ = self.aliases.get(qualifier, (qualifier, None))
        return self.latest if number == "$LATEST" else self.versions[number]


class Registry(stateful.RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = store.MemoryStore()
        self.runner = asyncio.Runner()
        self.book = self.open()
        self.model = {}
        self.revisions = set()
        self.heard = []
        self.book.subscribe(self.heard.append)

    def open(self):
        packages = code.CodeStore(Path(self.folder.name), fake_unpack)
        return registry.Registry(self.store, packages, names.Site())

    def teardown(self):
        self.runner.close()
        self.folder.cleanup()

    def run(self, coroutine):
        self.heard.clear()
        return self.runner.run(coroutine)

    def expect(self, error, coroutine):
        before = dict(self.store._documents)
        with pytest.raises(error):
            self.run(coroutine)
        assert self.store._documents == before
        assert self.heard == []

    def fresh(self, revision):
        """A revision id was never seen before."""
        assert revision not in self.revisions
        self.revisions.add(revision)

    @stateful.rule(name=NAMES, content=CONTENTS, publish=st.booleans())
    def create(self, name, content, publish):
        data, timeout = content
        call = functions.create(self.book, name, {**SETTINGS, "Timeout": timeout}, data, publish=publish)
        if name in self.model:
            self.expect(errors.ResourceConflict, call)
            return
        shown = self.run(call)
        self.fresh(shown.revision_id)
        function = self.model[name] = Model(content)
        if publish:
            function.versions["1"], function.newest, function.next = content, "1", 2
        assert (shown.state, shown.number) == ("Pending", "1" if publish else "$LATEST")
        assert self.heard[0].generations.keys() == {"$LATEST", *function.versions}

    @stateful.rule(name=NAMES, content=CONTENTS, publish=st.booleans())
    def update_code(self, name, content, publish):
        ref = names.FunctionRef(name=name)
        call = functions.update_code(self.book, ref, content[0], publish=publish)
        if name not in self.model:
            self.expect(errors.ResourceNotFound, call)
            return
        function = self.model[name]
        changed = content[0] != function.latest[0]
        function.latest = (content[0], function.latest[1])
        shown = self.run(call)
        expected = {"$LATEST"} if changed else set()
        if publish:
            number, new = self.published(function)
            assert shown.number == number
            expected |= {number} if new else set()
        assert self.heard[0].generations.keys() == expected

    @stateful.rule(name=NAMES, timeout=st.integers(3, 5))
    def update_settings(self, name, timeout):
        ref = names.FunctionRef(name=name)
        call = functions.update_settings(self.book, ref, lambda settings: {**settings, "Timeout": timeout})
        if name not in self.model:
            self.expect(errors.ResourceNotFound, call)
            return
        function = self.model[name]
        changed = timeout != function.latest[1]
        function.latest = (function.latest[0], timeout)
        shown = self.run(call)
        self.fresh(shown.revision_id)
        assert shown.update_status == "InProgress"
        assert self.heard[0].generations.keys() == ({"$LATEST"} if changed else set())

    @staticmethod
    def published(function):
        """Publish in the model: return the number, and whether it is new."""
        if function.versions.get(function.newest) == function.latest:
            return function.newest, False
        number = str(function.next)
        function.versions[number], function.newest = function.latest, number
        function.next += 1
        return number, True

    @stateful.rule(name=NAMES)
    def publish(self, name):
        ref = names.FunctionRef(name=name)
        if name not in self.model:
            self.expect(errors.ResourceNotFound, versions.publish(self.book, ref))
            return
        before = self.book.resolve(ref)
        shown = self.run(versions.publish(self.book, ref))
        after = self.book.resolve(ref)
        number, new = self.published(self.model[name])
        assert shown.number == number
        assert after.generation == before.generation
        assert (after.revision_id != before.revision_id) == new
        if new:
            self.fresh(shown.revision_id)
            assert shown.generation == after.generation
        assert len(self.heard) == new

    @stateful.rule(name=NAMES, number=NUMBERS)
    def delete_version(self, name, number):
        call = functions.delete(self.book, names.FunctionRef(name=name, qualifier=number))
        function = self.model.get(name)
        if number == "$LATEST":
            self.expect(errors.InvalidParameterValue, call)
        elif function is None:
            self.expect(errors.ResourceNotFound, call)
        elif any(number in (alias[0], alias[1]) for alias in function.aliases.values()) and function.exists(number):
            self.expect(errors.ResourceConflict, call)
        else:
            self.run(call)
            function.versions.pop(number, None)

    @stateful.rule(name=NAMES)
    def delete(self, name):
        call = functions.delete(self.book, names.FunctionRef(name=name))
        if name not in self.model:
            self.expect(errors.ResourceNotFound, call)
            return
        self.run(call)
        gone = self.model.pop(name)
        assert dict(self.heard[0].generations) == dict.fromkeys(["$LATEST", *gone.versions])

    @stateful.rule(name=NAMES, alias=ALIASES, number=NUMBERS, other=st.none() | NUMBERS)
    def create_alias(self, name, alias, number, other):
        weights = {} if other is None else {other: 0.5}
        self.change_alias(name, alias, number, other, aliases.create(self.book, name, alias, number, weights=weights))

    @stateful.rule(name=NAMES, alias=ALIASES, number=NUMBERS, other=st.none() | NUMBERS)
    def update_alias(self, name, alias, number, other):
        weights = {} if other is None else {other: 0.5}
        call = aliases.update(self.book, name, alias, version=number, weights=weights)
        self.change_alias(name, alias, number, other, call, present=True)

    def change_alias(self, name, alias, number, other, call, *, present=False):
        function = self.model.get(name)
        bad = other is not None and ("$LATEST" in (number, other) or number == other)
        if function is None:
            self.expect(errors.ResourceNotFound, call)
        elif (alias in function.aliases) != present or bad or not all(map(function.exists, {number, other or number})):
            self.expect(errors.ApiError, call)
        else:
            self.fresh(self.run(call).revision_id)
            function.aliases[alias] = (number, other)

    @stateful.rule(name=NAMES, alias=ALIASES)
    def delete_alias(self, name, alias):
        call = aliases.delete(self.book, name, alias)
        if name not in self.model:
            self.expect(errors.ResourceNotFound, call)
            return
        self.run(call)
        self.model[name].aliases.pop(alias, None)

    @stateful.rule()
    def collect(self):
        self.run(self.book.collect())

    @stateful.rule()
    def restart(self):
        self.book = self.open()
        self.book.subscribe(self.heard.append)
        self.run(self.book.collect(everything=True))
        contents = [each for one in self.model.values() for each in (one.latest, *one.versions.values())]
        assert len(self.book.code.known()) == len({data for data, _ in contents})

    @stateful.invariant()
    def everybody_says_what_the_model_says(self):
        crashed = registry.Registry(self.store, self.book.code, names.Site())
        for book in (self.book, crashed):
            assert {function.name for function in book.ledger.functions(None, 10)} == self.model.keys()
            for name, function in self.model.items():
                assert [version.number for version in book.ledger.versions(name)] == sorted(function.versions, key=int)
                for qualifier in [None, "$LATEST", *function.versions, *function.aliases]:
                    route = book.route(name, qualifier)
                    data, timeout = function.content(qualifier or "$LATEST")
                    assert route.version.timeout_s == timeout
                    assert (Path(route.version.code_path) / "file").read_bytes() == data
                    other = function.aliases.get(qualifier, (None, None))[1]
                    assert (route.additional.version if route.additional else None) == other
        for name in {"f", "g"} - self.model.keys():
            with pytest.raises(errors.ResourceNotFound):
                self.book.route(name, None)


Registry.TestCase.settings = hypothesis.settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
TestRegistry = Registry.TestCase
