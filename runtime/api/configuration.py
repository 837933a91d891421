"""A version's settings: made from a request, changed by one, and shown as FunctionConfiguration. Pure.

Defaults, limits and words are AWS's: docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html and
.../API_FunctionConfiguration.html, and answers recorded from the service.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from runtime import errors, model
from runtime.api import validation
from runtime.pool import report
from runtime.registry import names, records, registry

_ENVIRONMENT_LIMIT = 4096
_RESERVED = frozenset(
    {
        *("_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV"),
        *("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"),
        *("AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"),
        *("AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "TZ"),
    }
)
"""docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime"""

_DEPRECATED = frozenset(
    {
        *("dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "go1.x", "java8", "nodejs"),
        *("nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x"),
        *("provided", "python2.7", "python3.6", "python3.7", "ruby2.5", "ruby2.7"),
    }
)

_KEPT = ("VpcConfig", "DeadLetterConfig", "KMSKeyArn", "FileSystemConfigs", "TenancyConfig", "DurableConfig")
"""Members that are stored as they came, and shown only where they were given."""

_PENDING = "The function is being created."
_SNAPSHOT = model.Snapshot
_OPTIMIZED = {_SNAPSHOT.MAKING, _SNAPSHOT.REMAKING, _SNAPSHOT.READY, _SNAPSHOT.IDLE}
_FAILED = "An error occurred during function initialization."
_STATES: Mapping[model.Snapshot, Mapping[str, str]] = {
    _SNAPSHOT.MAKING: {"State": "Pending", "StateReason": _PENDING, "StateReasonCode": "Creating"},
    _SNAPSHOT.REMAKING: {
        "State": "Pending",
        "StateReason": "The function is being restored.",
        "StateReasonCode": "Restoring",
    },
    _SNAPSHOT.IDLE: {
        "State": "Inactive",
        "StateReason": "The function is currently idle.",
        "StateReasonCode": "Idle",
        "LastUpdateStatus": "Successful",
    },
    _SNAPSHOT.FAILED: {
        "State": "Failed",
        "StateReason": _FAILED,
        "StateReasonCode": "FunctionError",
        "LastUpdateStatus": "Failed",
        "LastUpdateStatusReason": _FAILED,
        "LastUpdateStatusReasonCode": "FunctionError",
    },
}
"""What a version with SnapStart says of itself (.../lambda/latest/dg/functions-states.html, .../snapstart.html)."""


def of_create(name: str, request: Mapping[str, Any], interpreters: Collection[str]) -> dict[str, Any]:
    """Return the settings of a new function; ``interpreters`` are the runtimes this machine can run."""
    if request.get("PackageType", "Zip") != "Zip":
        raise errors.InvalidParameterValue("hotfork runs zip packages, not container images: PackageType must be Zip")
    if "Runtime" not in request or "Handler" not in request:
        raise errors.InvalidParameterValue(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    settings: dict[str, Any] = {
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None"},
        "TracingConfig": {"Mode": "PassThrough"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }
    if "Architectures" in request:
        settings["Architectures"] = request["Architectures"]
    if "TenancyConfig" in request:
        settings["TenancyConfig"] = request["TenancyConfig"]
    return of_update(settings, request, interpreters)


def of_update(settings: Mapping[str, Any], request: Mapping[str, Any], interpreters: Collection[str]) -> dict[str, Any]:
    """Return settings with a request's changes. Layers are not among them: they are looked up."""
    changed = dict(settings)
    if "Runtime" in request:
        check_runtime(request["Runtime"], interpreters)
    for key in ("Runtime", "Role", "Handler", "Description", "Timeout", "MemorySize", "EphemeralStorage"):
        if key in request:
            changed[key] = request[key]
    for key in ("VpcConfig", "DeadLetterConfig", "KMSKeyArn", "FileSystemConfigs", "DurableConfig"):
        if key in request:
            changed[key] = request[key]
    if request.get("SnapStart", {}).get("ApplyOn"):
        changed["SnapStart"] = {"ApplyOn": request["SnapStart"]["ApplyOn"]}
    if request.get("TracingConfig", {}).get("Mode"):
        changed["TracingConfig"] = {"Mode": request["TracingConfig"]["Mode"]}
    if "Environment" in request:
        changed["Environment"] = {"Variables": _environment(request["Environment"].get("Variables", {}))}
    if "LoggingConfig" in request:
        changed["LoggingConfig"] = _logging(changed["LoggingConfig"], request["LoggingConfig"])
    return changed


