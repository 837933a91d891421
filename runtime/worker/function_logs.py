"""The log that a function writes: the pre-installed root handler, both formats, and the report of an error.

Source: awslambdaric, bootstrap.py (_setup_logging, log_error, StandardLogSink) and lambda_runtime_log_utils.py.
Everything goes to sys.stdout as it is at that moment, so redirected output is redirected here as well.
"""

import json
import logging
import sys
import time
import traceback
from typing import Any

from runtime.worker import faults, marshal_json

_TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
_TEXT_TIME = "%Y-%m-%dT%H:%M:%S"
_JSON_TIME = "%Y-%m-%dT%H:%M:%SZ"
_NO_BREAK_SPACE = "\u00a0"

_RESERVED = frozenset(
    """name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName created
    msecs relativeCreated thread threadName processName process aws_request_id tenant_id _frame_type""".split()  # noqa: SIM905 - readable
)

# The last value of an unserialisable extra is its str(): a log line is never lost.
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode

_INIT_WARNING = (
    "LAMBDA_WARNING: Unhandled exception. "
    "The most likely cause is an issue in the function code. "
    "However, in rare cases, a Lambda runtime update can cause unexpected function behavior. "
    "For functions using managed runtimes, runtime updates can be triggered by a function change, or can be "
    "applied automatically. To determine if the runtime has been updated, check the runtime version in the "
    "INIT_START log entry. If this error correlates with a change in the runtime version, you may be able to "
    "mitigate this error by temporarily rolling back to the previous runtime version. "
    "For more information, see https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html\r"
)


class StandardLogSink:
    """Where the root handler writes; functions find it as the handler's ``log_sink``."""

    __module__ = "awslambdaric.bootstrap"

    def log(self, msg: str, frame_type: bytes | None = None) -> None:  # noqa: ARG002 - AWS's signature
        """Write a text as it is."""
        sys.stdout.write(msg)

    def log_error(self, message_lines: list[str]) -> None:
        """Write lines as one event."""
        sys.stdout.write("\r".join(message_lines) + "\n")


class LambdaLoggerHandler(logging.Handler):
    """The root handler that every function finds installed."""

    __module__ = "awslambdaric.bootstrap"

    def __init__(self, log_sink: StandardLogSink) -> None:
        super().__init__()
        self.log_sink = log_sink

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.log_sink.log(self.format(record))


class LambdaLoggerFilter(logging.Filter):
    """Adds the invocation to each record."""

    __module__ = "awslambdaric.bootstrap"

    def __init__(self) -> None:
        super().__init__()
        self.request_id = ""
        self.tenant_id: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        record.aws_request_id = self.request_id
        record.tenant_id = self.tenant_id
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per record, with the record's extras."""

    __module__ = "awslambdaric.lambda_runtime_log_utils"

    def __init__(self) -> None:
        super().__init__(datefmt=_JSON_TIME)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        record.levelno = min(50, max(0, record.levelno)) // 10 * 10
        record.levelname = logging.getLevelName(record.levelno)
        failed = record.exc_info
        as_given = isinstance(record.msg, dict) and not record.args
        result: dict[str, Any] = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.msg if as_given else record.getMessage(),
            "logger": record.name,
            "stackTrace": traceback.format_tb(failed[2]) if failed else None,
            "errorType": failed[0].__name__ if failed else None,  # type: ignore[union-attr]
            "errorMessage": str(failed[1]) if failed else None,
            "requestId": getattr(record, "aws_request_id", None),
            "location": f"{record.pathname}:{record.funcName}:{record.lineno}" if failed else None,
        }
        tenant_id = getattr(record, "tenant_id", None)
        if tenant_id is not None:
            result["tenantId"] = tenant_id
        extras = {k: v for k, v in record.__dict__.items() if k not in _RESERVED and k not in result}
        result.update(extras)
        return _encode({k: v for k, v in result.items() if v is not None}) + "\n"


class FunctionLog:
    """The log of a worker's function: made before the fork, installed once, told about each invocation."""

    __slots__ = ("_filter", "_handler", "_json", "_json_format", "_sink", "_text_format")

    def __init__(self) -> None:
        self._json = False
        self._sink = StandardLogSink()
        self._filter = LambdaLoggerFilter()
        self._handler = LambdaLoggerHandler(self._sink)
        self._handler.addFilter(self._filter)
        self._text_format = logging.Formatter(_TEXT_FORMAT, _TEXT_TIME)
        self._json_format = JsonFormatter()

    def install(self, log_format: str | None, log_level: str | None) -> None:
        """Install the root handler; the arguments are AWS_LAMBDA_LOG_FORMAT and AWS_LAMBDA_LOG_LEVEL."""
        self._json = (log_format or "").upper() == "JSON"
        self._handler.formatter = self._json_format if self._json else self._text_format
        level = "DEBUG" if log_level == "TRACE" else (log_level or "").upper()
        if level and level in logging.getLevelNamesMapping():
            logging.root.setLevel(level)
        if self._handler not in logging.root.handlers:  # otherwise practised in the zygote
            logging.Formatter.converter = time.gmtime
            logging.root.addHandler(self._handler)

    def enter(self, request_id: str, tenant_id: str | None) -> None:
        """Say which invocation the coming records belong to."""
        self._filter.request_id = request_id
        self._filter.tenant_id = tenant_id

    def warn_of_init(self) -> None:
        """Write the warning that AWS puts before an error of the import."""
        logging.warning(_INIT_WARNING)  # noqa: LOG015 - the root logger, as AWS's runtime does

    def error(self, document: faults.Document) -> None:
        """Write an error document as AWS's runtime does: one event, indented with no-break spaces."""
        if self._json:
            stamp = time.strftime(_JSON_TIME, time.gmtime())
            record = {"timestamp": stamp, "level": "ERROR", **document}
            self._sink.log_error([marshal_json.to_json(record)])
        else:
            self._sink.log_error(_text_of(document))


def _text_of(document: faults.Document) -> list[str]:
    title = "[ERROR]"
    if document["errorType"]:
        title += " " + document["errorType"]
    if document["errorMessage"]:
        title += (":" if document["errorType"] else "") + " " + document["errorMessage"]
    lines = [title, "Traceback (most recent call last):"]
    for entry in document["stackTrace"]:
        lines += [_indented(line) for line in entry.splitlines()] if entry else [""]
    return lines


def _indented(line: str) -> str:
    text = line.lstrip(" ")
    return _NO_BREAK_SPACE * (len(line) - len(text)) + text
