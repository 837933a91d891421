import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import errors
from runtime.api import payload

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_json_passes(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    payload.demand_json(text.encode("utf-8", "surrogatepass") if ascii_only else text.encode("utf-8", "ignore"))


@given(st.binary())
def test_what_pythons_strict_parser_refuses_is_refused(data):
    def refuse(name):
        raise ValueError(name)

    try:
        json.loads(data.decode("utf-8"), parse_constant=refuse)
        valid = True
    except ValueError:
        valid = False
    if valid:
        payload.demand_json(data)
    else:
        with pytest.raises(errors.InvalidRequestContent):
            payload.demand_json(data)


SOURCE = "\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: "
VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"n\x87r", f"Invalid UTF-8 start byte 0x87{SOURCE}3]"),
        (b"\x99", f"Unexpected character ((CTRL-CHAR, code 153)): expected a valid value {VALUES}{SOURCE}1]"),
        (b"hello world", f"Unrecognized token 'hello': was expecting {VALUES}{SOURCE}6]"),
    ],
)
def test_the_error_has_jacksons_words(body, message):
    with pytest.raises(errors.InvalidRequestContent) as caught:
        payload.demand_json(body)
    assert (
        caught.value.message == "Could not parse request body into json: Could not parse payload into json: " + message
    )


@pytest.mark.parametrize("body", [b"[" * 100_000, b"NaN", b'"\xff"', b"{} {}", b'{"a":1,}', b"\xef\xbb\xbf{}"])
def test_hostile_and_nearly_right_bodies_are_refused(body):
    with pytest.raises(errors.InvalidRequestContent):
        payload.demand_json(body)


@pytest.mark.parametrize("size", [10, 65_536, 65_537, 200_000])
@pytest.mark.parametrize(("tail", "valid"), [(b"a", True), ("é".encode(), True), (b"\xe9", False), (b"\xff", False)])
def test_a_body_in_memory_of_its_own_is_looked_at_to_its_end(size, tail, valid):
    body = memoryview(bytearray(b'"' + b"x" * size + tail + b'"'))
    if valid:
        payload.demand_json(body)
    else:
        with pytest.raises(errors.InvalidRequestContent, match="Invalid UTF-8"):
            payload.demand_json(body)
