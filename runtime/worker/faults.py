"""Why an invocation or an import failed, as AWS's error documents tell it.

Source: awslambdaric, bootstrap.py (make_error, build_fault_result, extract_traceback). A document is a dict with
the keys errorMessage, errorType, requestId, stackTrace, in this order. Stack traces start with the first frame
that is not the runtime's; when there is no other (a handler that takes the wrong number of arguments), AWS
shows its own, and so do we: functions are developed against these texts.
"""

import traceback
from types import TracebackType
from typing import Any

UNMARSHAL = "Runtime.UnmarshalError"
MARSHAL = "Runtime.MarshalError"
SYNTAX = "Runtime.UserCodeSyntaxError"
HANDLER_NOT_FOUND = "Runtime.HandlerNotFound"
IMPORT_MODULE = "Runtime.ImportModuleError"
BUILT_IN_CONFLICT = "Runtime.BuiltInModuleConflict"
MALFORMED_HANDLER = "Runtime.MalformedHandlerName"
CONTEXT_UNMARSHAL = "Runtime.LambdaContextUnmarshalError"
TOO_LARGE = "Function.ResponseSizeTooLarge"

_OWN_FILES = __file__.rpartition("/")[0] + "/"
DISGUISE = "/var/runtime/bootstrap.py"
"""The name of AWS's runtime in stack traces, which ours takes: see interpreter.disguise."""

_AWS_FRAME = (
    DISGUISE,
    178,
    "handle_event_request",
    "response = request_handler(event, lambda_context)",
)

Document = dict[str, Any]


class Fault(Exception):
    """A failure that the runtime itself finds; its document shows no frames."""

    def __init__(self, error_type: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.trace = trace

    def document(self, request_id: str = "") -> Document:
        """Return the error document."""
        return document(self.message, self.error_type, self.trace, request_id)


def document(message: str, error_type: str, trace: list[str] | None = None, request_id: str = "") -> Document:
    """Return an error document in AWS's key order."""
    return {
        "errorMessage": message,
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": trace or [],
    }


def of_exception(error: BaseException, request_id: str = "") -> Document:
    """Return the document of an exception that left the function's code.

    Raises what the exception's own __str__ raises: on Lambda that ends the process.
    """
    trace = traceback.format_list(_frames(error.__traceback__))
    return document(str(error), type(error).__name__, trace, request_id)


def is_own(filename: str) -> bool:
    """Return whether code of this name is the runtime's."""
    return filename == DISGUISE or filename.startswith(_OWN_FILES)


def without_own_frames(tb: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins in the function's code."""
    while tb is not None and is_own(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return tb


def _frames(tb: TracebackType | None) -> list[Any]:
    # Plain tuples: a FrameSummary would add the ^^^^ marks that AWS's traces do not have.
    seen = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(tb) if not is_own(f.filename)]
    frames = [_AWS_FRAME, *seen]
    # AWS's rule goes by the name of its file, so it takes frames of a function's own bootstrap.py, too.
    for index, (filename, *_) in enumerate(frames):
        if "/bootstrap.py" not in filename:
            return frames[index:]
    return frames
