"""JSON round trips of a document with nested objects, texts and numbers."""

import json


def handler(event, context):
    """Encode and decode event["rows"] (default 500) rows event["times"] (default 5) times; return the size in bytes."""
    document = {
        "rows": [
            {"id": i, "name": f"row {i}", "price": i * 1.25, "tags": ["a", "ü", None, True], "at": {"x": i, "y": -i}}
            for i in range(event.get("rows", 500))
        ]
    }
    text = ""
    current = document
    for _ in range(event.get("times", 5)):
        text = json.dumps(current)
        current = json.loads(text)
    return {"bytes": len(text), "same": current == document}
