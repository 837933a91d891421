"""The port behind which state is kept, and an in-memory fake of it.

A store knows keys and documents; the registry knows what they mean. A key is a kind ("function", "version",
"layer" ...), a name and a part (a version number, say; "" where a kind has no parts). A document is opaque bytes.
Beside it stand the two facts that a store is asked about without opening documents: the code package that the
document refers to, and how many bytes it counts against the account.

Reads are synchronous and quick (a primary key, a range). Writes go in batches that hold entirely or not at all,
are durable when their future is done, and take effect in the order of the calls.
"""

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol


class Key(NamedTuple):
    """Where a document is kept. Keys are ordered by kind, name and part, as text."""

    kind: str
    name: str
    part: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What is kept: a body, the package it refers to ("" for none), and the bytes it counts."""

    body: bytes
    code: str = ""
    code_bytes: int = 0


class Row(NamedTuple):
    """A document with its key."""

    key: Key
    document: Document


class Write(NamedTuple):
    """Put a document under a key, or remove what is there when ``document`` is None."""

    key: Key
    document: Document | None


class Totals(NamedTuple):
    """How many documents of a kind there are, and the bytes they count together."""

    documents: int
    code_bytes: int


class Store(Protocol):
    """Keeps documents. One owner: the event loop's thread calls everything here."""

    def get(self, key: Key) -> Document | None:
        """Return the document under a key, or None."""

    def scan(self, kind: str, name: str | None = None, *, after: Key | None = None, limit: int) -> list[Row]:
        """Return up to ``limit`` rows of a kind (and name), in the order of keys, that come after a key."""

    def refers(self, code: str) -> bool:
        """Return whether any document refers to a package."""

    def codes(self) -> set[str]:
        """Return every package that is referred to."""

    def totals(self, kind: str) -> Totals:
        """Return how much there is of a kind."""

    def commit(self, writes: Sequence[Write]) -> asyncio.Future[None]:
        """Write a batch; the future is done when it is durable."""

    def close(self) -> None:
        """Finish the writes begun and let go of everything."""


class MemoryStore:
    """A Store that forgets at its end; for tests and embedders."""

    def __init__(self) -> None:
        self._documents: dict[Key, Document] = {}

    def _rows(self, kind: str, name: str | None) -> Iterable[Row]:
        for key in sorted(self._documents):
            if key.kind == kind and (name is None or key.name == name):
                yield Row(key, self._documents[key])

    def get(self, key: Key) -> Document | None:
        """Return the document under a key, or None."""
        return self._documents.get(key)

    def scan(self, kind: str, name: str | None = None, *, after: Key | None = None, limit: int) -> list[Row]:
        """Return up to ``limit`` rows, in order."""
        rows = [row for row in self._rows(kind, name) if after is None or row.key > after]
        return rows[:limit]

    def refers(self, code: str) -> bool:
        """Return whether any document refers to a package."""
        return any(document.code == code for document in self._documents.values())

    def codes(self) -> set[str]:
        """Return every package that is referred to."""
        return {document.code for document in self._documents.values()} - {""}

    def totals(self, kind: str) -> Totals:
        """Return how much there is of a kind."""
        rows = list(self._rows(kind, None))
        return Totals(len(rows), sum(row.document.code_bytes for row in rows))

    def commit(self, writes: Sequence[Write]) -> asyncio.Future[None]:
        """Apply a batch at once."""
        for key, document in writes:
            if document is None:
                self._documents.pop(key, None)
            else:
                self._documents[key] = document
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    def close(self) -> None:
        """Nothing to let go of."""
