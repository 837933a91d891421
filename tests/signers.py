"""Requests signed by botocore, as a server sees them."""

import datetime as dt
import urllib.parse
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials

KEY_ID = "AKIAEXAMPLE000000001"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
REGION = "us-east-1"
HOST = "127.0.0.1:3001"
NOW = 1_767_225_600.0
"""2026-01-01T00:00:00Z"""


def wire(
    method="POST",
    path="/2015-03-31/functions/hello/invocations",
    query="",
    headers=None,
    body=b"{}",
    *,
    key_id=KEY_ID,
    secret=SECRET,
    token=None,
    region=REGION,
    service="lambda",
    now=NOW,
    presigned=None,
):
    """Return (method, path, query, headers, body) of a request that botocore signed; ``presigned`` is a lifetime."""
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    request = botocore.awsrequest.AWSRequest(method, url, headers=headers or {}, data=body)
    credentials = botocore.credentials.Credentials(key_id, secret, token)
    moment = dt.datetime.fromtimestamp(now, dt.UTC).replace(tzinfo=None)
    if presigned is None:
        signer = botocore.auth.SigV4Auth(credentials, service, region)
    else:
        signer = botocore.auth.SigV4QueryAuth(credentials, service, region, expires=presigned)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=moment):
        signer.add_auth(request)
    if presigned is not None:
        body = b""  # botocore moves it into the query
    parts = urllib.parse.urlsplit(request.url)
    sent = {"host": HOST, "content-length": str(len(body)), "accept-encoding": "identity"}
    for name, value in request.headers.items():
        # http.client encodes what it sends so; the server decodes every byte to one character.
        text = value if isinstance(value, str) else value.decode()
        sent[name.lower()] = text.encode("utf-8").decode("latin-1")
    return method, parts.path, parts.query, sent, body
