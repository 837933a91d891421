"""Records between memory and store: a bounded cache in front, one change at a time behind.

Reads are synchronous: from the cache, else one primary-key read. A change takes the lock, reads what is, decides,
and calls ``save``; memory changes when the store has it, in one step of the event loop, and then those who
subscribed hear of it. So what a caller was told survives a crash, and nobody reads what may yet be lost.
"""

import asyncio
import collections
import dataclasses
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from runtime import model
from runtime.registry import records, store

FUNCTION, VERSION, CONCURRENCY, LAYER, LAYER_VERSION = "function", "version", "concurrency", "layer", "layer-version"
_CACHED = 16_384
"""Records of each kind kept in memory: a few KB each."""
_PAGE = 1000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A function changed: routes to it are to be dropped."""

    function_name: str
    generations: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    """Versions with their new generation, None for those deleted: workers of any other generation are to go."""


class Cache(Generic[K, V]):
    """Keeps the entries used most recently."""

    def __init__(self, size: int = _CACHED) -> None:
        self._entries: collections.OrderedDict[K, V] = collections.OrderedDict()
        self._size = size

    def get(self, key: K) -> V | None:
        """Return an entry, or None."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: K, entry: V) -> K | None:
        """Keep an entry; return the key of one that went for it."""
        self._entries[key] = entry
        self._entries.move_to_end(key)
        return self._entries.popitem(last=False)[0] if len(self._entries) > self._size else None

    def drop(self, key: K) -> None:
        """Forget an entry, if it is there."""
        self._entries.pop(key, None)


class Ledger:
    """All functions and versions."""

    def __init__(self, kept: store.Store) -> None:
        self.store = kept
        self.lock = asyncio.Lock()
        self._functions: Cache[str, records.FunctionRecord] = Cache()
        self._versions: Cache[tuple[str, str], records.VersionRecord] = Cache()
        self._subscribers: list[Callable[[Changed], None]] = []

    def subscribe(self, listener: Callable[[Changed], None]) -> None:
        """Have a function called, on the event loop, after each change. It must not raise."""
        self._subscribers.append(listener)

    def function(self, name: str) -> records.FunctionRecord | None:
        """Return a function, or None."""
        record = self._functions.get(name)
        if record is None:
            body = self.store.get(store.Key(FUNCTION, name))
            if body is not None:
                record = records.decode_function(body)
                self._functions.put(name, record)
        return record

    def version(self, name: str, number: str) -> records.VersionRecord | None:
        """Return a version, or None; ``number`` is "$LATEST" or digits."""
        if number == model.LATEST:
            function = self.function(name)
            return None if function is None else function.latest
        record = self._versions.get((name, number))
        if record is None:
            body = self.store.get(version_key(name, number))
            if body is not None:
                record = records.decode_version(body)
                self._versions.put((name, number), record)
        return record

    def functions(self, after: str | None, limit: int) -> list[records.FunctionRecord]:
        """Return up to ``limit`` functions by name, after a name."""
        start = None if after is None else store.Key(FUNCTION, after)
        rows = self.store.scan(FUNCTION, after=start, limit=limit)
        return [records.decode_function(row.body) for row in rows]

    def versions(self, name: str, after: str | None = None, limit: int = _PAGE) -> list[records.VersionRecord]:
        """Return up to ``limit`` published versions of a function by number, after a number."""
        start = None if after is None else version_key(name, after)
        rows = self.store.scan(VERSION, name, after=start, limit=limit)
        return [records.decode_version(row.body) for row in rows]

    def all_versions(self, name: str) -> Iterator[records.VersionRecord]:
        """Yield all published versions of a function."""
        after: str | None = None
        while page := self.versions(name, after):
            yield from page
            after = page[-1].number

    def concurrency(self) -> Iterator[tuple[str, int | None, int]]:
        """Yield (name, reserved or None, provisioned) of each function that has either."""
        after: store.Key | None = None
        while rows := self.store.scan(CONCURRENCY, after=after, limit=_PAGE):
            for row in rows:
                reserved, provisioned = json.loads(row.body)
                yield row.key.name, reserved, provisioned
            after = rows[-1].key

    async def save(
        self,
        function: records.FunctionRecord,
        versions: Sequence[records.VersionRecord] = (),
        *,
        without: Sequence[str] = (),
        generations: Mapping[str, str | None] | None = None,
    ) -> None:
        """Write a function and some of its versions, remove others; then tell the subscribers.

        The caller holds the lock. A caller that is cancelled meanwhile learns of it after the write.
        """
        writes = [store.Write(store.Key(FUNCTION, function.name), _document(function, function.latest))]
        writes.append(store.Write(store.Key(CONCURRENCY, function.name), _concurrency(function)))
        writes += [store.Write(version_key(v.function, v.number), _document(v, v)) for v in versions]
        writes += [store.Write(version_key(function.name, number), None) for number in without]
        cancelled = await settled(self.store.commit(writes))
        self._functions.put(function.name, function)
        for version in versions:
            self._versions.put((version.function, version.number), version)
        for number in without:
            self._versions.drop((function.name, number))
        self._tell(Changed(function_name=function.name, generations=generations or {}))
        if cancelled:
            raise cancelled

    async def remove(self, function: records.FunctionRecord) -> None:
        """Remove a function with all its versions; then tell the subscribers. The caller holds the lock."""
        numbers = [version.number for version in self.all_versions(function.name)]
        writes = [store.Write(version_key(function.name, number), None) for number in numbers]
        writes += [store.Write(store.Key(kind, function.name), None) for kind in (FUNCTION, CONCURRENCY)]
        cancelled = await settled(self.store.commit(writes))
        self._functions.drop(function.name)
        for number in numbers:
            self._versions.drop((function.name, number))
        gone = dict.fromkeys([model.LATEST, *numbers])
        self._tell(Changed(function_name=function.name, generations=gone))
        if cancelled:
            raise cancelled

    def _tell(self, change: Changed) -> None:
        for listener in self._subscribers:
            listener(change)


def version_key(name: str, number: str) -> store.Key:
    """Return where a version is kept; the padding makes text order numerical order."""
    return store.Key(VERSION, name, number.rjust(12, "0"))


def _document(record: records.FunctionRecord | records.VersionRecord, version: records.VersionRecord) -> store.Document:
    return store.Document(body=records.encode(record), packages=version.packages, code_bytes=version.code.size)


def _concurrency(function: records.FunctionRecord) -> store.Document | None:
    """Return a function's part in the account's concurrency, kept apart so that a sum needs no other document."""
    provisioned = sum(config["executions"] for config in function.provisioned.values())
    if function.reserved_concurrency is None and not provisioned:
        return None
    return store.Document(body=json.dumps([function.reserved_concurrency, provisioned]).encode())


async def settled(write: asyncio.Future[None]) -> asyncio.CancelledError | None:
    """Wait for a write whatever happens to the waiter; return the cancellation that came meanwhile."""
    cancelled = None
    while not write.done():
        try:
            await asyncio.shield(write)
        except asyncio.CancelledError as error:
            cancelled = error
    write.result()
    return cancelled
