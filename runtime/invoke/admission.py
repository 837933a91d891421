"""How many calls may run at once, for the account and for each function. Pure.

A function with reserved concurrency has that many places of its own and no others; all the other functions share
what the account has left (docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html). Provisioned
concurrency is a version's own, taken from its function's reserved places or else from the account's; calls that exceed
it compete with all others. A call over a limit is refused at once with AWS's reason.
"""

from collections.abc import Mapping

from runtime.invoke import own

ACCOUNT = "ConcurrentInvocationLimitExceeded"
RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"


class Admission:
    """Counts running calls against the limits."""

    def __init__(self, account_limit: int) -> None:
        self._account_limit = account_limit
        self._reserved: dict[str, int] = {}
        self._own: dict[str, own.Own] = {}
        self._taken = 0
        """Places of the account that are reserved, or provisioned outside of a reservation."""
        self._running: dict[str, int] = {}
        self._unreserved_running = 0

    @property
    def account_limit(self) -> int:
        """Return the places of the account."""
        return self._account_limit

    @property
    def unreserved(self) -> int:
        """Return the places that functions without places of their own share."""
        return self._account_limit - self._taken

    def running(self, function_name: str) -> int:
        """Return how many calls of a function run."""
        return self._running.get(function_name, 0)

    def reserved(self, function_name: str) -> int | None:
        """Return a function's reserved concurrency, None where it has none."""
        return self._reserved.get(function_name)

    @property
    def free(self) -> int:
        """Return how many of the places that functions share are free."""
        return self.unreserved - self._unreserved_running

    def reserve(self, function_name: str, places: int | None) -> None:
        """Set a function's reserved concurrency; None takes it away."""
        self._count(function_name, -1)
        self._reserved.pop(function_name, None)
        if places is not None:
            self._reserved[function_name] = places
        self._count(function_name, 1)

    def provision(self, function_name: str, places: Mapping[str, int]) -> None:
        """Set the places of a function's versions that are provisioned; none for those that are not named."""
        self._count(function_name, -1)
        if places:
            self._own.setdefault(function_name, own.Own()).change(places)
        else:
            self._own.pop(function_name, None)
        self._count(function_name, 1)

    def admit(self, function_name: str, version: str = "") -> str | None:
        """Take a place for a call and return None, or return AWS's reason for refusing it."""
        running = self._running.get(function_name, 0)
        held = self._own.get(function_name)
        if held is None or not held.has_place(version):
            reserved = self._reserved.get(function_name)
            if reserved is not None:
                if running - (held.used if held else 0) >= reserved - (held.total if held else 0):
                    return RESERVED
            elif self._unreserved_running >= self._account_limit - self._taken:
                return ACCOUNT
            else:
                self._unreserved_running += 1
        if held is not None:
            held.enter(version)
        self._running[function_name] = running + 1
        return None

    def release(self, function_name: str, version: str = "") -> None:
        """Give the place of an admitted call back."""
        running = self._running[function_name] - 1
        if running:
            self._running[function_name] = running
        else:
            del self._running[function_name]
        held = self._own.get(function_name)
        if not (held is not None and held.leave(version)) and function_name not in self._reserved:
            self._unreserved_running -= 1

    def _count(self, function_name: str, sign: int) -> None:
        """Add a function's part to the account's sums, or take it out: calls that run change sides with it."""
        held = self._own.get(function_name)
        reserved = self._reserved.get(function_name)
        self._taken += sign * (reserved if reserved is not None else held.total if held else 0)
        if reserved is None:
            self._unreserved_running += sign * (self._running.get(function_name, 0) - (held.used if held else 0))
