"""The registry: which functions exist, what they are, and how that is looked up and changed.

To embed it::

    packages = code.CodeStore(state_dir / "code", unpacking.unpack)
    book = registry.Registry(sqlite.SqliteStore(state_dir / "hotfork.db"), packages, names.Site())
    book.subscribe(on_change)               # ledger.Changed: drop routes, drain workers of old generations
    version = book.version("hello", None)   # model.Version, from memory: the hot path of an invocation
    route = book.route("hello", "live")     # the same for an alias that may have two versions
    await book.collect(everything=True)     # at start: removes code that nobody needs; later sweeper.Sweeper does
    book.close()

The rules of each operation stand in modules of their own (``functions``, ``versions``, ``aliases``, ``layers``,
``policies``, ``concurrency``), as functions whose first argument is the registry.

States. What AWS does behind the scenes after an answer (Pending -> Active, InProgress -> Successful) takes no time
here: the answer shows the state before, and what is stored, in the same step, is the state after, each with a revision
id of its own. So a caller sees AWS's sequence, waiters work, and no crash can leave a function half-way. Revision ids
change with every transition; a *generation* only with the code, the layers or the settings of a version.
"""

import base64
import binascii
import dataclasses
import datetime as dt
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from runtime import errors, model
from runtime.registry import code, ledger, names, records, store

CODE_STORAGE = 80_530_636_800
"""Bytes of zips of an account: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""

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
        self.clock = clock
        self._updating: set[str] = set()
        self._routes: ledger.Cache[tuple[str, str], Route] = ledger.Cache()
        self._routed: dict[str, set[str]] = {}
        self._unreferenced: set[str] = set()
        self.on_released: Callable[[], None] = lambda: None
        """Called when code may have lost its last reference; one listener."""
        self.ledger.subscribe(self._forget_routes)

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

    def target(self, ref: names.FunctionRef) -> records.VersionRecord:
        """Return what ``resolve`` does, but name an alias that does not exist as such."""
        if ref.qualifier is not None and names.is_alias(ref.qualifier):
            function = self.ledger.function(ref.name)
            if function is None or ref.qualifier not in function.aliases:
                arn = self.site.function_arn(ref.name, ref.qualifier)
                raise errors.ResourceNotFound(f"Cannot find alias arn: {arn}")
        return self.resolve(ref)

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
        # One route for both: a change of the function made it, and the first call finds it.
        key = (name, qualifier or model.LATEST)
        route = self._routes.get(key)
        if route is None:
            route = self._make_route(names.FunctionRef(name=name, qualifier=qualifier))
            forgotten = self._routes.put(key, route)
            if forgotten is not None:
                self._routed[forgotten[0]].discard(forgotten[1])
            self._routed.setdefault(name, set()).add(key[1])
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
        layers = [layer.code.sha256 for layer in version.layers]
        logging = settings["LoggingConfig"]
        return model.Version(
            function_name=version.function,
            version=version.number,
            function_arn=self.site.function_arn(version.function),
            runtime=settings["Runtime"],
            handler=settings["Handler"],
            role=settings["Role"],
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
            tenant_isolation=settings.get("TenancyConfig", {}).get("TenantIsolationMode") == "PER_TENANT",
            tags=function.tags,
        )

    def _forget_routes(self, change: ledger.Changed) -> None:
        for qualifier in self._routed.pop(change.function_name, ()):
            self._routes.drop((change.function_name, qualifier))

    def now(self) -> str:
        """Return the time as AWS writes it in LastModified."""
        moment = dt.datetime.fromtimestamp(self.clock(), dt.UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"

    async def change(
        self, ref: names.FunctionRef, decide: Callable[[records.FunctionRecord], records.FunctionRecord]
    ) -> records.FunctionRecord:
        """Replace a function by what ``decide`` makes of it, all versions left as they are; return the new one.

        Raises ResourceNotFound, and what ``decide`` raises.
        """
        async with self.ledger.lock:
            function = decide(self.function(ref))
            await self.ledger.save(function)
        return function

    @asynccontextmanager
    async def updating(self, name: str) -> AsyncIterator[None]:
        """Refuse a second update of a function while one is under way, as AWS does."""
        if name in self._updating:
            raise errors.ResourceConflict(
                "The operation cannot be performed at this time. "
                f"An update is in progress for resource: {self.site.function_arn(name)}"
            )
        self._updating.add(name)
        try:
            yield
        finally:
            self._updating.discard(name)

    def check_storage(self, more: int) -> None:
        """Raise CodeStorageExceeded where ``more`` bytes of zips are too many for the account."""
        totals = [self.ledger.store.totals(kind) for kind in (ledger.FUNCTION, ledger.VERSION, ledger.LAYER_VERSION)]
        if sum(each.code_bytes for each in totals) + more > CODE_STORAGE:
            raise errors.CodeStorageExceeded

    def release(self, *packages: str) -> None:
        """Note that packages may have lost their last reference: the next ``collect`` looks at them."""
        self._unreferenced.update(packages)
        self.on_released()

    async def collect(self, busy: Callable[[], Collection[Path]] = tuple, *, everything: bool = False) -> bool:
        """Remove code that nothing refers to and that lies in none of the folders that are ``busy`` by then.

        Looks only at what was released since the last time, or at ``everything``, as is right at start. Returns
        whether there is more to collect once those who hold it let it go.
        """
        kept = self.ledger.store
        async with self.ledger.lock:  # no write is under way, and none begins before the code is out of reach
            candidates = self.code.known() if everything else self._unreferenced
            referred = kept.packages() if everything else {each for each in candidates if kept.refers(each)}
            doomed, used = candidates - referred, busy()
            needed = {each for each in doomed if self.code.is_held(each) or self.code.tree_of(each) in used}
            detached = self.code.detach(doomed - needed)
            self._unreferenced = needed
        await self.code.erase(detached)
        return bool(self._unreferenced)

    def close(self) -> None:
        """Finish the writes begun and close the store."""
        self.ledger.store.close()


def check_revision(current: str, expected: str | None, message: str = _STALE_REVISION) -> None:
    """Raise PreconditionFailed where a caller expects another revision than the current one."""
    if expected and expected != current:
        raise errors.PreconditionFailed(message)


def base64_digest(sha256: str) -> str:
    """Return a hex digest as the API shows it."""
    return base64.b64encode(binascii.unhexlify(sha256)).decode()
