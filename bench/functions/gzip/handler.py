"""Compresses a real file, one that every Python has: the source of its decimal module (about 230 KB)."""

import gzip
import importlib.util
from pathlib import Path


def handler(event, context):
    """Compress the file at event["level"] (default 6), expand it again, and return both sizes in bytes."""
    original = Path(importlib.util.find_spec("_pydecimal").origin).read_bytes()
    packed = gzip.compress(original, event.get("level", 6))
    return {"bytes": len(original), "packed": len(packed), "same": gzip.decompress(packed) == original}
