"""The registry: which functions exist, what they are, and the rules by which that changes.

To embed it::

    code = code_store.CodeStore(state_dir / "code", unpacking.unpack)
    registry = Registry(sqlite.SqliteStore(state_dir / "hotfork.db"), code, names.Site())
    registry.subscribe(on_change)               # ledger.Changed: drop routes, drain workers of old generations
    version = registry.version("hello", None)   # model.Version, from memory: the hot path of an invocation
    route = registry.route("hello", "live")     # the same for an alias that may have two versions
    await registry.collect(busy_folders)        # at start, and when workers have gone: removes code nobody needs
    registry.close()

States. What AWS does behind the scenes after an answer (Pending -> Active, InProgress -> Successful) takes no time
here: the answer shows the state before, and what is stored, in the same step, the state after, each with a revision
id of its own. So a caller sees AWS's sequence, waiters work, and no crash can leave a function half-way.
Revision ids change with every transition; a *generation* only with the code or the settings of a version.
"""

import base64
import binascii
import dataclasses
import datetime as dt
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from runtime import errors, model
from runtime.registry import code, ledger, names, records, store, unpacking

_STALE_REVISION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where calls of a function under a qualifier go."""

    version: model.Version
    additional: model.Version | None = None
    weight: float = 0.0
    """The share of the calls, 0.0 to 1.0, that goes to ``additional``."""
    reserved_concurrency: int | None = None


class Registry:
    """All functions of one installation. ``clock`` gives Unix time in seconds, ``new_id`` fresh UUIDs."""

    def __init__(
        self,
        kept: store.Store,
        packages: code.CodeStore,
        site: names.Site,
        *,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.site = site
        self.code = packages
        self.ledger = ledger.Ledger(kept)
        self.new_id = new_id
        self._clock = clock
        self._updating: set[str] = set()
        self._routes: ledger.Cache[tuple[str, str | None], Route] = ledger.Cache()
        self._routed: dict[str, set[str | None]] = {}
        self._unreferenced: set[str] = set()
        self.ledger.subscribe(self._forget_routes)

    # Reading

    def subscribe(self, listener: Callable[[ledger.Changed], None]) -> None:
        """Have a function called, on the event loop, after each change. It must not raise."""
        self.ledger.subscribe(listener)

    def function(self, ref: names.FunctionRef) -> records.FunctionRecord:
        """Return a function whatever the qualifier; raise ResourceNotFound, naming it as the caller did."""
        record = self.ledger.function(ref.name)
        if record is None:
            raise self.not_found(ref)
        return record

    def resolve(self, ref: names.FunctionRef) -> records.VersionRecord:
        """Return the version that a reference names, an alias's primary one; raise ResourceNotFound."""
        function = self.function(ref)
        if ref.qualifier is None or ref.qualifier == model.LATEST:
            return function.latest
        alias = function.aliases.get(ref.qualifier)
        number = ref.qualifier if alias is None else alias.version
        record = self.ledger.version(ref.name, number) if names.is_version(number) else None
        if record is None:
            raise self.not_found(ref)
        return record

    def not_found(self, ref: names.FunctionRef) -> errors.ResourceNotFound:
        """Return the error for a reference to nothing."""
        return errors.ResourceNotFound(f"Function not found: {self.site.function_arn(ref.name, ref.qualifier)}")

    def version(self, name: str, qualifier: str | None) -> model.Version:
        """Return what is to run for a function and qualifier, an alias's primary version.

        Raises ResourceNotFound. Costs a dictionary look-up while the function is in use.
        """
        return self.route(name, qualifier).version

    def route(self, name: str, qualifier: str | None) -> Route:
        """Return where calls of a function under a qualifier go; raise ResourceNotFound."""
        route = self._routes.get((name, qualifier))
        if route is None:
            route = self._make_route(names.FunctionRef(name=name, qualifier=qualifier))
            self._routes.put((name, qualifier), route)
            self._routed.setdefault(name, set()).add(qualifier)
        return route

    def _make_route(self, ref: names.FunctionRef) -> Route:
        function = self.function(ref)
        primary = self.runnable(self.resolve(ref), function)
        alias = function.aliases.get(ref.qualifier or "")
        additional, weight = None, 0.0
        for number, share in alias.weights.items() if alias else ():
            other = names.FunctionRef(name=ref.name, qualifier=number)
            additional, weight = self.runnable(self.resolve(other), function), share
        return Route(
            version=primary,
            additional=additional,
            weight=weight,
            reserved_concurrency=function.reserved_concurrency,
        )

    def runnable(self, version: records.VersionRecord, function: records.FunctionRecord) -> model.Version:
        """Return all that is needed to run a version."""
        settings = version.settings
        layers = [layer["CodeSha256"] for layer in settings.get("Layers", ())]
        logging = settings["LoggingConfig"]
        return model.Version(
            function_name=version.function,
            version=version.number,
            function_arn=self.site.function_arn(version.function),
            runtime=settings["Runtime"],
            handler=settings["Handler"],
            code_sha256=base64_digest(version.code.sha256),
            code_path=str(self.code.tree_of(version.code.sha256)),
            layer_path=str(self.code.merged(layers)) if layers else None,
            memory_mb=settings["MemorySize"],
            timeout_s=settings["Timeout"],
            ephemeral_storage_mb=settings["EphemeralStorage"]["Size"],
            environment=settings.get("Environment", {}).get("Variables", {}),
            log_group=logging["LogGroup"],
            json_logs=logging["LogFormat"] == "JSON",
            application_log_level=logging.get("ApplicationLogLevel", "INFO"),
            system_log_level=logging.get("SystemLogLevel", "INFO"),
            generation=version.generation,
            snap_start=settings["SnapStart"]["ApplyOn"] == "PublishedVersions" and version.number != model.LATEST,
            tags=function.tags,
        )

    def _forget_routes(self, change: ledger.Changed) -> None:
        for qualifier in self._routed.pop(change.function_name, ()):
            self._routes.drop((change.function_name, qualifier))

    # Changing

    def now(self) -> str:
        """Return the time as AWS writes it in LastModified."""
        moment = dt.datetime.fromtimestamp(self._clock(), dt.UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"

    async def create(
        self, name: str, settings: Mapping[str, Any], zip_file: bytes, tags: Mapping[str, str]
    ) -> records.VersionRecord:
        """Create a function and return $LATEST as it is while being created."""
        arn = self.site.function_arn(name)
        if self.ledger.function(name) is not None:
            raise errors.ResourceConflict(f"Function already exist: {name}")
        async with self._exclusive(name, arn), self.code.stage(zip_file, unpacking.UNPACKED_LIMIT) as package:
            record = self._fresh(name, settings, package)
            function = records.FunctionRecord(latest=record, tags=dict(tags))
            async with self.ledger.lock:
                if self.ledger.function(name) is not None:
                    raise errors.ResourceConflict(f"Function already exist: {name}")
                await self.ledger.save(function, generations={model.LATEST: record.generation})
        return dataclasses.replace(record, state="Pending", update_status="", revision_id=self.new_id())

    async def update_code(
        self,
        ref: names.FunctionRef,
        zip_file: bytes,
        architectures: list[str] | None = None,
        *,
        revision_id: str | None = None,
        dry_run: bool = False,
    ) -> records.VersionRecord:
        """Give $LATEST new code and return it as it is during the update."""
        self.check_revision(self.function(ref).latest.revision_id, revision_id)
        arn = self.site.function_arn(ref.name)
        async with (
            self._exclusive(ref.name, arn),
            self.code.stage(zip_file, unpacking.UNPACKED_LIMIT) as package,
            self.ledger.lock,
        ):
            function = self.function(ref)
            self.check_revision(function.latest.revision_id, revision_id)
            settings = dict(function.latest.settings)
            if architectures:
                settings["Architectures"] = architectures
            record = self._fresh(ref.name, settings, package)
            if dry_run:
                return dataclasses.replace(function.latest, code=package, settings=settings)
            return await self._replace(function, record)

    async def update_settings(
        self,
        ref: names.FunctionRef,
        change: Callable[[records.Settings], Mapping[str, Any]],
        *,
        revision_id: str | None = None,
    ) -> records.VersionRecord:
        """Give $LATEST the settings that ``change`` makes of the present ones; return it as during the update."""
        async with self._exclusive(ref.name, self.site.function_arn(ref.name)), self.ledger.lock:
            function = self.function(ref)
            self.check_revision(function.latest.revision_id, revision_id)
            record = self._fresh(ref.name, change(function.latest.settings), function.latest.code)
            return await self._replace(function, record)

    async def _replace(self, function: records.FunctionRecord, record: records.VersionRecord) -> records.VersionRecord:
        if function.latest.code != record.code:
            self._unreferenced.add(function.latest.code.sha256)
        await self.ledger.save(
            dataclasses.replace(function, latest=record), generations={model.LATEST: record.generation}
        )
        return dataclasses.replace(record, update_status="InProgress", revision_id=self.new_id())

    async def delete(self, ref: names.FunctionRef) -> None:
        """Delete a function with its versions and aliases, or the one version that the reference names."""
        async with self.ledger.lock:
            function = self.function(ref)
            if ref.qualifier is None:
                self._unreferenced.add(function.latest.code.sha256)
                self._unreferenced |= {v.code.sha256 for v in self.ledger.all_versions(ref.name)}
                await self.ledger.remove(function)

    def check_revision(self, current: str, expected: str | None, message: str = _STALE_REVISION) -> None:
        """Raise PreconditionFailed where a caller expects another revision than the current one."""
        if expected and expected != current:
            raise errors.PreconditionFailed(message)

    def _fresh(self, name: str, settings: Mapping[str, Any], package: records.Code) -> records.VersionRecord:
        """Return a state of $LATEST that did not exist before."""
        return records.VersionRecord(
            function=name,
            number=model.LATEST,
            settings=settings,
            code=package,
            revision_id=self.new_id(),
            generation=self.new_id(),
            last_modified=self.now(),
        )

    @asynccontextmanager
    async def _exclusive(self, name: str, arn: str) -> AsyncIterator[None]:
        """Refuse a second update of a function while one is under way, as AWS does."""
        if name in self._updating:
            raise errors.ResourceConflict(
                f"The operation cannot be performed at this time. An update is in progress for resource: {arn}"
            )
        self._updating.add(name)
        try:
            yield
        finally:
            self._updating.discard(name)

    # Keeping house

    async def collect(self, busy: Collection[Path] = (), *, everything: bool = False) -> None:
        """Remove code that no function refers to and that lies in none of the ``busy`` folders.

        Looks only at what lost a reference since the last time, or at ``everything``, as is right at start.
        """
        kept = self.ledger.store
        candidates = self.code.known() - kept.codes() if everything else self._unreferenced
        doomed = {sha256 for sha256 in candidates if not kept.refers(sha256)}
        self._unreferenced = {sha256 for sha256 in doomed if self.code.tree_of(sha256) in busy}
        await self.code.discard(doomed - self._unreferenced, busy)

    def close(self) -> None:
        """Finish the writes begun and close the store."""
        self.ledger.store.close()


def base64_digest(sha256: str) -> str:
    """Return a hex digest as the API shows it."""
    return base64.b64encode(binascii.unhexlify(sha256)).decode()
