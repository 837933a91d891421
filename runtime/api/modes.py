"""Smaller settings of functions, and true answers about what does not exist here.

Runtime management, recursive loops, code signing; empty lists of event source mappings, function URLs and the like.
"""

import dataclasses
from collections.abc import Mapping

from runtime import errors
from runtime.api import configuration
from runtime.api.context import Context, Handler, Request, Result
from runtime.registry import names, records


async def get_runtime_management_config(request: Request, context: Context) -> Result:
    """Return how a version's runtime is updated."""
    ref = context.function(request)
    version = context.registry.resolve(ref)
    config = context.registry.function(ref).runtime_management.get(version.number, {"UpdateRuntimeOn": "Auto"})
    return {**config, "FunctionArn": context.site.function_arn(ref.name, version.number)}


async def put_runtime_management_config(request: Request, context: Context) -> Result:
    """Say how a version's runtime is updated; there is one version of each runtime here."""
    ref = context.function(request)
    version = context.registry.resolve(ref)
    config = {"UpdateRuntimeOn": request["UpdateRuntimeOn"]}
    if config["UpdateRuntimeOn"] == "Manual":
        present = configuration.runtime_version_arn(version.settings["Runtime"], context.site)
        if request.get("RuntimeVersionArn") != present:
            raise errors.InvalidParameterValue(
                f"UpdateRuntimeOn Manual takes the RuntimeVersionArn of a version that exists: {present}"
            )
        config["RuntimeVersionArn"] = present

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        return dataclasses.replace(function, runtime_management={**function.runtime_management, version.number: config})

    await context.registry.change(ref, decide)
    return {**config, "FunctionArn": context.site.function_arn(ref.name, version.number)}


async def get_function_recursion_config(request: Request, context: Context) -> Result:
    """Return whether a function may call itself in a loop."""
    return {"RecursiveLoop": context.registry.function(context.unqualified(request)).recursive_loop}


async def put_function_recursion_config(request: Request, context: Context) -> Result:
    """Say whether a function may call itself in a loop."""
    loop = request["RecursiveLoop"]
    await context.registry.change(
        context.unqualified(request), lambda function: dataclasses.replace(function, recursive_loop=loop)
    )
    return {"RecursiveLoop": loop}


async def get_function_code_signing_config(request: Request, context: Context) -> Result:
    """Return nothing: no function has one. Terraform asks at every refresh."""
    context.registry.function(names.FunctionRef(name=context.function(request).name))
    return {}


async def delete_function_code_signing_config(request: Request, context: Context) -> Result:
    """Do nothing: no function has one."""
    context.registry.function(names.FunctionRef(name=context.function(request).name))
    return {}


async def put_function_code_signing_config(request: Request, context: Context) -> Result:
    """Refuse: there is none to put."""
    check_code_signing(request)
    context.registry.function(names.FunctionRef(name=context.function(request).name))
    return {}


async def no_code_signing_config(request: Request, context: Context) -> Result:  # noqa: ARG001 - a handler
    """Say that there is no such code signing configuration."""
    arn = request["CodeSigningConfigArn"]
    raise errors.ResourceNotFound(f"The Lambda code signing configuration {arn} can not be found.", type_=None)


async def no_function_urls(request: Request, context: Context) -> Result:
    """Return an empty list of function URLs."""
    if context.registry.ledger.function(context.function(request).name) is None:
        raise errors.ResourceNotFound("Function does not exist")
    return {"FunctionUrlConfigs": []}


async def no_durable_executions(request: Request, context: Context) -> Result:
    """Return an empty list of durable executions."""
    context.registry.function(context.function(request))
    return {"DurableExecutions": []}


async def no_function_url(request: Request, context: Context) -> Result:
    """Say that the function has no URL."""
    context.function(request)
    raise errors.ResourceNotFound("The resource you requested does not exist.")


async def nothing(request: Request, context: Context) -> Result:  # noqa: ARG001 - a handler
    """Say that what was asked for does not exist."""
    raise errors.ResourceNotFound("The resource you requested does not exist.")


def empty(key: str) -> Handler:
    """Return a handler that answers with an empty list."""

    async def handler(request: Request, context: Context) -> Result:  # noqa: ARG001 - a handler
        return {key: []}

    return handler


def check_code_signing(request: Request) -> None:
    """Raise CodeSigningConfigNotFound where a request names a code signing configuration: there are none."""
    if "CodeSigningConfigArn" in request:
        raise errors.CodeSigningConfigNotFound(
            "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
            f"{request['CodeSigningConfigArn']}."
        )


OPERATIONS: Mapping[str, Handler] = {
    "DeleteCodeSigningConfig": no_code_signing_config,
    "DeleteFunctionCodeSigningConfig": delete_function_code_signing_config,
    "GetCodeSigningConfig": no_code_signing_config,
    "GetEventSourceMapping": nothing,
    "GetFunctionCodeSigningConfig": get_function_code_signing_config,
    "GetFunctionRecursionConfig": get_function_recursion_config,
    "GetFunctionUrlConfig": no_function_url,
    "GetRuntimeManagementConfig": get_runtime_management_config,
    "ListCapacityProviders": empty("CapacityProviders"),
    "ListCodeSigningConfigs": empty("CodeSigningConfigs"),
    "ListDurableExecutionsByFunction": no_durable_executions,
    "ListEventSourceMappings": empty("EventSourceMappings"),
    "ListFunctionUrlConfigs": no_function_urls,
    "ListFunctionsByCodeSigningConfig": no_code_signing_config,
    "PutFunctionCodeSigningConfig": put_function_code_signing_config,
    "PutFunctionRecursionConfig": put_function_recursion_config,
    "PutRuntimeManagementConfig": put_runtime_management_config,
    "UpdateCodeSigningConfig": no_code_signing_config,
}
