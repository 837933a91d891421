"""Logs and fails, to show what failures look like: hotfork invoke fails -p '{"how": "raise"}' --log."""

import logging
import os
import sys
import time

logger = logging.getLogger()
logger.setLevel(logging.INFO)


class OutOfStock(Exception):
    """The exception that the caller sees as errorType."""


def handler(event, context):
    """Fail in the way that event["how"] names; return when it names none."""
    how = event.get("how", "raise")
    logger.info("about to fail: %s", how)
    if how == "raise":
        raise OutOfStock("no apples left")
    if how == "exit":
        sys.exit(3)
    if how == "crash":
        os.abort()
    if how == "timeout":
        time.sleep(context.get_remaining_time_in_millis() / 1000 + 5)
    if how == "memory":
        return len(bytearray(int(context.memory_limit_in_mb) * 2**20))
    return {"how": how, "failed": False}
