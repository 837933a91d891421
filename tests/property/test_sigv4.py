"""What is computed here is what botocore's own signer computes, for any request."""

import hashlib
import string

import pytest
import signers
from hypothesis import assume, given
from hypothesis import strategies as st

from runtime import errors
from runtime.api.auth import keys, parameters, sigv4
from runtime.cli import signing

ALICE = keys.Principal(arn="arn:aws:iam::000000000000:user/alice", name="alice", policies=())
KEY = keys.Key(signers.KEY_ID, signers.SECRET, ALICE)


class Ring:
    def find(self, access_key_id, token):
        return KEY if (access_key_id, token) == (signers.KEY_ID, None) else None


def verify(method, path, query, headers, body):
    verifier = sigv4.Verifier(Ring(), region=signers.REGION, clock=lambda: signers.NOW)
    return verifier.conclude(verifier.examine(method, path, query, headers), hashlib.sha256(body).hexdigest())


encoded = st.sampled_from([*string.ascii_letters, *"0189-_.~", "%20", "%2F", "%3A", "%24", "%C3%BC", "%25"])
names = st.lists(encoded, min_size=1, max_size=6).map("".join)
values = st.lists(encoded, max_size=6).map("".join)
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE"])
paths = st.lists(st.lists(encoded | st.sampled_from([":", "$"]), max_size=6).map("".join), max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)
queries = st.lists(st.tuples(names, values).map("=".join), max_size=4).map("&".join)
header_names = st.text(string.ascii_letters + "-", min_size=1, max_size=8).map(lambda text: f"X-{text}")
header_values = st.text(string.ascii_letters + string.digits + " \t,;=ü€", max_size=12)
headers = st.dictionaries(header_names, header_values, max_size=4)


def one_of_each(given_headers):
    """Return headers whose names differ by more than their case, and are none that signing has a meaning for."""
    found = {name.lower(): (name, value) for name, value in given_headers.items()}
    return {name: value for lower, (name, value) in found.items() if not lower.startswith("x-amz")}


@given(methods, paths, queries, headers, st.binary(max_size=64))
def test_what_botocore_signs_is_taken(method, path, query, given_headers, body):
    assume(not path.startswith("//"))  # botocore takes what follows for a host
    assert verify(*signers.wire(method, path, query, one_of_each(given_headers), body)) is ALICE


@given(methods, paths, queries, st.integers(1, 604800))
def test_what_botocore_presigns_is_taken(method, path, query, lifetime):
    assume(not path.startswith("//"))
    keys_ = [pair.partition("=")[0] for pair in query.split("&")]
    assume(len(set(keys_)) == len(keys_))  # botocore keeps one of each
    assert verify(*signers.wire(method, path, query, body=b"", presigned=lifetime)) is ALICE


@given(methods, paths, queries, st.binary(max_size=64))
def test_what_the_command_line_signs_is_taken(method, path, query, body):
    signer = signing.Signer.of({"AWS_ACCESS_KEY_ID": signers.KEY_ID, "AWS_SECRET_ACCESS_KEY": signers.SECRET})
    assume("/." not in path)
    assume("//" not in path)
    query = query.replace("%20", "+")  # as urllib writes it
    target = f"{path}?{query}" if query else path
    sent = signer.sign(method, signers.HOST, target, body, {"Content-Type": "application/json"}, signers.NOW)
    assert verify(method, path, query, sent, body) is ALICE


wires = st.text(st.characters(max_codepoint=255), max_size=40)


@given(wires, wires, wires, wires)
def test_any_header_is_answered_with_an_error_of_ours(authorization, date, path, query):
    headers_ = {"host": "h", "authorization": authorization, "x-amz-date": date}
    with pytest.raises(errors.ApiError):
        verify("GET", path, query, headers_, b"")


@given(st.dictionaries(st.sampled_from(["Credential", "SignedHeaders", "Signature"]), wires), wires, wires)
def test_any_parameter_is_answered_with_an_error_of_ours(given_, date, token):
    line = "AWS4-HMAC-SHA256 " + ", ".join(f"{name}={value}" for name, value in given_.items())
    with pytest.raises(errors.ApiError):
        verify("GET", "/", "", {"host": "h", "authorization": line, "date": date, "x-amz-security-token": token}, b"")


@given(st.lists(st.tuples(st.sampled_from([*parameters.PRESIGNED, "X-Amz-Security-Token"]), wires).map("=".join)))
def test_any_query_is_answered_with_an_error_of_ours(pairs):
    query = "&".join(["X-Amz-Algorithm=AWS4-HMAC-SHA256", *pairs])
    with pytest.raises(errors.ApiError):
        verify("GET", "/", query, {"host": "h"}, b"")
