"""Returns its event: the price of a payload, there and back."""


def handler(event, context):
    """Return the event."""
    return event
