"""Objects that are not counted, in each interpreter that is here."""

import subprocess

import pytest
import served

PROGRAM = """
import gc, sys
sys.path.append(sys.argv[1])
from runtime.worker import immortal
class Kept:
    def method(self):
        return "a text of its own, " + str(len("another"))
kept, inner = Kept(), "".join(["in", "ner"])
kept.values = [{"key": (inner, 1.5)}]
never = sys.getrefcount(None)
old = object()
usual = sys.getrefcount(old)
immortal.keep_all()
new = object()
assert sys.getrefcount(new) == usual
hidden = Kept.method.__code__.co_linetable
counts = [sys.getrefcount(one) for one in (kept, kept.values, inner, Kept.method, Kept.method.__code__, hidden, sys)]
if sys.version_info >= (3, 12):
    assert counts == [never] * 7, counts
else:
    assert max(counts) < 1000, counts
for _ in range(10):
    kept.values.append(Kept().method())
    gc.collect()
kept.values.clear()
del kept, Kept
gc.freeze()
gc.collect()
assert inner == "inner"
"""


@pytest.mark.parametrize("interpreter", served.INTERPRETERS, ids=served.name_of)
def test_what_is_there_is_counted_no_more_and_works_as_before(interpreter):
    subprocess.run([interpreter, "-I", "-S", "-c", PROGRAM, str(served.ROOT)], check=True, timeout=60)
