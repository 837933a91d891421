"""What a handler of an operation is given beside the request, and what it is."""

import dataclasses
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from runtime import errors, model
from runtime.api import downloads, sources
from runtime.registry import names, records, registry

Request = Mapping[str, Any]
"""Members by name, validated; absent ones absent."""
Result = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an operator chose, as far as the API needs it."""

    interpreters: Collection[str] = ()
    """Runtimes that this machine can run."""
    account_concurrency: int = 1000
    provisioned: Callable[[str, str], model.Allocation] = lambda _name, _qualifier: model.Allocation()
    """Tells what there is of the workers that are to be held ready for a function name and qualifier."""
    snapshots: Callable[[str, str], model.Snapshot] = lambda _name, _number: model.Snapshot.OFF
    """Tells what there is of the snapshot of a published version that asks for one."""
    source: sources.Source | None = None
    """Where packages named by S3 bucket and key come from; None where nowhere."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One call of an operation."""

    registry: registry.Registry
    options: Options
    links: downloads.Links
    base_url: str
    """Where the caller reached us: "http://127.0.0.1:3001"."""
    now: float
    """Unix time in seconds."""

    @property
    def site(self) -> names.Site:
        """Return account and region."""
        return self.registry.site

    def snapshot(self, version: records.VersionRecord) -> model.Snapshot:
        """Return what there is of the snapshot of a version."""
        asked = version.settings["SnapStart"]["ApplyOn"] == "PublishedVersions" and version.number != model.LATEST
        return self.options.snapshots(version.function, version.number) if asked else model.Snapshot.OFF

    def function(self, request: Request) -> names.FunctionRef:
        """Return the function that a request names, with its qualifier."""
        return self.site.function(request["FunctionName"], request.get("Qualifier"))

    def unqualified(self, request: Request) -> names.FunctionRef:
        """Return the function that a request for a whole function names."""
        ref = self.site.function(request["FunctionName"])
        if ref.qualifier is not None:
            raise errors.InvalidParameterValue(
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
                "operation. Please specify either a function name or an unqualified function ARN."
            )
        return ref


Handler = Callable[[Request, Context], Awaitable[Result]]
