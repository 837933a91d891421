"""Code that is found by running it, and moved."""

import subprocess

import psutil
import pytest
import served

from runtime.worker import hotcode

PROGRAM = """
import sys
sys.path += sys.argv[1:]
from runtime.worker import holes, hotcode
import textwrap
def outer(number):
    def inner():
        return number + 1
    return [inner() for _ in range(2)]
class Kind:
    def method(self, default=[]):
        return default, __class__
def idle():
    return "idle"
watched = hotcode.run_by(lambda: (outer(1), Kind().method()))
before = {one: one.__code__ for one in (outer, Kind.method, idle)}
assert {id(before[one]) for one in before} & watched == {id(before[outer]), id(before[Kind.method])}
hotcode.move(watched)
assert outer.__code__ is not before[outer] and outer.__code__ == before[outer]
assert Kind.method.__code__ is not before[Kind.method]
assert idle.__code__ is before[idle]
assert outer(1) == [2, 2] and Kind().method() == ([], Kind)
many = [function for function in vars(textwrap.TextWrapper).values() if hasattr(function, "__code__")]
holes.fill()
hotcode.move({id(function.__code__) for function in many})
assert textwrap.wrap("a b c", 2) == ["a", "b", "c"]
places = sorted(id(function.__code__) for function in many)
assert places[-1] - places[0] < 6 * sum(sys.getsizeof(function.__code__) for function in many), places
"""


class _Noted(type):
    """Of classes whose attributes are looked up by name."""

    def __getattribute__(cls, name):
        if name == "method":
            looked_up.append(cls)
        return super().__getattribute__(name)


class Kind(metaclass=_Noted):
    """Has a method, and what must not be computed."""

    def method(self):
        """Be looked up."""

    @property
    def costly(self):
        """Fail."""
        raise AssertionError


looked_up = []


@pytest.mark.parametrize("interpreter", served.INTERPRETERS, ids=served.name_of)
def test_what_runs_is_moved_and_runs_on(interpreter):
    path = [str(served.ROOT), str(served.SITE)]
    subprocess.run([interpreter, "-I", "-S", "-c", PROGRAM, *path], check=True, timeout=60)


def test_what_is_watched_is_done_in_a_child_that_is_waited_for():
    seen = []
    before = psutil.Process().children()
    assert hotcode.run_by(lambda: seen.append(1))
    assert not seen
    assert psutil.Process().children() == before


def test_what_a_function_names_is_looked_up_at_classes_and_nothing_is_run():
    def use(kind):
        return subprocess.nothing_there, kind.costly, kind.method()

    hotcode.look_up([use])
    assert looked_up == [Kind]
