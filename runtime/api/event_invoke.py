"""How events of type Event are retried and where their results go: the *FunctionEventInvokeConfig operations."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

from runtime import errors, model
from runtime.api import paging
from runtime.api.context import Context, Handler, Request, Result
from runtime.registry import names, records

_KEYS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
_SERVICES = frozenset({"lambda", "sqs", "sns", "events", "s3"})
"""docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""


async def put(request: Request, context: Context) -> Result:
    """Configure a version or alias anew."""
    return await _write(request, context, keep=False)


async def update(request: Request, context: Context) -> Result:
    """Change what is given."""
    return await _write(request, context, keep=True)


async def get(request: Request, context: Context) -> Result:
    """Return the configuration of a version or alias."""
    ref = context.function(request)
    function = context.registry.ledger.function(ref.name)
    config = None if function is None else function.event_invoke.get(_qualifier(ref))
    if config is None:
        raise _missing(ref, context)
    return _shown(config, ref.name, _qualifier(ref), context)


async def delete(request: Request, context: Context) -> Result:
    """Remove the configuration of a version or alias."""
    await get(request, context)
    ref = context.function(request)

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        kept = {key: config for key, config in function.event_invoke.items() if key != _qualifier(ref)}
        return dataclasses.replace(function, event_invoke=kept)

    await context.registry.change(ref, decide)
    return {}


async def list_all(request: Request, context: Context) -> Result:
    """Return a page of a function's configurations."""
    ref = context.function(request)
    function = context.registry.ledger.function(ref.name)
    if function is None:
        raise errors.ResourceNotFound("The function doesn't exist.")
    found = [_shown(config, ref.name, key, context) for key, config in sorted(function.event_invoke.items())]
    return paging.listed("FunctionEventInvokeConfigs", found, request)


async def _write(request: Request, context: Context, *, keep: bool) -> Result:
    given = {key: request[key] for key in _KEYS if key in request}
    if not given:
        raise errors.InvalidParameterValue("You must specify at least one of error handling or destination setting.")
    ref = context.function(request)
    qualifier = _qualifier(ref)
    if keep:
        await get(request, context)
    try:
        context.registry.resolve(ref)
    except errors.ResourceNotFound:
        raise errors.ResourceNotFound("The function doesn't exist.") from None
    if "DestinationConfig" in given:
        given["DestinationConfig"] = _destinations(request["DestinationConfig"], ref, context)

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        before = function.event_invoke.get(qualifier, {}) if keep else {}
        config = {**before, **given, "LastModified": round(context.now, 3)}
        return dataclasses.replace(function, event_invoke={**function.event_invoke, qualifier: config})

    function = await context.registry.change(ref, decide)
    return _shown(function.event_invoke[qualifier], ref.name, qualifier, context)


def _destinations(config: Mapping[str, Any], ref: names.FunctionRef, context: Context) -> dict[str, Any]:
    given = {key: config.get(key, {}).get("Destination") for key in ("OnSuccess", "OnFailure")}
    for arn in given.values():
        if not arn:
            continue
        parts = arn.split(":")
        if parts[2] not in _SERVICES:
            shown = ", ".join(
                f"{key[0].lower()}{key[1:]}={'null' if arn is None else f'{key}(destination={arn})'}"
                for key, arn in given.items()
            )
            raise errors.InvalidParameterValue(
                f"The provided destination config DestinationConfig({shown}) is invalid."
            )
        if parts[2] == "lambda":
            _check_function(arn, ref, context)
    return {key: {"Destination": arn} if arn else {} for key, arn in given.items()}


def _check_function(arn: str, ref: names.FunctionRef, context: Context) -> None:
    try:
        target = context.site.function(arn)
        context.registry.resolve(target)
    except errors.ApiError:
        raise errors.InvalidParameterValue(f"The destination ARN {arn} is invalid.") from None
    if target.name == ref.name:
        raise errors.InvalidParameterValue("You can't specify the function as a destination for itself.")


def _qualifier(ref: names.FunctionRef) -> str:
    return ref.qualifier or model.LATEST


def _missing(ref: names.FunctionRef, context: Context) -> errors.ResourceNotFound:
    arn = context.site.function_arn(ref.name, _qualifier(ref))
    return errors.ResourceNotFound(f"The function {arn} doesn't have an EventInvokeConfig")


def _shown(config: Mapping[str, Any], name: str, qualifier: str, context: Context) -> Result:
    return {
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
        **config,
        "FunctionArn": context.site.function_arn(name, qualifier),
        "LastModified": dt.datetime.fromtimestamp(config["LastModified"], dt.UTC),
    }


OPERATIONS: Mapping[str, Handler] = {
    "DeleteFunctionEventInvokeConfig": delete,
    "GetFunctionEventInvokeConfig": get,
    "ListFunctionEventInvokeConfigs": list_all,
    "PutFunctionEventInvokeConfig": put,
    "UpdateFunctionEventInvokeConfig": update,
}
