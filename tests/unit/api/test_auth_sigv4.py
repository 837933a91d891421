"""Signatures: what botocore signs is taken, and each way of being wrong has AWS's error."""

import hashlib
import re

import pytest
import signers

from runtime import errors
from runtime.api.auth import keys, sigv4

ALICE = keys.Principal(arn="arn:aws:iam::000000000000:user/alice", name="alice", policies=())


class Ring:
    """One user, and one session."""

    def __init__(self):
        self.user = keys.Key(signers.KEY_ID, signers.SECRET, ALICE)
        self.session = keys.Key("ASIAEXAMPLE", "s" * 40, ALICE, token="token+/=")

    def find(self, access_key_id, token):
        key = self.user if token is None else self.session
        return key if (key.access_key_id, key.token) == (access_key_id, token) else None


@pytest.fixture
def verify():
    def verify(method, path, query, headers, body, *, now=signers.NOW, region=signers.REGION):
        verifier = sigv4.Verifier(Ring(), region=region, clock=lambda: now)
        claim = verifier.examine(method, path, query, headers)
        return verifier.conclude(claim, hashlib.sha256(body).hexdigest())

    return verify


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"body": b""},
        {"body": bytes(100_000)},
        {"method": "GET", "body": b"", "query": "MaxItems=10&Marker=a%2Fb%3D"},
        {"query": "Qualifier=%24LATEST"},
        {"path": "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello/invocations"},
        {"path": "/2015-03-31/functions/arn:aws:lambda:us-east-1:000000000000:function:hello/invocations"},
        {"path": "/2015-03-31//functions/./x/../hello/invocations"},
        {"path": "/"},
        {"headers": {"X-Amz-Log-Type": "Tail", "X-Custom": "  a   b  "}},
        {"headers": {"X-Custom": "größer"}},
        {"headers": {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}},
        {"headers": {"X-Amz-Content-SHA256": hashlib.sha256(b"{}").hexdigest()}},
        {"headers": {"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}},
        {"key_id": "ASIAEXAMPLE", "secret": "s" * 40, "token": "token+/="},
        {"now": signers.NOW - 899},
        {"now": signers.NOW + 899},
        {"presigned": 60, "body": b"", "method": "GET"},
        {"presigned": 60, "query": "Qualifier=a%20b", "now": signers.NOW - 59},
        {"presigned": 604800, "now": signers.NOW - 604799},
        {"presigned": 60, "key_id": "ASIAEXAMPLE", "secret": "s" * 40, "token": "token+/="},
    ],
    ids=str,
)
def test_what_botocore_signs_is_taken(verify, changes):
    assert verify(*signers.wire(**changes)) is ALICE


def test_a_query_may_be_encoded_otherwise_on_the_wire(verify):
    method, path, query, headers, body = signers.wire(query="Qualifier=%24LATEST&a=%7E")
    assert query == "Qualifier=%24LATEST&a=%7E"
    # What was signed is not the form that counts: AWS would take only the one with ~ as it is.
    with pytest.raises(errors.InvalidSignature):
        verify(method, path, query, headers, body)
    method, path, query, headers, body = signers.wire(query="Qualifier=%24LATEST&a=~")
    assert verify(method, path, "a=%7e&Qualifier=$LATEST", headers, body) is ALICE


def test_the_order_of_the_headers_parameters_and_spaces_between_them_do_not_matter(verify):
    method, path, query, headers, body = signers.wire()
    credential, signed, signature = re.findall(r"[A-Z]\w+=[^, ]+", headers["authorization"])
    headers["authorization"] = f"AWS4-HMAC-SHA256  {signature},{credential} ,  {signed}"
    assert verify(method, path, query, headers, body) is ALICE


def changed(**changes):
    """Return a signed request of which something was changed on the way."""
    parts = dict(zip(("method", "path", "query", "headers", "body"), signers.wire(), strict=True))
    headers = parts["headers"] | changes.pop("headers", {})
    parts |= changes
    parts["headers"] = {name: value for name, value in headers.items() if value is not None}
    return tuple(parts.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "GET"},
        {"path": "/2015-03-31/functions/other/invocations"},
        {"path": "/2015-03-31/functions/hell%6f/invocations"},
        {"query": "Qualifier=1"},
        {"body": b"{ }"},
        {"headers": {"host": "127.0.0.1:3002"}},
        {"headers": {"x-amz-date": "20260101T000001Z"}},
        {"headers": {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}},
    ],
    ids=str,
)
def test_what_is_changed_on_the_way_is_refused(verify, changes):
    with pytest.raises(errors.InvalidSignature):
        verify(*changed(**changes))


