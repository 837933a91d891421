"""The HTTP front end and the Lambda REST API.

``server`` speaks HTTP and knows nothing of Lambda; ``invocations`` answers Invoke; ``control`` answers the rest of the
API (the control plane), driven by botocore's service model. To embed the control plane::

    api = control.Api(registry, context.Options(interpreters=["python3.11"], account_concurrency=1000))
    status, headers, body = await api.handle("GET", "/2015-03-31/functions", "MaxItems=10", {"host": "h"}, b"")

An operation is a function ``async (request, context) -> result`` on plain values, listed in its module's OPERATIONS.
"""
