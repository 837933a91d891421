"""What the queue keeps, as values; they are the rows of the store. Times are Unix seconds.

A *row* is something to be done when it is due: an event to be run, or a record to be delivered. It waits in a *lane*:
an event in that of its function, a delivery in that of its target, whose name is an ARN. A *letter* is an event that
ended without anybody having taken it: it stays until somebody looks.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """Something to be done."""

    id: int
    lane: str
    due: float
    size: int
    """Bytes of ``body``."""
    accepted: float
    tries: int
    """How often it was run."""
    about: bytes
    """What is known of it; the queue does not look inside."""
    body: bytes


class Move(NamedTuple):
    """A row that is to be done again later."""

    due: float
    tries: int
    about: bytes
    id: int


class Letter(NamedTuple):
    """An event that ended without a taker."""

    id: int
    function: str
    ended: float
    condition: str
    error_type: str
    size: int
    """Bytes of ``body``."""
    about: bytes
    body: bytes


class Backlog(NamedTuple):
    """How much a lane holds."""

    lane: str
    depth: int
    size: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Rows of a lane that are due, oldest first."""

    lane: str
    rows: Sequence[Row]
    more: bool
    """Whether further rows are due."""
    next_due: float | None
    """Of the first row that is not yet due."""


class Change:
    """Changes that take effect together or not at all; ``then`` hears on the event loop, with the error if any."""

    __slots__ = ("bury", "drop", "keep", "lazy", "move", "put", "then", "unbury")

    def __init__(
        self,
        then: Callable[[Exception | None], None],
        *,
        put: Sequence[Row] = (),
        drop: Sequence[int] = (),
        move: Sequence[Move] = (),
        bury: Sequence[Letter] = (),
        unbury: Sequence[int] = (),
        keep: bool = False,
        lazy: bool = False,
    ) -> None:
        self.then = then
        self.put = put
        self.drop = drop
        self.move = move
        self.bury = bury
        self.unbury = unbury
        self.keep = keep
        """Whether it is tried again until it can be written: what was done cannot be undone."""
        self.lazy = lazy
        """Whether it may wait a moment for others to share a transaction with: nobody is waiting for it."""
