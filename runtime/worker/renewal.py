"""What forks have in common and must not: what random numbers, identifiers and keys are made of.

Python renews some of it at every fork, and libraries by the pid; but workers are forked without Python's hooks, and
each is the first process of its namespace.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any


def renew() -> None:
    """Make it this process's own, of the modules that are loaded."""
    loaded: Any = sys.modules.get
    if (generator := loaded("random")) is not None:
        generator.seed()
    if (generators := loaded("numpy.random")) is not None:
        generators.seed()
    if (openssl := loaded("_ssl")) is not None:
        openssl.RAND_add(os.urandom(32), 0.0)
    if (identifiers := loaded("uuid")) is not None:
        identifiers._last_timestamp = None  # noqa: SLF001 - the only state of uuid1 that can be reached
    if (processes := loaded("multiprocessing.process")) is not None:
        processes.current_process().authkey = os.urandom(32)


def set_environment(wanted: Mapping[str, str]) -> None:
    """Make these all the variables that there are; most of them stand already, and to set one costs ten looks at it."""
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
