"""Answers an HTTP API event (payload format 2.0), as function URLs and API Gateway send it.

docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

import base64
import json
import os


def handler(event, context):
    """Route by method and path; answer 404 where there is no route."""
    request = event["requestContext"]["http"]
    route = (request["method"], event.get("rawPath", "/"))
    if route == ("GET", "/"):
        name = event.get("queryStringParameters", {}).get("name", "world")
        return {
            "statusCode": 200,
            "headers": {"content-type": "text/html; charset=utf-8"},
            "body": f"<h1>{os.environ['GREETING']}, {escape(name)}!</h1>",
        }
    if route == ("POST", "/sum"):
        return {"statusCode": 200, "body": json.dumps({"sum": sum(json.loads(body_of(event)))})}
    return {"statusCode": 404, "body": json.dumps({"message": f"no route for {' '.join(route)}"})}


def body_of(event):
    """Return the request's body as text."""
    body = event.get("body", "")
    return base64.b64decode(body).decode() if event.get("isBase64Encoded") else body


def escape(text):
    """Return text that is safe inside HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
