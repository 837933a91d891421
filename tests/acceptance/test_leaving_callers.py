"""Callers that leave before they have their answer."""

import concurrent.futures
import contextlib
import socket

import pytest
from conftest import create, until

PLACES = 8
SLOW_START = """
import time
time.sleep(0.3)
def handler(event, context):
    return event
"""
PATHS = {
    "invoke": "/2015-03-31/functions/{}/invocations",
    "stream": "/2021-11-15/functions/{}/response-streaming-invocations",
}


@pytest.mark.parametrize("kind", PATHS)
def test_callers_that_leave_while_they_wait_for_a_worker_give_their_places_back(server, client, kind):
    name = f"left-{kind}"
    create(client, name, SLOW_START)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=PLACES)
    port = int(server.url.rsplit(":", 1)[1])
    request = f"POST {PATHS[kind].format(name)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            for _ in range(PLACES):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                sock.sendall(request.encode())

    def all_are_served():
        try:
            calls = [threads.submit(client.invoke, FunctionName=name, Payload=b"{}") for _ in range(PLACES)]
            return [call.result()["StatusCode"] for call in calls]
        except client.exceptions.TooManyRequestsException:
            return None  # the server has not heard yet that they left

    with concurrent.futures.ThreadPoolExecutor(PLACES) as threads:
        assert until(all_are_served) == [200] * PLACES