def check_runtime(runtime: str, interpreters: Collection[str]) -> None:
    """Raise InvalidParameterValue for a runtime that is unknown, gone or not to be had here."""
    if runtime in interpreters:
        return
    if runtime in _DEPRECATED:
        raise errors.InvalidParameterValue(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime not in validation.RUNTIMES:
        raise errors.InvalidParameterValue(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{', '.join(validation.RUNTIMES)}] or be a valid ARN"
        )
    offered = f"This machine offers: {', '.join(interpreters) or 'none'}."
    if not runtime.startswith("python"):
        raise errors.InvalidParameterValue(f"hotfork runs Python functions, so not {runtime}. {offered}")
    raise errors.InvalidParameterValue(
        f"No interpreter for the runtime {runtime} was found. Install it, so that `{runtime}` is on the server's PATH, "
        f'or name it in the configuration: [interpreters] "{runtime}" = "/path/to/{runtime}". {offered}'
    )


def _environment(variables: Mapping[str, str]) -> Mapping[str, str]:
    reserved = [name for name in variables if name in _RESERVED]
    if reserved:
        raise errors.InvalidParameterValue(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    if any("\0" in value for value in variables.values()):
        # No process can be given one: execve(2) ends strings there.
        raise errors.InvalidParameterValue("Environment variables cannot hold NUL characters.")
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > _ENVIRONMENT_LIMIT:
        raise errors.InvalidParameterValue(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured}"
        )
    return variables


def _logging(present: Mapping[str, str], asked: Mapping[str, str]) -> dict[str, str]:
    merged = {**present, **asked}
    if merged["LogFormat"] == "JSON":
        return {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", **merged}
    if "ApplicationLogLevel" in asked or "SystemLogLevel" in asked:
        raise errors.InvalidParameterValue(
            "To set LogLevel, LogFormat must be set to JSON. Set LogFormat to JSON to be able to set LogLevel."
        )
    return {key: value for key, value in merged.items() if key in {"LogFormat", "LogGroup"}}


def shown(
    version: records.VersionRecord,
    site: names.Site,
    *,
    qualifier: str | None = None,
    brief: bool = False,
    snapshot: model.Snapshot = model.Snapshot.OFF,
) -> dict[str, Any]:
    """Return a version as FunctionConfiguration; its ARN bears ``qualifier``. ``brief`` is how lists have it.

    ``snapshot`` is what there is of the one that its workers start from.
    """
    settings = version.settings
    document: dict[str, Any] = {
        "FunctionName": version.function,
        "FunctionArn": site.function_arn(version.function, qualifier),
        "CodeSize": version.code.size,
        "CodeSha256": registry.base64_digest(version.code.sha256),
        "LastModified": version.last_modified,
        "Version": version.number,
        "RevisionId": version.revision_id,
        "SnapStart": {**settings["SnapStart"], "OptimizationStatus": "On" if snapshot in _OPTIMIZED else "Off"},
    }
    for key in (
        *("Runtime", "Role", "Handler", "Description", "Timeout", "MemorySize", "TracingConfig", "PackageType"),
        *("Architectures", "EphemeralStorage", "LoggingConfig", "Environment"),
    ):
        if key in settings:
            document[key] = settings[key]
    document |= {key: settings[key] for key in _KEPT if settings.get(key)}
    if settings.get("DeadLetterConfig", {}).get("TargetArn") == "":
        del document["DeadLetterConfig"]
    if "VpcConfig" in document:
        document["VpcConfig"] = _vpc(settings["VpcConfig"])
    if version.layers:
        document["Layers"] = [{"Arn": layer.arn, "CodeSize": layer.code.size} for layer in version.layers]
    if not brief:
        arn = runtime_version_arn(settings["Runtime"], site)
        document |= {"RuntimeVersionConfig": {"RuntimeVersionArn": arn}, **_state(version, snapshot)}
    return document


def _state(version: records.VersionRecord, snapshot: model.Snapshot) -> Mapping[str, str]:
    if snapshot in _STATES:
        return _STATES[snapshot]
    state = {"State": version.state}
    if version.state == "Pending":
        return {**state, "StateReason": _PENDING, "StateReasonCode": "Creating"}
    if version.update_status == "InProgress":
        # The words are AWS's, for an update as well.
        state |= {"LastUpdateStatusReason": _PENDING, "LastUpdateStatusReasonCode": "Creating"}
    if version.update_status:
        state["LastUpdateStatus"] = version.update_status
    return state


def _vpc(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "SubnetIds": asked.get("SubnetIds", []),
        "SecurityGroupIds": asked.get("SecurityGroupIds", []),
        "VpcId": "",
        "Ipv6AllowedForDualStack": asked.get("Ipv6AllowedForDualStack", False),
    }


def runtime_version_arn(runtime: str, site: names.Site) -> str:
    """Return the ARN of the one version that a runtime has here."""
    return report.runtime_version_arn(runtime, site.partition, site.region)
