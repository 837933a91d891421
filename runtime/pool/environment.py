"""The environment variables and names that an execution environment has on AWS. Pure.

Recorded from AWS for python3.13 and 3.14; the list of what a function may not set itself is that of
docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html. A function's own variables come last, but cannot
replace these: the API refuses reserved names.
"""

import datetime as dt
from collections.abc import Mapping

from runtime import model

TASK_ROOT = "/var/task"
LAYER_ROOT = "/opt"
SDK_ROOT = "/var/runtime"


def variables(
    version: model.Version,
    *,
    stream: str,
    region: str,
    extra: Mapping[str, str],
    task_root: str = TASK_ROOT,
    layer_root: str = LAYER_ROOT,
    initialization: str = "on-demand",
) -> dict[str, str]:
    """Return all the environment of a worker: AWS's own, ``extra`` (credentials, endpoints), the function's."""
    settings = {
        "_HANDLER": version.handler,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{version.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": version.function_name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": version.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": initialization,
        "AWS_LAMBDA_LOG_GROUP_NAME": version.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "LAMBDA_TASK_ROOT": task_root,
        "LAMBDA_RUNTIME_DIR": SDK_ROOT,
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "LC_CTYPE": "C.UTF-8",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "LD_LIBRARY_PATH": (
            f"/var/lang/lib:/lib64:/usr/lib64:{SDK_ROOT}:{SDK_ROOT}/lib:{task_root}:{task_root}/lib:{layer_root}/lib"
        ),
        "PYTHONPATH": SDK_ROOT,
        "PWD": task_root,
        "SHLVL": "0",
    }
    if version.json_logs:
        settings["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        settings["AWS_LAMBDA_LOG_LEVEL"] = version.application_log_level
    return {**extra, **version.environment, **settings}


def stream_name(version: model.Version, day: dt.date, unique: str) -> str:
    """Return the name of an environment's log stream; ``unique`` is 32 hexadecimal digits."""
    return f"{day:%Y/%m/%d}/[{version.version}]{unique}"
