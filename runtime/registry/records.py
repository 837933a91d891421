"""What the registry keeps: functions, versions, aliases and layers as values, and as documents for the store.

``settings`` holds a version's configuration in AWS's own shape and names (FunctionConfiguration in
docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html), defaults filled in: most of it is only kept and
returned, and one vocabulary is enough. What the registry itself decides about stands in fields.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A package: hex digest of the zip, its bytes, and the bytes of what is in it."""

    sha256: str
    size: int
    unpacked_size: int


def merged_name(layers: Sequence[str]) -> str:
    """Return the name, in the code store, of several layers' packages laid over each other."""
    return "merged-" + hashlib.sha256("+".join(layers).encode()).hexdigest()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer version as a function refers to it; it stays usable when the layer version is deleted."""

    arn: str
    code: Code


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One version of a function as it is kept: $LATEST, or published and immutable."""

    function: str
    number: str
    """"$LATEST" or decimal digits."""
    settings: Settings
    code: Code
    layers: tuple[Layer, ...] = ()
    revision_id: str
    generation: str
    """New with every change of code, layers or settings, and only then; a worker is made for one generation.
    A published version keeps that of the $LATEST it was made from."""
    last_modified: str
    """As AWS writes it: 2024-01-01T00:00:00.000+0000."""
    state: str = "Active"
    update_status: str = "Successful"
    """Both as AWS names them; "" is not shown."""
    made_from: str = ""
    """Of a published version, the ``digest`` of the $LATEST it was made from."""

    @property
    def packages(self) -> tuple[str, ...]:
        """Return the names of what the version needs in the code store."""
        layers = [layer.code.sha256 for layer in self.layers]
        return (self.code.sha256, *layers, *([merged_name(layers)] if len(layers) > 1 else []))

    @property
    def digest(self) -> str:
        """Return a digest of code, layers and settings: equal for versions that do the same."""
        content = [self.code.sha256, [layer.arn for layer in self.layers], self.settings]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AliasRecord:
    """A name for one version, or for two with a weight."""

    name: str
    version: str
    revision_id: str
    description: str = ""
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Additional versions with their share of the calls, 0.0 to 1.0; at most one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRecord:
    """All of a function except its published versions. Mappings are by qualifier unless said otherwise."""

    latest: VersionRecord
    next_number: int = 1
    """Of the next version to be published; never goes back."""
    newest: str | None = None
    """The version published last; it may be deleted."""
    aliases: Mapping[str, AliasRecord] = dataclasses.field(default_factory=dict)
    """By name."""
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By key."""
    reserved_concurrency: int | None = None
    recursive_loop: str = "Terminate"
    policies: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """Statements in AWS's shape, by qualifier ("" for the function) and statement id."""
    event_invoke: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """As FunctionEventInvokeConfig; the time as a number."""
    provisioned: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """"executions" and "last_modified"."""
    runtime_management: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    """As PutRuntimeManagementConfig takes it."""

    @property
    def name(self) -> str:
        """Return the function's name."""
        return self.latest.function

    def without(self, qualifier: str) -> "FunctionRecord":
        """Return the function without what hangs on a version or alias that goes away."""
        kept: dict[str, Any] = {
            name: {key: entry for key, entry in getattr(self, name).items() if key != qualifier}
            for name in ("policies", "event_invoke", "provisioned", "runtime_management")
        }
        return dataclasses.replace(self, **kept)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerVersionRecord:
    """One version of a layer; immutable but for its policy."""

    name: str
    number: int
    code: Code
    description: str = ""
    license_info: str | None = None
    runtimes: tuple[str, ...] | None = None
    architectures: tuple[str, ...] | None = None
    created: str
    """As AWS writes it: 2024-01-01T00:00:00.000+0000."""
    policy: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Statements by id."""
    revision_id: str = ""
    """Of the policy."""


def encode(record: FunctionRecord | VersionRecord | LayerVersionRecord) -> bytes:
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


def decode_layer(body: bytes) -> LayerVersionRecord:
    """Return the layer version in a document."""
    fields = json.loads(body)
    for name in ("runtimes", "architectures"):
        fields[name] = None if fields[name] is None else tuple(fields[name])
    return LayerVersionRecord(code=Code(**fields.pop("code")), **fields)


def _version(fields: dict[str, Any]) -> VersionRecord:
    layers = tuple(Layer(arn=layer["arn"], code=Code(**layer["code"])) for layer in fields.pop("layers"))
    return VersionRecord(code=Code(**fields.pop("code")), layers=layers, **fields)
