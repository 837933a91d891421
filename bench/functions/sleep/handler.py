"""Waits without work, as a function that calls another service does."""

import time


def handler(event, context):
    """Sleep event["seconds"] (default 0.1) and return how long it really was."""
    began = time.perf_counter()
    time.sleep(event.get("seconds", 0.1))
    return {"slept_s": time.perf_counter() - began}
