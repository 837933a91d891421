"""What the registry says about how functions' events are treated; implements ``runs.Functions``."""

from collections.abc import Mapping
from typing import Any

from runtime import errors, model
from runtime.registry import names, registry


class Configured:
    """Looks things up in the registry, from memory."""

    def __init__(self, book: registry.Registry) -> None:
        self._book = book

    def event_config(self, function_name: str, qualifier: str | None) -> Mapping[str, Any] | None:
        """Return a function's FunctionEventInvokeConfig for a qualifier."""
        function = self._book.ledger.function(function_name)
        return None if function is None else function.event_invoke.get(qualifier or model.LATEST)

    def dead_letter_queue(self, function_name: str, qualifier: str | None) -> str | None:
        """Return the ARN of the dead-letter queue of the version that a qualifier means."""
        try:
            version = self._book.resolve(names.FunctionRef(name=function_name, qualifier=qualifier))
        except errors.ApiError:
            return None
        target: str | None = version.settings.get("DeadLetterConfig", {}).get("TargetArn")
        return target

    def function_arn(self, function_name: str, qualifier: str | None) -> str:
        """Return a function's ARN."""
        return self._book.site.function_arn(function_name, qualifier)

    def target(self, arn: str) -> tuple[str, str | None]:
        """Return the name and the qualifier in the ARN of a function; raise ApiError where there is none."""
        reference = self._book.site.function(arn)
        self._book.resolve(reference)
        return reference.name, reference.qualifier

    def may_loop(self, function_name: str) -> bool:
        """Return whether a function may be invoked in a loop without end: its recursion config."""
        function = self._book.ledger.function(function_name)
        return function is not None and function.recursive_loop == "Allow"
