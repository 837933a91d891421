"""moto's server: the AWS services that functions and deploy tools need beside Lambda."""

import contextlib
import os
import re
import subprocess
import sys
import threading

import boto3

CREDENTIALS = {
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}


@contextlib.contextmanager
def running():
    """Run moto's server as a process of its own; yield its URL."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-u", "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            for line in process.stderr:
                found = re.search(r"http://127\.0\.0\.1:\d+", line)
                if found:
                    break
            else:
                raise AssertionError("moto's server did not start")
            # Its log must be read, or it stops when the pipe is full.
            reader = threading.Thread(target=process.stderr.read)
            reader.start()
            yield found[0]
        finally:
            process.kill()
        reader.join()


def client(url, service):
    return boto3.client(service, endpoint_url=url, **CREDENTIALS)
