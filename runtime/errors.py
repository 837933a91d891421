"""One tree of errors, drawn here; whose fault it is shows in the type.

    HotforkError
      ConfigError              the operator's: a setting is wrong
      IsolationError           the machine's: a promised control cannot be had
      ApiError                 the caller's, with AWS's error code and HTTP status
        InvalidParameterValue  ResourceNotFound  ResourceConflict  PreconditionFailed
        RequestTooLarge  InvalidRequestContent  UnsupportedMediaType  TooManyRequests
        Validation  Serialization  ServiceFault  NotBuilt ...
        AccessDenied  MissingAuthenticationToken  IncompleteSignature  InvalidSignature  UnrecognizedClient
      WorkerLost               the worker broke: the invocation gets AWS's error for it
      InvalidTransition        ours: a bug

A function's own exception is data (an Outcome), never a Python exception in the supervisor.
"""

from typing import ClassVar


class HotforkError(Exception):
    """Anything hotfork raises on purpose; the docstring is the default message."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message if message is not None else (self.__doc__ or "").strip()
        super().__init__(self.message)


class ConfigError(HotforkError):
    """A setting is wrong."""


class IsolationError(HotforkError):
    """A control of the sandbox that was asked for cannot be had on this machine."""


class InvalidTransition(HotforkError):
    """A state machine was given an event that its state does not allow."""


class WorkerLost(HotforkError):
    """A worker could not be started or broke before it could answer."""


class Withdrawn(HotforkError):
    """Nobody waits for the invocation any more."""


class ApiError(HotforkError):
    """The caller's fault, as AWS's Lambda API reports it.

    ``message_key`` is the key of the message on the wire ("Message" or "message") and ``type_`` the value of
    its "Type" key, or None where AWS leaves that out.
    """

    code: ClassVar[str] = "ServiceException"
    status: ClassVar[int] = 500
    message_key: ClassVar[str] = "Message"

    def __init__(
        self,
        message: str | None = None,
        *,
        type_: str | None = "User",
        extra: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.type_ = type_
        self.extra = extra or {}
        self.headers = headers or {}

    def body(self) -> dict[str, str]:
        """Return the JSON document of the error, in AWS's key order."""
        document = {} if self.type_ is None else {"Type": self.type_}
        return {**document, self.message_key: self.message, **self.extra}


class ServiceFault(ApiError):
    """An internal error occurred."""

    code = "ServiceException"
    status = 500

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, type_="Service")


class NotBuilt(ApiError):
    """This operation is part of the Lambda API, but hotfork does not offer it."""

    code = "NotImplementedException"
    status = 501


class UnknownOperation(ApiError):
    """No operation of the Lambda API has this method and path."""

    code = "UnknownOperationException"
    status = 404


class InvalidParameterValue(ApiError):
    """One of the parameters in the request is not valid."""

    code = "InvalidParameterValueException"
    status = 400
    message_key = "message"


class Validation(ApiError):
    """1 validation error detected."""

    code = "ValidationException"
    status = 400
    message_key = "message"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, type_=None)


class Serialization(ApiError):
    """The request body could not be read as what the operation takes."""

    code = "SerializationException"
    status = 400

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, type_=None)


class ResourceNotFound(ApiError):
    """The resource specified in the request does not exist."""

    code = "ResourceNotFoundException"
    status = 404


class CodeSigningConfigNotFound(ApiError):
    """The code signing configuration cannot be found."""

    code = "CodeSigningConfigNotFoundException"
    status = 404


class ProvisionedConcurrencyConfigNotFound(ApiError):
    """No Provisioned Concurrency Config found for this function"""  # noqa: D400 - AWS's message

    code = "ProvisionedConcurrencyConfigNotFoundException"
    status = 404
    message_key = "message"


class ResourceConflict(ApiError):
    """The resource already exists, or another operation is in progress."""

    code = "ResourceConflictException"
    status = 409
    message_key = "message"


class PreconditionFailed(ApiError):
    """The RevisionId provided does not match the latest RevisionId."""

    code = "PreconditionFailedException"
    status = 412
    message_key = "message"


