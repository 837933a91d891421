"""How many calls may run at once, for the account and for each function. Pure.

A function with reserved concurrency has that many places of its own and no others; all the other functions share
what the account has left (docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html). A call over a limit
is refused at once with AWS's reason.
"""

ACCOUNT = "ConcurrentInvocationLimitExceeded"
RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"


class Admission:
    """Counts running calls against the limits."""

    def __init__(self, account_limit: int) -> None:
        self._account_limit = account_limit
        self._reserved: dict[str, int] = {}
        self._reserved_total = 0
        self._running: dict[str, int] = {}
        self._unreserved_running = 0

    @property
    def account_limit(self) -> int:
        """Return the places of the account."""
        return self._account_limit

    @property
    def unreserved(self) -> int:
        """Return the places that functions without reserved concurrency share."""
        return self._account_limit - self._reserved_total

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
        before = self._reserved.pop(function_name, None)
        self._reserved_total -= before or 0
        if places is not None:
            self._reserved[function_name] = places
            self._reserved_total += places
        # Calls that already run change sides with their function.
        if (before is None) != (places is None):
            change = self._running.get(function_name, 0)
            self._unreserved_running += change if places is None else -change

    def admit(self, function_name: str) -> str | None:
        """Take a place for a call and return None, or return AWS's reason for refusing it."""
        running = self._running.get(function_name, 0)
        reserved = self._reserved.get(function_name)
        if reserved is not None:
            if running >= reserved:
                return RESERVED
        elif self._unreserved_running >= self._account_limit - self._reserved_total:
            return ACCOUNT
        else:
            self._unreserved_running += 1
        self._running[function_name] = running + 1
        return None

    def release(self, function_name: str) -> None:
        """Give the place of an admitted call back."""
        running = self._running[function_name] - 1
        if running:
            self._running[function_name] = running
        else:
            del self._running[function_name]
        if function_name not in self._reserved:
            self._unreserved_running -= 1
