"""What is provisioned, as the registry has it: told to the pool and to admission, and what came of it to who asks."""

from collections.abc import Mapping

from runtime import model
from runtime.invoke import admission
from runtime.pool import pool, provisioned
from runtime.registry import concurrency, records, registry


class Provisions:
    """Follows the functions of a registry."""

    def __init__(self, book: registry.Registry, places: admission.Admission, workers: pool.Pool) -> None:
        self._book = book
        self._places = places
        self._workers = workers
        self._known: set[str] = set()

    def restore(self) -> None:
        """Take up what was provisioned before the server started."""
        for name, _, count in self._book.ledger.concurrency():
            if count:
                self.follow(name)

    def follow(self, function_name: str) -> None:
        """Hold the workers of a function that are to be held now."""
        function = self._book.ledger.function(function_name)
        wanted = concurrency.wanted(function) if function else {}
        if not wanted and function_name not in self._known:
            return
        self._places.provision(function_name, wanted)
        self._workers.provide(function_name, self._workers_of(function, wanted) if function else {})
        if wanted:
            self._known.add(function_name)
        else:
            self._known.discard(function_name)

    def allocation(self, function_name: str, qualifier: str) -> model.Allocation:
        """Return what there is of the workers that are held for a qualifier.

        Where several mean one version, they share its workers in the order of their names.
        """
        function = self._book.ledger.function(function_name)
        if function is None or qualifier not in function.provisioned:
            return model.Allocation()
        ready, failure = 0, ""
        for number, share in concurrency.shares(function, qualifier).items():
            version = self._book.version(function_name, number)
            stand = self._workers.provisioned.stand(version.key)
            if stand is not None:
                before = sum(
                    concurrency.shares(function, other).get(number, 0)
                    for other in function.provisioned
                    if other < qualifier
                )
                ready += max(0, min(share, stand.ready - before))
                failure = failure or stand.failure
        return model.Allocation(ready=ready, failure=failure)

    def _workers_of(
        self, function: records.FunctionRecord, wanted: Mapping[str, int]
    ) -> dict[model.WorkerKey, provisioned.Wanted]:
        asked = " ".join(config["last_modified"] for _, config in sorted(function.provisioned.items()))
        versions = [self._book.version(function.name, number) for number in wanted]
        return {version.key: provisioned.Wanted(version, wanted[version.version], asked) for version in versions}
