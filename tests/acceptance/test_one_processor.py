"""While calls come one at a time the server and the function share a processor, and afterwards they do not."""

import http.client
import json
import os

import pytest
from conftest import create, until

SOURCE = """
import os
def handler(event, context):
    return len(os.sched_getaffinity(0))
"""
PATH = "/2015-03-31/functions/processors/invocations"

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")


def test_server_and_function_share_a_processor_while_calls_come_one_at_a_time(server, client):
    create(client, "processors", SOURCE)
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=30)

    def call():
        connection.request("POST", PATH, "{}")
        return json.loads(connection.getresponse().read())

    everywhere = os.sched_getaffinity(0)
    assert call() == len(everywhere)
    until(lambda: call() == 1 and len(os.sched_getaffinity(server.process.pid)) == 1)
    until(lambda: os.sched_getaffinity(server.process.pid) == everywhere)
    assert call() == len(everywhere)
    connection.close()
