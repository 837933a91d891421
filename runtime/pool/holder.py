"""What every worker's process has, whoever forked it: what is held for it, and somebody who waits until it is made."""

from collections.abc import Callable, Iterable

from runtime.pool import holding, process


class Holder:
    """Half of a ``process.Process``: what goes to what it holds."""

    __slots__ = ("_held", "_listener", "on_made")

    def __init__(self, held: holding.Holding, listener: process.Listener) -> None:
        """``held`` is the process's from now on, until ``release``; ``listener`` hears of it as long."""
        self._held = held
        self._listener = listener
        self.on_made: Callable[[], None] | None = None
        """Called once: when its sandbox stands, or will not."""

    def confined(self) -> None:
        """Tell that it is made, or never will be."""
        if self.on_made is not None:
            said, self.on_made = self.on_made, None
            said()

    def waits(self) -> None:
        """Hear that it has started as far as it will before it is given a call: others may have its processor time."""
        self._held.started()

    def initialised(self) -> None:
        """Hold it to its share of the CPU."""
        self._held.initialised()

    def served(self) -> None:
        """Hear that it answered its first call, which is nothing to most."""

    def freeze(self) -> bool:
        """Stop it and everything it started. False: call it again."""
        return self._held.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        self._held.thaw()

    def bind(self, processors: Iterable[int]) -> bool:
        """Let it run on these processors alone; return whether that could be done."""
        return self._held.bind(processors)

    def memory_peak(self) -> int:
        """Return the most memory it has used so far, in bytes; of a copy, with what it shares with its template."""
        return self._held.peak_bytes()

    def cpu_s(self) -> float:
        """Return the processor time that a template or a copy has used; 0 where nothing counts it."""
        return self._held.group.cpu_us() * 1e-6

    def ran_out_of_memory(self) -> bool:
        """Return whether the kernel killed something of it for want of memory."""
        return self._held.ran_out_of_memory()

    def release(self) -> None:
        """Give back what it held."""
        self._held.give_back()
        # It refers to us as well. A thousand that end at once would leave the collector work for tens of milliseconds.
        self._listener = process.NOBODY
