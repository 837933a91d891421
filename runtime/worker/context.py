"""The context object that a handler gets as its second argument.

Source: awslambdaric, lambda_context.py. Every attribute has AWS's name and type, and the classes carry the names
under which functions know them.
"""

import json
import logging
import os
import sys
import time
from typing import Any

from runtime.worker import faults

_VARIABLES = {
    "log_group_name": "AWS_LAMBDA_LOG_GROUP_NAME",
    "log_stream_name": "AWS_LAMBDA_LOG_STREAM_NAME",
    "function_name": "AWS_LAMBDA_FUNCTION_NAME",
    "memory_limit_in_mb": "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "function_version": "AWS_LAMBDA_FUNCTION_VERSION",
}
_W3C_FIELDS = ("traceparent", "tracestate", "baggage")


class CognitoIdentity:
    """Who called, as Amazon Cognito says; both are None for everybody else."""

    __module__ = "awslambdaric.lambda_context"
    __slots__ = ["cognito_identity_id", "cognito_identity_pool_id"]

    cognito_identity_id: str | None
    cognito_identity_pool_id: str | None

    def __repr__(self) -> str:
        return _show(self, self.__slots__)


class Client:
    """The mobile application that called."""

    __module__ = "awslambdaric.lambda_context"
    __slots__ = ["app_package_name", "app_title", "app_version_code", "app_version_name", "installation_id"]

    def __repr__(self) -> str:
        return _show(
            self,
            ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"),
        )


class ClientContext:
    """What the caller passed as its client context."""

    __module__ = "awslambdaric.lambda_context"
    __slots__ = ["client", "custom", "env"]

    def __repr__(self) -> str:
        return _show(self, ("custom", "env", "client"))


class LambdaContext:
    """What a function may know about the invocation and its environment."""

    __module__ = "awslambdaric.lambda_context"

    def __init__(
        self,
        environment: dict[str, str | None],
        invoke_id: str,
        client_context: Any,
        cognito_identity: Any,
        epoch_deadline_time_in_ms: int,
        invoked_function_arn: str | None = None,
        tenant_id: str | None = None,
    ) -> None:
        self.aws_request_id = invoke_id
        self.__dict__.update(environment)
        self.invoked_function_arn = invoked_function_arn
        self.tenant_id = tenant_id
        self._w3c_fields: dict[str, str] = {}
        self.client_context: Any = None
        if client_context is not None:
            self._w3c_fields = _take_w3c(client_context)
            self.client_context = _filled(ClientContext, client_context)
            self.client_context.client = _filled(Client, self.client_context.client)
        self.identity = identity = CognitoIdentity()
        identity.cognito_identity_id = identity.cognito_identity_pool_id = None
        if cognito_identity is not None:
            identity.cognito_identity_id = cognito_identity.get("cognitoIdentityId")
            identity.cognito_identity_pool_id = cognito_identity.get("cognitoIdentityPoolId")
        self._epoch_deadline_time_in_ms = epoch_deadline_time_in_ms

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds that are left before the invocation times out, never less than 0."""
        left = self._epoch_deadline_time_in_ms - int(time.time() * 1000)
        return max(left, 0)

    def w3c(self) -> dict[str, str]:
        """Return the W3C trace context that the caller passed."""
        return dict(self._w3c_fields)

    def log(self, msg: Any) -> None:
        """Write a text to the log as it is, without format or line end."""
        for handler in logging.getLogger().handlers:
            if hasattr(handler, "log_sink"):
                handler.log_sink.log(str(msg))
                return
        sys.stdout.write(str(msg))

    def __repr__(self) -> str:
        return _show(
            self,
            (
                "aws_request_id",
                "log_group_name",
                "log_stream_name",
                "function_name",
                "memory_limit_in_mb",
                "function_version",
                "invoked_function_arn",
                "client_context",
                "identity",
                "tenant_id",
            ),
        )


class Maker:
    """Makes the contexts of one environment; made itself once that is set."""

    __slots__ = ("_environment",)

    def __init__(self) -> None:
        self._environment = {name: os.environ.get(variable) for name, variable in _VARIABLES.items()}

    def make(
        self,
        request_id: str,
        deadline_ms: int,
        invoked_arn: str,
        client_context: bytes | None,
        cognito_identity: bytes | None,
        tenant_id: str | None,
    ) -> LambdaContext:
        """Return the context of an invocation; raise Fault Runtime.LambdaContextUnmarshalError for bad JSON."""
        return LambdaContext(
            self._environment,
            request_id,
            _parse(client_context, "Client Context") if client_context else None,
            _parse(cognito_identity, "Cognito Identity") if cognito_identity else None,
            deadline_ms,
            invoked_arn,
            tenant_id,
        )


def _parse(text: bytes, name: str) -> Any:
    try:
        return json.loads(text)
    except Exception as error:
        raise faults.Fault(faults.CONTEXT_UNMARSHAL, f"Unable to parse {name} JSON: {error}") from None


def _take_w3c(client_context: Any) -> dict[str, str]:
    # Taken out of the client context, so that it cannot be read there.
    if not isinstance(client_context, dict) or "w3c" not in client_context:
        return {}
    given = client_context.pop("w3c")
    if not isinstance(given, dict):
        return {}
    return {name: given[name] for name in _W3C_FIELDS if isinstance(given.get(name), str)}


def _filled(kind: Any, values: Any) -> Any:
    if values is None:
        return None
    made = kind()
    for name in kind.__slots__:
        setattr(made, name, values.get(name))
    return made


def _show(value: Any, names: Any) -> str:
    fields = ",".join(f"{name}={getattr(value, name)}" for name in names)
    return f"{type(value).__name__}([{fields}])"
