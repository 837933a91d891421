"""The states of a worker, and the only way from one to another.

A slot is the pool's record of one worker process, named by an id of our own and never by its pid. Every change
of state goes through ``Slot.apply``, which looks the pair (state, event) up in one table; a pair that is absent
is a bug of ours and raises InvalidTransition. Frames may still be in the pipe when we have said stop, so
STOPPING accepts what a worker may have sent before it heard.

Pure: no I/O, no clock.
"""

import enum
from types import MappingProxyType

from runtime import errors


class State(enum.Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    """Asked for; being forked, confined, or importing its handler."""
    IDLE = "idle"
    BUSY = "busy"
    """Serving one invocation."""
    DRAINING = "draining"
    """Serving its last invocation."""
    STOPPING = "stopping"
    """Told to die; nothing it still says counts."""
    DEAD = "dead"

    __hash__ = object.__hash__  # members are singletons; enum's own hashes the name, which is slower


class Event(enum.Enum):
    """What may happen to a worker."""

    READY = "ready"
    """It imported its handler."""
    ASSIGN = "assign"
    """It was given an invocation."""
    FINISH = "finish"
    """It answered."""
    DRAIN = "drain"
    """It is not to be given another invocation."""
    KILL = "kill"
    """It was killed: deadline, broken protocol, eviction, shutdown."""
    EXIT = "exit"
    """Its process is gone."""

    __hash__ = object.__hash__


TRANSITIONS: MappingProxyType[tuple[State, Event], State] = MappingProxyType(
    {
        (State.STARTING, Event.READY): State.IDLE,
        (State.STARTING, Event.DRAIN): State.STOPPING,
        (State.STARTING, Event.KILL): State.STOPPING,
        (State.STARTING, Event.EXIT): State.DEAD,
        (State.IDLE, Event.ASSIGN): State.BUSY,
        (State.IDLE, Event.DRAIN): State.STOPPING,
        (State.IDLE, Event.KILL): State.STOPPING,
        (State.IDLE, Event.EXIT): State.DEAD,
        (State.BUSY, Event.FINISH): State.IDLE,
        (State.BUSY, Event.DRAIN): State.DRAINING,
        (State.BUSY, Event.KILL): State.STOPPING,
        (State.BUSY, Event.EXIT): State.DEAD,
        (State.DRAINING, Event.FINISH): State.STOPPING,
        (State.DRAINING, Event.DRAIN): State.DRAINING,
        (State.DRAINING, Event.KILL): State.STOPPING,
        (State.DRAINING, Event.EXIT): State.DEAD,
        (State.STOPPING, Event.READY): State.STOPPING,
        (State.STOPPING, Event.FINISH): State.STOPPING,
        (State.STOPPING, Event.DRAIN): State.STOPPING,
        (State.STOPPING, Event.KILL): State.STOPPING,
        (State.STOPPING, Event.EXIT): State.DEAD,
    }
)

ALIVE = frozenset(State) - {State.DEAD}


class Slot:
    """One worker's state."""

    __slots__ = ("id", "state")

    def __init__(self, slot_id: int) -> None:
        self.id = slot_id
        self.state = State.STARTING

    def apply(self, event: Event) -> State:
        """Move along the table and return the new state; raise InvalidTransition where there is no way."""
        try:
            self.state = TRANSITIONS[self.state, event]
        except KeyError:
            raise errors.InvalidTransition(f"worker {self.id} is {self.state.value}: no {event.value}") from None
        return self.state

    def __repr__(self) -> str:
        return f"<Slot {self.id} {self.state.value}>"