def test_a_wrong_secret_is_told_with_the_canonical_request(verify):
    with pytest.raises(errors.InvalidSignature) as raised:
        verify(*signers.wire(secret="x" * 40))
    assert raised.value.status == 403
    assert raised.value.body().keys() == {"message"}
    assert raised.value.message == (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details.\n\n"
        "The Canonical String for this request should have been\n'POST\n/2015-03-31/functions/hello/invocations\n\n"
        "host:127.0.0.1:3001\nx-amz-date:20260101T000000Z\n\nhost;x-amz-date\n"
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'\n\n"
        "The String-to-Sign should have been\n'AWS4-HMAC-SHA256\n20260101T000000Z\n"
        "20260101/us-east-1/lambda/aws4_request\n"
        f"{hashlib.sha256(raised.value.message.split(chr(39))[1].encode()).hexdigest()}'\n"
    )


SCOPE = "20260101/us-east-1/lambda/aws4_request"


def authorization(credential=f"{signers.KEY_ID}/{SCOPE}", signed="host;x-amz-date", signature="0" * 64):
    return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"


@pytest.mark.parametrize(
    ("headers", "error", "message"),
    [
        ({"authorization": None}, errors.MissingAuthenticationToken, "Missing Authentication Token"),
        ({"authorization": "Bearer x"}, errors.MissingAuthenticationToken, "Missing Authentication Token"),
        ({"authorization": "Basic eDp5"}, errors.MissingAuthenticationToken, "Missing Authentication Token"),
        ({"authorization": ""}, errors.MissingAuthenticationToken, "Missing Authentication Token"),
        (
            {"authorization": "AWS4-HMAC-SHA256 "},
            errors.IncompleteSignature,
            (
                "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
                "Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256 "
            ),
        ),
        (
            {"authorization": "AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b", "x-amz-date": None},
            errors.IncompleteSignature,
            (
                "Authorization header requires 'Signature' parameter. Authorization header requires existence of either a "
                "'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b"
            ),
        ),
        (
            {"x-amz-date": None, "authorization": authorization("a", "host", "beef")},
            errors.IncompleteSignature,
            (
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
                "Authorization=AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=..."
            ),
        ),
        (
            {"authorization": "AWS4-HMAC-SHA256 Credential=a, b/c, Signature=beef"},
            errors.IncompleteSignature,
            (
                "'b/c' not a valid key=value pair (missing equal-sign) in Authorization header: "
                "'AWS4-HMAC-SHA256 Credential=a, b/c, Signature=...'."
            ),
        ),
        (
            {"authorization": "AWS4-ECDSA-P256-SHA256 Credential=a"},
            errors.IncompleteSignature,
            "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256' (only AWS4-HMAC-SHA256 for now). ",
        ),
        (
            {"x-amz-date": "20260101"},
            errors.IncompleteSignature,
            "Date must be in ISO-8601 'basic format'. Got '20260101'. See http://en.wikipedia.org/wiki/ISO_8601",
        ),
        (
            {"x-amz-date": "20251231T234459Z"},
            errors.InvalidSignature,
            "Signature expired: 20251231T234459Z is now earlier than 20251231T234500Z (20260101T000000Z - 15 min.)",
        ),
        (
            {"x-amz-date": "20260101T001501Z"},
            errors.InvalidSignature,
            (
                "Signature not yet current: 20260101T001501Z is still later than 20260101T001500Z "
                "(20260101T000000Z + 15 min.)"
            ),
        ),
        (
            {"authorization": authorization(signed="x-amz-date")},
            errors.InvalidSignature,
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            {"authorization": authorization(signed="host")},
            errors.InvalidSignature,
            "There were headers present in the request which were not signed: x-amz-date",
        ),
        (
            {"x-amz-invocation-type": "Event"},
            errors.InvalidSignature,
            "There were headers present in the request which were not signed: x-amz-invocation-type",
        ),
        (
            {"authorization": authorization(signed="host;x-amz-date;x-other")},
            errors.InvalidSignature,
            "Signed headers are missing in the request: x-other",
        ),
        (
            {"authorization": authorization("a/b/c/d")},
            errors.IncompleteSignature,
            (
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
                "got 'a/b/c/d'"
            ),
        ),
        (
            {"authorization": authorization("a/b/c/d/e")},
            errors.InvalidSignature,
            (
                "Credential should be scoped to a valid region, not 'c'. "
                "Credential should be scoped to correct service: 'lambda'. "
                "Credential should be scoped with a valid terminator: 'aws4_request', not 'e'. "
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                "'b' != '20260101', from '20260101T000000Z'."
            ),
        ),
        (
            {"authorization": authorization(f"AKIAUNKNOWN/{SCOPE}")},
            errors.UnrecognizedClient,
            "The security token included in the request is invalid.",
        ),
    ],
    ids=str,
)
def test_each_way_of_being_wrong_has_its_error(verify, headers, error, message):
    with pytest.raises(errors.ApiError) as raised:
        verify(*changed(headers=headers))
    assert type(raised.value) is error
    assert raised.value.message == message
    assert raised.value.status == 403
    assert raised.value.body() == {"message": message}


