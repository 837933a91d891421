"""Results of events at SQS, SNS, EventBridge and S3, as their own clients see them."""

import json
import re

import pytest
from aws_stand_in import StandIn
from conftest import Server, create, until

FUNCTION = """
def handler(event, context):
    if event.get("fail"):
        raise ValueError("intentional failure")
    return {"got": event, "trace": __import__("os").environ["_X_AMZN_TRACE_ID"]}
"""
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    stand_in = StandIn(tmp_path_factory.mktemp("moto") / "log").start()
    yield stand_in
    stand_in.kill()


@pytest.fixture(scope="module")
def own(tmp_path_factory, aws):
    server = Server(
        tmp_path_factory.mktemp("async") / "state",
        env={
            "HOTFORK_AWS_ENDPOINT_URL": aws.url,
            "HOTFORK_ASYNC_INVOKE_RETRY_BASE_DELAY_S": "0.2",
            "HOTFORK_ASYNC_INVOKE_DELIVERY_AGE_S": "600",
        },
    ).start()
    yield server
    assert server.stop() == 0


@pytest.fixture
def client(own):
    return own.client()


def send(client, name, payload):
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(payload).encode())
    return answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]


def send_results(client, name, **destinations):
    client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={key: {"Destination": arn} for key, arn in destinations.items()},
    )


def take(aws, url, count=1):
    found = []

    def enough():
        found.extend(aws.messages(url))
        return len(found) >= count

    until(enough)
    assert len(found) == count
    return found


