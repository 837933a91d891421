"""The port behind which state is kept, and an in-memory fake of it.

A store knows keys and documents; the registry knows what they mean. A key is a kind ("function", "version",
"layer" ...), a name and a part (a version number, say; "" where a kind has no parts). A document is opaque bytes.
Beside it stand the two facts that a store is asked about without opening documents: the code packages that the
document refers to, and how many bytes it counts against the account.

Reads are synchronous and quick (a primary key, a range). Writes go in batches that hold entirely or not at all,
are durable when their future is done, and take effect in the order of the calls.
"""

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Key(NamedTuple):
    """Where a document is kept. Keys are ordered by kind, name and part, as text."""

    kind: str
    name: str
    part: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What is to be kept: a body, the packages it refers to, and the bytes it counts."""

    body: bytes
    packages: tuple[str, ...] = ()
    code_bytes: int = 0


class Row(NamedTuple):
    """A document's body with its key."""

    key: Key
    body: bytes


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

    def get(self, key: Key) -> bytes | None:
        """Return the body of the document under a key, or None."""

    def scan(self, kind: str, name: str | None = None, *, after: Key | None = None, limit: int) -> list[Row]:
        """Return up to ``limit`` rows of a kind (and name), in the order of keys, that come after a key."""

    def refers(self, package: str) -> bool:
        """Return whether any document refers to a package."""

    def packages(self) -> set[str]:
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

    def get(self, key: Key) -> bytes | None:
        """Return the body of the document under a key, or None."""
        document = self._documents.get(key)
        return None if document is None else document.body

    def scan(self, kind: str, name: str | None = None, *, after: Key | None = None, limit: int) -> list[Row]:
        """Return up to ``limit`` rows, in order."""
        keys = [key for key in self._documents if key.kind == kind and name in {None, key.name}]
        return [Row(key, self._documents[key].body) for key in sorted(keys) if after is None or key > after][:limit]

    def refers(self, package: str) -> bool:
        """Return whether any document refers to a package."""
        return any(package in document.packages for document in self._documents.values())

    def packages(self) -> set[str]:
        """Return every package that is referred to."""
        return {package for document in self._documents.values() for package in document.packages}

    def totals(self, kind: str) -> Totals:
        """Return how much there is of a kind."""
        documents = [document for key, document in self._documents.items() if key.kind == kind]
        return Totals(len(documents), sum(document.code_bytes for document in documents))

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
