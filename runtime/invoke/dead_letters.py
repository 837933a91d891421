"""The local store of dead letters: what nobody took can be looked at, run again, or thrown away."""

import asyncio
from collections.abc import Sequence

from runtime import errors, model
from runtime.invoke import endings, events, retry
from runtime.invoke.queue import letters, rows

BATCH = 100
BATCH_BYTES = 8 * 1024 * 1024
_PURGED = 1000


@model.frozen
class Found:
    """A letter, read."""

    letter: rows.Letter
    ending: endings.Ending


class DeadLetters:
    """Letters, and what can be done with them; use from one event loop."""

    def __init__(self, queued: events.Events) -> None:
        self._store = queued.store
        self._events = queued
        self._taken: set[int] = set()

    async def newest(self, wanted: letters.Filter, limit: int) -> list[letters.Summary]:
        """Return letters, newest first."""
        return await asyncio.to_thread(letters.newest, self._store.path, wanted, limit)

    async def count(self, wanted: letters.Filter) -> tuple[int, int]:
        """Return how many letters there are, and the highest id of them."""
        return await asyncio.to_thread(letters.count, self._store.path, wanted)

    async def get(self, number: int) -> Found:
        """Return one letter; raise ResourceNotFound."""
        letter = await asyncio.to_thread(letters.one, self._store.path, number)
        if letter is None:
            raise errors.ResourceNotFound(f"There is no dead letter {number}.")
        return Found(letter=letter, ending=endings.Ending.decode(letter.about))

    async def redrive(self, wanted: letters.Filter, limit: int = BATCH) -> list[int]:
        """Run the oldest letters again, as new events with their old ids; return the letters' ids.

        A letter whose event succeeded, and only its delivery did not, is delivered again. Raises TooManyRequests where
        the queue takes none.
        """
        limit = max(1, min(limit, BATCH))
        found = await asyncio.to_thread(letters.oldest, self._store.path, wanted, limit, BATCH_BYTES)
        chosen = [letter for letter in found if letter.id not in self._taken]
        moved: list[rows.Letter] = []
        put: list[rows.Row] = []
        deliveries: list[rows.Row] = []
        for letter in chosen:
            ending = endings.Ending.decode(letter.about)
            if ending.condition is retry.Condition.SUCCESS:
                target = (ending.target, ending.queue)
                deliveries += self._events.deliverer.outgoing(ending.left(""), letter.body, [target])
            else:
                try:
                    put.append(self._events.restored(letter.function, ending.about.anew(), letter.body))
                except errors.TooManyRequests:
                    if not moved:
                        raise
                    break
            moved.append(letter)
        ids = [letter.id for letter in moved]
        if ids:
            self._taken.update(ids)
            await self._written(put, deliveries, unbury=ids)
        return ids

    async def purge(self, wanted: letters.Filter) -> int:
        """Remove letters for good; return how many."""
        gone = 0
        while chosen := await asyncio.to_thread(letters.ids, self._store.path, wanted, _PURGED):
            await self._written((), (), unbury=chosen)
            gone += len(chosen)
        return gone

    async def _written(self, put: Sequence[rows.Row], deliveries: Sequence[rows.Row], *, unbury: Sequence[int]) -> None:
        """Take letters out, and put in what they become, in one step; raise ServiceFault where the disk refuses."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def then(error: Exception | None) -> None:
            self._taken.difference_update(unbury)
            for row in put:
                self._events.written(row, error)
            self._events.deliverer.written(deliveries, error)
            if done.cancelled():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(errors.ServiceFault(f"The dead letters could not be changed: {error}."))

        self._store.apply(rows.Change(then, put=(*put, *deliveries), unbury=unbury))
        await asyncio.shield(done)
