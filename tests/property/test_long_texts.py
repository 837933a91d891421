"""Any document with long texts: read as simplejson reads it."""

import json

import pytest
import simplejson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from runtime.worker import long_texts

LONG, REST = 12, 60

TEXTS = some.text('"\\/ abé\n', max_size=12) | some.sampled_from(("x" * LONG, "y" * 50, "z\\" + "z" * 40, '"' * 30))
DOCUMENTS = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NO_DOCUMENTS = some.lists(
    some.sampled_from(('"', "\\", '\\"', "{", "}", "[", "]", ",", ":", "1", " ", "null", "NaN", "x" * 20, "é", "\\u12"))
).map("".join)


@pytest.fixture
def short(monkeypatch):
    """What is long, made short."""
    monkeypatch.setattr(long_texts, "LONG", LONG)
    monkeypatch.setattr(long_texts, "_REST", REST)


def outcome(decode, text):
    try:
        return decode(text)
    except simplejson.JSONDecodeError as error:
        return str(error)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(DOCUMENTS, some.booleans(), some.sampled_from((None, 1)))
@example({"headers": {"quoted": 'a "b" \\'}, "body": "x" * 40}, True, None)
def test_documents(short, document, ascii_only, indent):
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    assert repr(long_texts.decode(text)) == repr(simplejson.loads(text))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(NO_DOCUMENTS)
@example('"' + "x" * 40)
@example('"' + "x" * 40 + '\\"')
def test_what_is_no_document(short, text):
    assert repr(outcome(long_texts.decode, text)) == repr(outcome(simplejson.JSONDecoder().decode, text))


def test_long_texts_are_found_among_others_with_escapes_but_not_where_there_is_much_else():
    body = "A" * (4 * long_texts.LONG)
    document = {"headers": {f"h{number}": 'a "b"\\' for number in range(50)}, "body": body, "n": [1, None]}
    text = json.dumps(document)
    (begin, end), *others = long_texts._ends(text).items()
    assert (text[begin:end], others) == (body, [])
    assert long_texts.decode(text) == document
    assert long_texts._ends(json.dumps([*range(10_000), body])) is None
    assert long_texts._ends(json.dumps([body + '"'])) is None
