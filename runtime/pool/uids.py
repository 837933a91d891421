"""Which host uid runs which function. Pure.

No uid is two functions', so that the kernel keeps their processes and files apart even where a namespace should fail; a
uid is given to another only after its last worker, and with it every file of it, is gone. A function has one, and one
more for each worker that was a blank, which has its own before it is known for which function.
"""

from collections import deque

from runtime import errors


class Uids:
    """A range of uids."""

    def __init__(self, base: int, count: int) -> None:
        self._free = deque(range(base, base + count))
        self._least = count // 2
        """How many are kept for functions."""
        self._held: dict[str, tuple[int, int]] = {}

    def take(self, owner: str) -> int:
        """Return the uid of a function, or a blank, for one more worker; raise WorkerLost where the range is spent."""
        uid, workers = self._held.get(owner, (0, 0))
        if not workers:
            if not self._free:
                raise errors.WorkerLost("every uid of the range is in use: raise sandbox.uid_count")
            uid = self._free.popleft()
        self._held[owner] = (uid, workers + 1)
        return uid

    def take_ahead(self, owner: str) -> int:
        """Return a uid for a blank, which is nobody else's; raise WorkerLost where functions may need what is left."""
        if len(self._free) <= self._least:
            raise errors.WorkerLost("half of the range of uids is in use, the others are not for blanks")
        return self.take(owner)

    def give_back(self, owner: str) -> None:
        """Note that one of its workers is gone with all its files."""
        uid, workers = self._held[owner]
        if workers > 1:
            self._held[owner] = (uid, workers - 1)
        else:
            del self._held[owner]
            self._free.append(uid)
