"""Sends what came of events to SQS, SNS, EventBridge and S3, of AWS or of whatever the settings name instead.

Blocking: for threads.
"""

import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import botocore.exceptions

from runtime import errors
from runtime.invoke import clients, endings
from runtime.invoke.destinations import record

SERVICES = ("sqs", "sns", "events", "s3")

_PASSING = frozenset(
    {
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
"""Refusals that concern the target, not the message."""
_PASSING_CODES = frozenset(
    {
        "AccessDenied",
        "AWS.SimpleQueueService.NonExistentQueue",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "NoSuchBucket",
        "NotFound",
        "QueueDoesNotExist",
        "RequestThrottled",
        "ResourceNotFoundException",
        "Throttling",
        "ThrottlingException",
    }
)


class Undelivered(errors.HotforkError):
    """A message could not be delivered."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused
        """Whether the target answered, and refused this one message."""


class Sender:
    """Sends to the four services; use from any thread."""

    def __init__(self, region: str, endpoint_of: Callable[[str], str | None]) -> None:
        """``endpoint_of`` gives a service's endpoint, None for AWS's own."""
        self._endpoint_of = endpoint_of
        self._clients = clients.Clients(region, endpoint_of)
        self._queue_urls: dict[str, str] = {}

    def send(self, ending: endings.Ending, payload: bytes) -> None:
        """Deliver what came of an event to its target; raise Undelivered."""
        target = ending.target
        parts = target.split(":", 5)
        try:
            _, _, service, region, account, resource = parts
            deliver = {"sqs": self._to_queue, "sns": self._to_topic, "events": self._to_bus, "s3": self._to_bucket}[
                service
            ]
        except (ValueError, KeyError):
            raise Undelivered(f"{target} is not the ARN of a queue, topic, bus or bucket", refused=True) from None
        try:
            deliver(self._clients.get(service, region), ending, payload, account, resource)
        except botocore.exceptions.ClientError as error:
            raise self._undelivered(target, error) from None
        except (botocore.exceptions.BotoCoreError, OSError) as error:
            raise Undelivered(str(error)) from None

    def _to_queue(self, client: Any, ending: endings.Ending, payload: bytes, account: str, name: str) -> None:
        url = self._queue_url(client, ending.target, account, name)
        client.send_message(QueueUrl=url, **_message(ending, payload, "MessageBody"))

    def _to_topic(self, client: Any, ending: endings.Ending, payload: bytes, _account: str, _name: str) -> None:
        client.publish(TopicArn=ending.target, **_message(ending, payload, "Message"))

    def _to_bus(self, client: Any, ending: endings.Ending, payload: bytes, _account: str, _name: str) -> None:
        answer = client.put_events(Entries=[record.bus_entry(ending, payload, ending.target)])
        if answer.get("FailedEntryCount"):
            failed = answer["Entries"][0]
            raise Undelivered(f"{failed.get('ErrorCode')}: {failed.get('ErrorMessage')}")

    def _to_bucket(self, client: Any, ending: endings.Ending, payload: bytes, _account: str, name: str) -> None:
        client.put_object(
            Bucket=name,
            Key=record.object_key(ending, uuid.uuid4()),
            Body=record.invocation_record(ending, payload),
            ContentType="application/json",
        )

    def _queue_url(self, client: Any, arn: str, account: str, name: str) -> str:
        """Return a queue's URL, which whoever offers queues may form as they like."""
        url = self._queue_urls.get(arn)
        if url is None:
            if self._endpoint_of("sqs") is None:
                url = f"{client.meta.endpoint_url}/{account}/{name}"
            else:
                url = client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
            self._queue_urls[arn] = url
        return url

    def _undelivered(self, target: str, error: botocore.exceptions.ClientError) -> Undelivered:
        self._queue_urls.pop(target, None)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        passing = status in _PASSING or code in _PASSING_CODES or not 400 <= status < 500  # noqa: PLR2004
        return Undelivered(str(error), refused=not passing)


def _message(ending: endings.Ending, payload: bytes, body: str) -> dict[str, Any]:
    """Return the message for a queue or topic: the event itself, or its record."""
    if ending.queue:
        return {body: payload.decode(), "MessageAttributes": record.queue_attributes(ending)}
    return {body: record.invocation_record(ending, payload).decode()}
