"""Where new objects come to lie once the holes are filled, in each interpreter that is here."""

import subprocess

import pytest
import served

PROGRAM = """
import sys
sys.path.append(sys.argv[1])
from runtime.worker import holes
small = [bytes(100) for _ in range(10000)]
large = [bytes(3000) for _ in range(2000)]
del small[::2], large[::2]
if sys.argv[2] == "filled":
    holes.fill()
old = {id(one) // 4096 for one in (*small, *large)}
new = [bytes(100) for _ in range(500)] + [bytes(3000) for _ in range(100)]
print(len({id(one) // 4096 for one in new} & old))
"""


def pages_between_the_old(interpreter, mode):
    command = [interpreter, "-I", "-S", "-c", PROGRAM, str(served.ROOT), mode]
    return int(subprocess.run(command, check=True, timeout=60, capture_output=True).stdout)


@pytest.mark.parametrize("interpreter", served.INTERPRETERS, ids=served.name_of)
def test_new_objects_do_not_come_between_old_ones(interpreter):
    assert pages_between_the_old(interpreter, "filled") <= 2
    assert pages_between_the_old(interpreter, "as it is") > 50, "there are no holes to fill"