class InvalidRequestContent(ApiError):
    """The request body could not be parsed as JSON."""

    code = "InvalidRequestContentException"
    status = 400
    message_key = "message"


class UnsupportedMediaType(ApiError):
    """The content type of the Invoke request body is not JSON."""

    code = "UnsupportedMediaTypeException"
    status = 415
    message_key = "message"


class RequestTooLarge(ApiError):
    """The request payload exceeded the Invoke request body JSON input quota."""

    code = "RequestTooLargeException"
    status = 413


class RequestEntityTooLarge(ApiError):
    """Request must be smaller than 70167211 bytes for the CreateFunction operation"""  # noqa: D400 - AWS's

    code = "RequestEntityTooLargeException"
    status = 413


class CodeStorageExceeded(ApiError):
    """Code storage limit exceeded."""

    code = "CodeStorageExceededException"
    status = 400
    message_key = "message"


class AliasLimitExceeded(ApiError):
    """The function has as many aliases as it may have."""

    code = "AliasLimitExceededException"
    status = 400
    message_key = "message"


class PolicyLengthExceeded(ApiError):
    """The permissions policy for the resource is too large."""

    code = "PolicyLengthExceededException"
    status = 400
    message_key = "message"


class AccessDenied(ApiError):
    """The caller is not authorized to perform this operation."""

    code = "AccessDeniedException"
    status = 403

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, type_=None)


class ForeignAccount(AccessDenied):
    """What a request names belongs to another account, which there is not."""

    def __init__(self, resource: str, who: str, action: str = "") -> None:
        """Name the action only where it is not that of the request."""
        self.resource, self.who, self.action = resource, who, action
        super().__init__(
            f"User: {who} is not authorized to perform: {action or 'lambda:InvokeFunction'} on resource: {resource} "
            f"because no resource-based policy allows the {action or 'lambda:InvokeFunction'} action"
        )

    def asked(self, action: str, who: str | None) -> "ForeignAccount":
        """Return it as said to a caller (None: whoever it was) who asked for an action."""
        return ForeignAccount(self.resource, who or self.who, self.action or action)


class _Unauthenticated(ApiError):
    """It is not known who calls: docs.aws.amazon.com/lambda/latest/api/CommonErrors.html."""

    status = 403
    message_key = "message"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, type_=None)


class MissingAuthenticationToken(_Unauthenticated):
    """Missing Authentication Token"""  # noqa: D400 - AWS's message

    code = "MissingAuthenticationTokenException"


class PasswordWanted(MissingAuthenticationToken):
    """Missing Authentication Token"""  # noqa: D400 - of a page: a browser then asks its user

    status = 401

    def __init__(self) -> None:
        super().__init__()
        self.headers = {"WWW-Authenticate": 'Basic realm="hotfork", charset="UTF-8"'}


class IncompleteSignature(_Unauthenticated):
    """The request signature does not conform to AWS standards."""

    code = "IncompleteSignatureException"


class InvalidSignature(_Unauthenticated):
    """The request signature does not match."""

    code = "InvalidSignatureException"


class UnrecognizedClient(_Unauthenticated):
    """The security token included in the request is invalid."""

    code = "UnrecognizedClientException"


class ExpiredToken(_Unauthenticated):
    """The security token included in the request is expired"""  # noqa: D400 - AWS's message

    code = "ExpiredTokenException"


class RecursiveInvocation(ApiError):
    """A function was invoked in a loop, and its next invocation stopped."""

    code = "RecursiveInvocationException"
    status = 400

    def __init__(self) -> None:
        # docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, "Errors"
        super().__init__(
            "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services "
            "resources and stopped your function's invocation."
        )


class TooManyRequests(ApiError):
    """Rate Exceeded."""

    code = "TooManyRequestsException"
    status = 429
    message_key = "message"

    def __init__(self, reason: str, message: str | None = None) -> None:
        # The header and the Reason key: docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, "Errors".
        super().__init__(message, extra={"Reason": reason}, headers={"Retry-After": "1"})
        self.reason = reason
