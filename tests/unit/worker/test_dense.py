"""Objects that malloc makes for a while, in each interpreter that is here."""

import subprocess

import pytest
import served

PROGRAM = """
import gc, sys
sys.path.append(sys.argv[1])
from runtime.worker import dense, holes
sizes = range(40, 480, 3)
def made():
    return [bytes(size) for size in sizes for _ in range(3)]
def pages(objects):
    return len({id(one) // 4096 for one in objects})
holes.fill()
usual = made()
with dense.allocation():
    together = made()
    table = {str(number): [number] * 20 for number in range(1000)}
    texts = "".join(str(number) for number in range(1000))
after = made()
print(pages(usual), pages(together), pages(after))
# What the one made the other frees, and makes larger.
table.update({str(number): 0 for number in range(1000, 5000)})
for values in table.values():
    if values:
        values += values * 50
assert len(texts) == 2890 and table["999"][-1] == 999
with dense.allocation():
    del usual
    after += made()
del table, together, after
gc.collect()
assert made() == made()
try:
    with dense.allocation():
        raise KeyError
except KeyError:
    print(pages(made()) > pages(texts))
"""


@pytest.mark.parametrize("interpreter", served.INTERPRETERS, ids=served.name_of)
def test_they_lie_together_and_are_freed_as_ever(interpreter):
    command = [interpreter, "-I", "-S", "-c", PROGRAM, str(served.ROOT)]
    said = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout.split()
    usual, together, after = map(int, said[:3])
    assert together < usual / 1.3
    assert after > together
    assert said[3] == "True"
