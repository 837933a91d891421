"""Reserved concurrency, provisioned concurrency, and what the account has of both."""

from collections.abc import Mapping
from typing import Any

from runtime.api import functions, paging
from runtime.api.context import Context, Handler, Request, Result
from runtime.registry import concurrency, ledger, names, registry, unpacking


async def put_function_concurrency(request: Request, context: Context) -> Result:
    """Reserve concurrency for a function."""
    ref = context.unqualified(request)
    executions = request["ReservedConcurrentExecutions"]
    await concurrency.reserve(context.registry, ref, executions, context.options.account_concurrency)
    return {"ReservedConcurrentExecutions": executions}


async def get_function_concurrency(request: Request, context: Context) -> Result:
    """Return what is reserved for a function, if anything is."""
    function = context.registry.function(context.unqualified(request))
    return {"ReservedConcurrentExecutions": function.reserved_concurrency}


async def delete_function_concurrency(request: Request, context: Context) -> Result:
    """Give a reservation back."""
    await concurrency.unreserve(context.registry, context.unqualified(request))
    return {}


async def put_provisioned_concurrency_config(request: Request, context: Context) -> Result:
    """Have workers of a version or alias kept ready."""
    ref = context.function(request)
    asked = request["ProvisionedConcurrentExecutions"]
    account = context.options.account_concurrency
    when = await concurrency.provision(context.registry, ref, asked, account)
    config = {"executions": asked, "last_modified": when}
    return {**_provisioned(ref, config, context), "Status": "IN_PROGRESS", "StatusReason": None}


async def get_provisioned_concurrency_config(request: Request, context: Context) -> Result:
    """Return how many workers are to be ready, and how many are."""
    ref = context.function(request)
    config = concurrency.provisioned(context.registry, ref)
    return _provisioned(ref, config, context)


async def delete_provisioned_concurrency_config(request: Request, context: Context) -> Result:
    """Stop keeping workers ready."""
    await concurrency.unprovision(context.registry, context.function(request))
    return {}


async def list_provisioned_concurrency_configs(request: Request, context: Context) -> Result:
    """Return a page of what is provisioned for a function."""
    ref = names.FunctionRef(name=context.function(request).name)
    function = context.registry.function(ref)
    found = []
    for qualifier, config in sorted(function.provisioned.items()):
        one = names.FunctionRef(name=ref.name, qualifier=qualifier)
        arn = context.site.function_arn(ref.name, qualifier)
        found.append({"FunctionArn": arn, **_provisioned(one, config, context)})
    return paging.listed("ProvisionedConcurrencyConfigs", found, request)


async def get_account_settings(request: Request, context: Context) -> Result:  # noqa: ARG001 - takes nothing
    """Return the account's limits, and what is used of them."""
    account = context.options.account_concurrency
    store = context.registry.ledger.store
    totals = [store.totals(kind) for kind in (ledger.FUNCTION, ledger.VERSION, ledger.LAYER_VERSION)]
    return {
        "AccountLimit": {
            "TotalCodeSize": registry.CODE_STORAGE,
            "CodeSizeUnzipped": unpacking.UNPACKED_LIMIT,
            "CodeSizeZipped": functions.ZIP_LIMIT,
            "ConcurrentExecutions": account,
            "UnreservedConcurrentExecutions": concurrency.unreserved(context.registry, account),
        },
        "AccountUsage": {
            "TotalCodeSize": sum(each.code_bytes for each in totals),
            "FunctionCount": totals[0].documents,
        },
    }


def _provisioned(ref: names.FunctionRef, config: Mapping[str, Any], context: Context) -> Result:
    asked = config["executions"]
    found = context.options.provisioned(ref.name, ref.qualifier or "")
    failed = "FAILED" if found.failure else "IN_PROGRESS"
    return {
        "RequestedProvisionedConcurrentExecutions": asked,
        "AvailableProvisionedConcurrentExecutions": found.ready,
        "AllocatedProvisionedConcurrentExecutions": found.ready,
        "Status": "READY" if found.ready >= asked else failed,
        "StatusReason": found.failure if found.ready < asked and found.failure else None,
        "LastModified": config["last_modified"],
    }


OPERATIONS: Mapping[str, Handler] = {
    "DeleteFunctionConcurrency": delete_function_concurrency,
    "DeleteProvisionedConcurrencyConfig": delete_provisioned_concurrency_config,
    "GetAccountSettings": get_account_settings,
    "GetFunctionConcurrency": get_function_concurrency,
    "GetProvisionedConcurrencyConfig": get_provisioned_concurrency_config,
    "ListProvisionedConcurrencyConfigs": list_provisioned_concurrency_configs,
    "PutFunctionConcurrency": put_function_concurrency,
    "PutProvisionedConcurrencyConfig": put_provisioned_concurrency_config,
}