def test_records_in_a_queue(aws, client):
    url, arn = aws.queue("records")
    create(client, "to-queue", FUNCTION)
    send_results(client, "to-queue", OnSuccess=arn, OnFailure=arn)
    request_id = send(client, "to-queue", {"a": "ä"})
    (message,) = take(aws, url)
    record = json.loads(message["Body"])
    assert TIME.fullmatch(record.pop("timestamp"))
    assert record.pop("responsePayload")["got"] == {"a": "ä"}
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{ARN}to-queue:$LATEST",
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"a": "ä"},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
    }
    request_id = send(client, "to-queue", {"fail": 1})
    (message,) = take(aws, url)
    record = json.loads(message["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    response = record["responsePayload"]
    assert (response["errorType"], response["errorMessage"]) == ("ValueError", "intentional failure")
    assert response["requestId"] == request_id


def test_a_dead_letter_queue_gets_the_event_itself(aws, client):
    url, arn = aws.queue("dlq")
    create(client, "with-dlq", FUNCTION, DeadLetterConfig={"TargetArn": arn})
    request_id = send(client, "with-dlq", {"fail": 1, "text": "ä"})
    (message,) = take(aws, url)
    assert json.loads(message["Body"]) == {"fail": 1, "text": "ä"}
    assert message["MessageAttributes"] == {
        "RequestID": {"StringValue": request_id, "DataType": "String"},
        "ErrorCode": {"StringValue": "200", "DataType": "Number"},
        "ErrorMessage": {"StringValue": "intentional failure", "DataType": "String"},
    }


def subscribed(aws, topic, queue):
    sns = aws.client("sns")
    arn = sns.create_topic(Name=topic)["TopicArn"]
    url, queue_arn = aws.queue(queue)
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
    return url, arn


def test_a_topic_gets_records_and_dead_letters(aws, client):
    url, topic = subscribed(aws, "results", "of-results")
    create(client, "to-topic", FUNCTION)
    send_results(client, "to-topic", OnSuccess=topic)
    request_id = send(client, "to-topic", {"n": 1})
    (message,) = take(aws, url)
    record = json.loads(json.loads(message["Body"])["Message"])
    assert record["requestContext"]["requestId"] == request_id

    url, topic = subscribed(aws, "dead", "of-dead")
    create(client, "to-dead-topic", FUNCTION, DeadLetterConfig={"TargetArn": topic})
    client.put_function_event_invoke_config(FunctionName="to-dead-topic", MaximumRetryAttempts=0)
    request_id = send(client, "to-dead-topic", {"fail": 1})
    (message,) = take(aws, url)
    body = json.loads(message["Body"])
    assert json.loads(body["Message"]) == {"fail": 1}
    assert body["MessageAttributes"]["RequestID"] == {"Type": "String", "Value": request_id}
    assert body["MessageAttributes"]["ErrorCode"] == {"Type": "Number", "Value": "200"}


def test_a_bus_gets_events(aws, client):
    events = aws.client("events")
    bus = events.create_event_bus(Name="results")["EventBusArn"]
    url, queue = aws.queue("of-bus")
    events.put_rule(Name="all", EventBusName="results", EventPattern='{"source": ["lambda"]}')
    events.put_targets(Rule="all", EventBusName="results", Targets=[{"Id": "1", "Arn": queue}])
    create(client, "to-bus", FUNCTION)
    send_results(client, "to-bus", OnSuccess=bus, OnFailure=bus)
    request_id = send(client, "to-bus", {"n": 1})
    (message,) = take(aws, url)
    event = json.loads(message["Body"])
    assert event["source"] == "lambda"
    assert event["detail-type"] == "Lambda Function Invocation Result - Success"
    assert event["resources"] == [bus, f"{ARN}to-bus:$LATEST"]
    assert event["detail"]["requestContext"]["requestId"] == request_id
    send(client, "to-bus", {"fail": 1})
    (message,) = take(aws, url)
    assert json.loads(message["Body"])["detail-type"] == "Lambda Function Invocation Result - Failure"


def test_a_bucket_gets_objects(aws, client):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="failures")
    create(client, "to-bucket", FUNCTION)
    send_results(client, "to-bucket", OnFailure="arn:aws:s3:::failures")
    request_id = send(client, "to-bucket", {"fail": 1})
    (found,) = until(lambda: s3.list_objects_v2(Bucket="failures").get("Contents"))
    day = r"(\d{4})/(\d\d)/(\d\d)/\1-\2-\3T\d\d\.\d\d\.\d\d"
    assert re.fullmatch(rf"aws/lambda/async/to-bucket/{day}-[0-9a-f-]{{36}}", found["Key"])
    record = json.load(s3.get_object(Bucket="failures", Key=found["Key"])["Body"])
    assert record["requestContext"]["requestId"] == request_id


def test_without_any_concurrency_events_go_straight_to_their_destination(aws, client):
    url, arn = aws.queue("none")
    create(client, "zero", FUNCTION)
    client.put_function_concurrency(FunctionName="zero", ReservedConcurrentExecutions=0)
    send_results(client, "zero", OnFailure=arn)
    send(client, "zero", {})
    (message,) = take(aws, url)
    record = json.loads(message["Body"])
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert record["requestPayload"] == {}


def test_an_endpoint_that_goes_away_and_comes_back_misses_nothing(own, client, tmp_path):
    away = StandIn(tmp_path / "log").start()
    url, arn = away.queue("later")
    other = Server(
        tmp_path / "state",
        env={
            "HOTFORK_AWS_ENDPOINTS": f"sqs={away.url}",
            "HOTFORK_ASYNC_INVOKE_RETRY_BASE_DELAY_S": "0.2",
        },
    ).start()
    client = other.client()
    create(client, "f", FUNCTION)
    send_results(client, "f", OnSuccess=arn)
    ids = {send(client, "f", {"n": number}) for number in range(5)}
    seen = {json.loads(message["Body"])["requestContext"]["requestId"] for message in take(away, url, 5)}
    assert seen == ids
    away.kill()
    ids = {send(client, "f", {"n": number}) for number in range(50)}
    until(lambda: f'{{function="f"}} {50 + 5}' in received(other))
    until(lambda: failures(other) >= 2)
    # It even survives that we go away as well.
    other.kill()
    other.start()
    away.start()
    url, _ = away.queue("later")
    found = take(away, url, 50)
    assert {json.loads(message["Body"])["requestContext"]["requestId"] for message in found} == ids
    assert other.stop() == 0
    away.kill()


def received(server):
    return "\n".join(line for line in server.metrics() if line.startswith("hotfork_async_events_received_total"))


def failures(server):
    (value,) = server.values("hotfork_destination_delivery_failures_total")
    return value
