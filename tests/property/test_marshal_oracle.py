"""Any value and any event: our JSON against AWS's own marshaller."""

import collections
import datetime as dt
import decimal
import enum

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.worker import faults, marshal_json

oracle = pytest.importorskip("awslambdaric.lambda_runtime_marshaller")

Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - the plain kind
Color = enum.IntEnum("Color", "RED GREEN")

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=8)
    | st.decimals()
    | st.sampled_from(Color)
    | st.dates()
    | st.just(decimal.Decimal("sNaN"))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers() | st.floats() | st.booleans() | st.none(), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(Point, inner, inner)
        | st.frozensets(st.integers(), max_size=2)
        | st.builds(collections.deque, st.lists(inner, max_size=2))
    ),
    max_leaves=20,
)


def outcome(function, argument, fault):
    """Return what a function makes of an argument, or the type and text of its fault."""
    try:
        return function(argument)
    except fault as error:
        return getattr(error, "error_type", None) or error.exception_type, getattr(error, "message", None) or error.msg


@pytest.mark.parametrize("version", ["3.11", "3.12"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=VALUES)
def test_results(version, value, monkeypatch):
    monkeypatch.setenv("AWS_EXECUTION_ENV", f"AWS_Lambda_python{version}")
    ours = outcome(marshal_json.Marshaller().marshal, value, faults.Fault)
    assert ours == outcome(oracle.LambdaMarshaller().marshal_response, value, oracle.FaultException)


@settings(deadline=None)
@given(
    payload=st.binary()
    | VALUES.map(lambda value: oracle.Encoder().encode([str(value)]).encode())
    | st.text(alphabet='{}[]":,0123456789.eE+-truefalsnN\\u "\n').map(str.encode)
)
def test_events(payload):
    ours = outcome(marshal_json.unmarshal, payload, faults.Fault)
    theirs = outcome(oracle.LambdaMarshaller().unmarshal_request, payload, oracle.FaultException)
    assert repr(ours) == repr(theirs)


def test_the_comparison_can_fail():
    assert outcome(marshal_json.Marshaller().marshal, {1}, faults.Fault) != outcome(
        oracle.LambdaMarshaller().marshal_response, dt.date.min, oracle.FaultException
    )


LONG = 300_000


@pytest.mark.parametrize("version", ["3.11", "3.12"])
@pytest.mark.parametrize(
    "character", [*map(chr, range(36)), "\\", "~", "\x7f", "\x80", "ä", "\u2028", "€", "😀", "\ud800"]
)
def test_long_texts(version, character, monkeypatch):
    monkeypatch.setenv("AWS_EXECUTION_ENV", f"AWS_Lambda_python{version}")
    for place in (0, 2**18 - 1, 2**18, LONG):
        text = "x" * place + character + "x" * (LONG - place)
        for result in (text, {"isBase64Encoded": True, "body": text, 1: text[:100_000], None: {"inner": text}}, [text]):
            ours = outcome(marshal_json.Marshaller().marshal, result, faults.Fault)
            assert ours == outcome(oracle.LambdaMarshaller().marshal_response, result, oracle.FaultException)


def test_a_result_is_not_changed_by_encoding_it():
    text = "x" * LONG
    result = {"body": text, "again": {"body": text}}
    result["again"]["outer"] = result
    ours = outcome(marshal_json.Marshaller().marshal, result, faults.Fault)
    assert ours == outcome(oracle.LambdaMarshaller().marshal_response, result, oracle.FaultException)
    assert result["body"] is text
