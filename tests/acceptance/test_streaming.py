"""Streamed responses, read by AWS's own client."""

import base64
import http.client
import json

from conftest import create, until

SOURCE = """
import time
def handler(event, context):
    kind = event["kind"]
    if kind == "parts":
        return parts(event)
    if kind == "raise at once":
        raise ValueError("at once")
    return {"plain": True}

def parts(event):
    print("streaming")
    for number in range(event["count"]):
        if "tell" in event:
            print("yields", number)
        yield (b"%d" % number) * event.get("size", 1)
    if event.get("raise"):
        raise ValueError("in the middle")
"""


def stream(client, event, **options):
    """Return the payload and the end of a streamed response."""
    answer = client.invoke_with_response_stream(FunctionName="streaming", Payload=json.dumps(event), **options)
    payload, end = b"", None
    for part in answer["EventStream"]:
        if "PayloadChunk" in part:
            assert end is None
            payload += part["PayloadChunk"]["Payload"]
        else:
            end = part["InvokeComplete"]
    assert answer["ExecutedVersion"] == "$LATEST"
    return payload, end


def test_streams(client):
    create(client, "streaming", SOURCE, Timeout=30)
    payload, end = stream(client, {"kind": "parts", "count": 5}, LogType="Tail")
    assert payload == b"01234"
    assert "ErrorCode" not in end
    assert b"streaming" in base64.b64decode(end["LogResult"])

    payload, end = stream(client, {"kind": "parts", "count": 3, "raise": True})
    assert payload == b"012"
    assert end["ErrorCode"] == "ValueError"
    assert json.loads(end["ErrorDetails"])["errorMessage"] == "in the middle"

    assert stream(client, {"kind": "plain"}) == (b'{"plain": true}', {})
    payload, end = stream(client, {"kind": "raise at once"})
    assert (payload, end["ErrorCode"]) == (b"", "ValueError")


def test_a_stream_may_be_larger_than_a_response(client):
    create(client, "streaming-large", SOURCE, Timeout=60)
    answer = client.invoke_with_response_stream(
        FunctionName="streaming-large", Payload=json.dumps({"kind": "parts", "count": 10, "size": 2_000_000})
    )
    size = sum(len(part["PayloadChunk"]["Payload"]) for part in answer["EventStream"] if "PayloadChunk" in part)
    assert size == 20_000_000


def test_a_client_that_leaves_in_the_middle_harms_nobody(server, client):
    create(client, "streaming-left", SOURCE, Timeout=60)
    port = int(server.url.rsplit(":", 1)[1])
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(
            "POST",
            "/2021-11-15/functions/streaming-left/response-streaming-invocations",
            json.dumps({"kind": "parts", "count": 50, "size": 1_000_000}),
        )
        connection.getresponse().read(1000)
        connection.close()
    answer = client.invoke(FunctionName="streaming-left", Payload=b'{"kind": "plain"}')
    assert json.load(answer["Payload"]) == {"plain": True}


def test_a_client_that_does_not_read_makes_the_handler_wait(server, client):
    create(client, "streaming-waits", SOURCE, Timeout=60)
    create(client, "streaming-other", SOURCE, Timeout=60)
    port = int(server.url.rsplit(":", 1)[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(
        "POST",
        "/2021-11-15/functions/streaming-waits/response-streaming-invocations",
        json.dumps({"kind": "parts", "count": 100, "size": 1_000_000, "tell": True}),
    )
    logs = server.state_dir / "logs" / "aws" / "lambda" / "streaming-waits" / "current.log"

    def yielded():
        return logs.read_text(encoding="utf-8").count("yields") if logs.exists() else 0

    until(lambda: yielded() > 2)
    # It waits when it gets no further while others are served.
    still = 0
    while still < 20:
        before = yielded()
        client.invoke(FunctionName="streaming-other", Payload=b'{"kind": "plain"}')
        still = still + 1 if yielded() == before else 0
    # What is on its way fits into two pipes, a socket's two buffers and the transport's.
    assert yielded() < 40
    answer = connection.getresponse()
    size = 0
    while data := answer.read(1 << 20):
        size += len(data)
    connection.close()
    assert size > 100_000_000
    until(lambda: yielded() == 100)


def test_a_generator_invoked_without_streaming_is_an_error(client):
    create(client, "streaming-not", SOURCE, Timeout=30)
    answer = client.invoke(FunctionName="streaming-not", Payload=b'{"kind": "parts", "count": 1}')
    assert json.load(answer["Payload"])["errorType"] == "Runtime.MarshalError"
