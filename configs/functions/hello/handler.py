"""Greets. The least that a function is."""


def handler(event, context):
    """Return a greeting for event["name"]."""
    print(f"greeting from {context.function_name}:{context.function_version}")
    return {"message": f"Hello, {event.get('name', 'world')}!", "request": context.aws_request_id}
