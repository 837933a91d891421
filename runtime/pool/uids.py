"""Which host uid runs which function. Pure.

One uid a function, so that the kernel keeps two functions' processes and files apart even where a namespace should
fail; a uid is given to another function only after its last worker, and with it every file of it, is gone.
"""

from collections import deque

from runtime import errors


class Uids:
    """A range of uids."""

    def __init__(self, base: int, count: int) -> None:
        self._free = deque(range(base, base + count))
        self._held: dict[str, tuple[int, int]] = {}

    def take(self, function_name: str) -> int:
        """Return the function's uid for one more worker; raise WorkerLost where the range is spent."""
        uid, workers = self._held.get(function_name, (0, 0))
        if not workers:
            if not self._free:
                raise errors.WorkerLost("every uid of the range is in use: raise sandbox.uid_count")
            uid = self._free.popleft()
        self._held[function_name] = (uid, workers + 1)
        return uid

    def give_back(self, function_name: str) -> None:
        """Note that one worker of the function is gone with all its files."""
        uid, workers = self._held[function_name]
        if workers > 1:
            self._held[function_name] = (uid, workers - 1)
        else:
            del self._held[function_name]
            self._free.append(uid)
