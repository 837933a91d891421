"""What the registry keeps: functions, versions and aliases as values, and as documents for the store.

``settings`` holds a version's configuration in AWS's own shape and names (FunctionConfiguration in
docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html), defaults filled in: most of it is only kept and
returned, and one vocabulary is enough. What the registry itself decides about stands in fields.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A package: hex digest of the zip, its bytes, and the bytes of what is in it."""

    sha256: str
    size: int
    unpacked_size: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One version of a function as it is kept: $LATEST, or published and immutable."""

    function: str
    number: str
    """"$LATEST" or decimal digits."""
    settings: Settings
    code: Code
    revision_id: str
    generation: str
    """New with every change of code or settings, and only then; a worker is made for one generation."""
    last_modified: str
    """As AWS writes it: 2024-01-01T00:00:00.000+0000."""
    state: str = "Active"
    update_status: str = "Successful"
    """Both shown as AWS shows them; see ``states``."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AliasRecord:
    """A name for one version, or for two with a weight."""

    name: str
    version: str
    revision_id: str
    description: str = ""
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Additional versions with their share of the calls, 0.0 to 1.0."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRecord:
    """All of a function except its published versions."""

    latest: VersionRecord
    next_number: int = 1
    """Of the next version to be published; never goes back."""
    newest: str | None = None
    """The version published last, if it still exists."""
    aliases: Mapping[str, AliasRecord] = dataclasses.field(default_factory=dict)
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    reserved_concurrency: int | None = None
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Documents in AWS's shape by what they are: policies, event-invoke configs and the like."""

    @property
    def name(self) -> str:
        """Return the function's name."""
        return self.latest.function


def encode(record: FunctionRecord | VersionRecord) -> bytes:
    """Return a record as the store keeps it."""
    return json.dumps(dataclasses.asdict(record), separators=(",", ":")).encode()


def decode_version(body: bytes) -> VersionRecord:
    """Return the version in a document."""
    return _version(json.loads(body))


def decode_function(body: bytes) -> FunctionRecord:
    """Return the function in a document."""
    fields = json.loads(body)
    latest = _version(fields.pop("latest"))
    aliases = {name: AliasRecord(**alias) for name, alias in fields.pop("aliases").items()}
    return FunctionRecord(latest=latest, aliases=aliases, **fields)


def _version(fields: dict[str, Any]) -> VersionRecord:
    return VersionRecord(code=Code(**fields.pop("code")), **fields)