def test_a_token_that_is_not_the_keys_own_is_refused(verify):
    for credentials in (
        {"token": "token+/="},
        {"key_id": "ASIAEXAMPLE", "secret": "s" * 40},
        {"key_id": "ASIAEXAMPLE", "secret": "s" * 40, "token": "other"},
    ):
        with pytest.raises(errors.UnrecognizedClient):
            verify(*signers.wire(**credentials))


@pytest.mark.parametrize("region", ["eu-west-1", ""])
def test_another_region_is_not_ours(verify, region):
    with pytest.raises(errors.InvalidSignature, match=f"valid region, not '{signers.REGION}'"):
        verify(*signers.wire(), region=region)


@pytest.mark.parametrize(
    "digest", ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", "A" * 64, hashlib.sha256(b"other").hexdigest()]
)
def test_a_digest_that_is_not_the_bodys_is_refused(verify, digest):
    with pytest.raises(errors.InvalidSignature, match="x-amz-content-sha256"):
        verify(*signers.wire(headers={"X-Amz-Content-SHA256": digest}))


def test_a_signature_that_is_no_text_of_ours_is_refused(verify):
    with pytest.raises(errors.InvalidSignature):
        verify(*changed(headers={"authorization": authorization(signature="\xff\u20ac")}))


def presigned(verify, *, old="", new="", **changes):
    method, path, query, headers, body = signers.wire(presigned=60, **changes)
    assert old in query
    return verify(method, path, query.replace(old, new) if old else query, headers, body)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"old": "X-Amz-Expires=60", "new": "X-Amz-Expires=61"}, errors.InvalidSignature, "calculated does not match"),
        ({"old": "X-Amz-Expires=60", "new": "X-Amz-Expires=0"}, errors.IncompleteSignature, "X-Amz-Expires"),
        ({"old": "X-Amz-Expires=60", "new": "X-Amz-Expires=604801"}, errors.IncompleteSignature, "X-Amz-Expires"),
        ({"old": "X-Amz-Expires=60", "new": "X-Amz-Expires=-1"}, errors.IncompleteSignature, "X-Amz-Expires"),
        ({"old": "X-Amz-Expires=60&", "new": ""}, errors.IncompleteSignature, "'X-Amz-Expires'. Re-examine"),
        ({"old": "X-Amz-SignedHeaders=host&", "new": ""}, errors.IncompleteSignature, "'X-Amz-SignedHeaders'"),
        ({"old": "HMAC", "new": "SHA1"}, errors.IncompleteSignature, "Unsupported AWS 'algorithm'"),
        ({"now": signers.NOW - 61}, errors.InvalidSignature, r"Signature expired: .* - 1 min\.\)"),
        ({"now": signers.NOW + 901}, errors.InvalidSignature, "Signature not yet current"),
        ({"key_id": "AKIAUNKNOWN"}, errors.UnrecognizedClient, "token included"),
    ],
    ids=str,
)
def test_presigned_requests_are_refused_in_the_same_ways(verify, changes, error, message):
    with pytest.raises(error, match=message):
        presigned(verify, **changes)


def test_a_presigned_request_can_be_given_no_header_that_changes_it(verify):
    method, path, query, headers, body = signers.wire(presigned=60)
    with pytest.raises(errors.InvalidSignature, match="not signed: x-amz-invocation-type"):
        verify(method, path, query, headers | {"x-amz-invocation-type": "Event"}, body)


def test_the_next_day_and_the_next_second_are_noticed():
    now = signers.NOW
    verifier = sigv4.Verifier(Ring(), region=signers.REGION, clock=lambda: now)

    def verify(at):
        method, path, query, headers, body = signers.wire(now=at)
        return verifier.conclude(verifier.examine(method, path, query, headers), hashlib.sha256(body).hexdigest())

    assert verify(now) is ALICE
    now += 86_400
    assert verify(now) is ALICE
    with pytest.raises(errors.InvalidSignature, match="expired"):
        verify(now - 86_400)


def test_nothing_shows_a_secret():
    ring = Ring()
    assert signers.SECRET not in repr(ring.user)
    assert ring.user.is_secret(signers.SECRET)
    assert not ring.user.is_secret(signers.SECRET[:-1])
