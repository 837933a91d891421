"""What is known of an event while it waits, and of one that ended. Pure; both are kept as msgpack."""

import dataclasses
import json
from typing import Any

import msgpack
import msgspec

from runtime import model
from runtime.invoke import retry

MESSAGE_LIMIT = 1024
"""Characters of an error message that are kept; AWS sends as much to dead-letter queues
(docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html)."""
_DOCUMENT_LIMIT = 256 * 1024


@model.frozen
class Try:
    """One run of an event that failed."""

    at: float
    duration_s: float
    error_type: str
    message: str


@model.frozen
class About:
    """What an event brings along besides its payload, and what has become of it so far."""

    request_id: str
    """The same for all tries."""
    qualifier: str | None = None
    trace_id: str | None = None
    client_context: bytes | None = None
    tenant_id: str | None = None
    tries: tuple[Try, ...] = ()
    log_tail: bytes = b""
    """Of the last try."""

    def encode(self) -> bytes:
        """Return it as the queue keeps it."""
        packed: bytes = msgpack.packb(self._plain())
        return packed

    @staticmethod
    def decode(packed: bytes) -> "About":
        """Return what ``encode`` was given."""
        return _about(msgpack.unpackb(packed))

    def _plain(self) -> list[Any]:
        tries = [(one.at, one.duration_s, one.error_type, one.message) for one in self.tries]
        return [
            self.request_id,
            self.qualifier,
            self.trace_id,
            self.client_context,
            self.tenant_id,
            tries,
            self.log_tail,
        ]

    def anew(self) -> "About":
        """Return it as it was before the first try."""
        return dataclasses.replace(self, tries=(), log_tail=b"")

    def after(self, failed: Try, log_tail: bytes) -> "About":
        """Return it with one try more."""
        return dataclasses.replace(self, tries=(*self.tries, failed), log_tail=log_tail)


@model.frozen
class Ending:
    """How an event ended: what its record, its message for a dead-letter queue and its letter are made of."""

    function: str
    function_arn: str
    """With a qualifier, $LATEST where the caller gave none."""
    about: About
    condition: retry.Condition
    accepted: float
    ended: float
    invoke_count: int
    status: int = 200
    """The HTTP status that the last try would have had as a synchronous call."""
    executed_version: str | None = None
    """None where the function was not run, or not lately."""
    response: bytes | None = None
    """What the last try returned, or its error document."""
    failed: bool = False
    error_type: str = ""
    error_message: str = ""
    target: str = ""
    """ARN of where it is to be delivered."""
    queue: bool = False
    """Whether the target is the function's dead-letter queue, not a destination."""
    undelivered: str = ""
    """Why it could not be delivered."""

    def to(self, target: str, *, queue: bool) -> "Ending":
        """Return it addressed."""
        return dataclasses.replace(self, target=target, queue=queue)

    def left(self, undelivered: str) -> "Ending":
        """Return it as it is kept when it could not be delivered."""
        return dataclasses.replace(self, undelivered=undelivered[:MESSAGE_LIMIT])

    def encode(self) -> bytes:
        """Return it as the queue keeps it."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain |= {"about": self.about._plain(), "condition": self.condition.value}  # noqa: SLF001 - of this module
        packed: bytes = msgpack.packb(plain)
        return packed

    @staticmethod
    def decode(packed: bytes) -> "Ending":
        """Return what ``encode`` was given."""
        plain = msgpack.unpackb(packed)
        plain |= {"about": _about(plain["about"]), "condition": retry.Condition(plain["condition"])}
        return Ending(**plain)


def _about(plain: list[Any]) -> About:
    request_id, qualifier, trace_id, client_context, tenant_id, tries, log_tail = plain
    return About(
        request_id=request_id,
        qualifier=qualifier,
        trace_id=trace_id,
        client_context=client_context,
        tenant_id=tenant_id,
        tries=tuple(Try(at=at, duration_s=s, error_type=kind, message=text) for at, s, kind, text in tries),
        log_tail=log_tail,
    )


class _Document(msgspec.Struct):
    errorMessage: Any = ""  # noqa: N815 - AWS's name


_DOCUMENTS = msgspec.json.Decoder(_Document)


def message_of(document: bytes) -> str:
    """Return the message of an error document, which a worker made: anything may be in it."""
    if len(document) > _DOCUMENT_LIMIT:
        return ""
    try:
        message = _DOCUMENTS.decode(document).errorMessage
    except (msgspec.DecodeError, RecursionError):
        return ""
    text = message if isinstance(message, str) else json.dumps(message)
    return text[:MESSAGE_LIMIT]
