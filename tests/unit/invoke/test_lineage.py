import urllib.parse

from runtime.invoke import lineage

ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def through_sdk(trace_id):
    """Return a trace header as botocore passes it on (botocore.handlers.add_recursion_detection_header)."""
    return urllib.parse.quote(trace_id, safe="-=;:+&[]{}\"',")


def test_the_first_call_begins_a_lineage():
    trace_id, before = lineage.extend(ROOT, ARN)
    assert before == 0
    assert trace_id.startswith(f"{ROOT};Lineage=1:")
    assert trace_id.endswith(":0")


def test_each_call_in_a_chain_is_counted():
    trace_id, counts = ROOT, []
    for _ in range(20):
        trace_id, before = lineage.extend(through_sdk(trace_id), ARN)
        counts.append(before)
    assert counts == list(range(20))
    assert trace_id.startswith(ROOT)
    assert trace_id.count("Lineage") == 1


def test_functions_of_one_chain_are_counted_apart():
    trace_id, counts = ROOT, []
    for name in "abacab":
        trace_id, before = lineage.extend(through_sdk(trace_id), ARN + name)
        counts.append(before)
    assert counts == [0, 0, 1, 0, 2, 1]


def test_what_stands_around_the_lineage_stays():
    trace_id, _ = lineage.extend("Lineage=1:0123abcd:3;Root=1-2-3;Self=x", ARN)
    assert trace_id.endswith(";Root=1-2-3;Self=x")
    assert "0123abcd:3|" in trace_id


def test_a_lineage_of_nonsense_is_begun_anew():
    for given in ("", "x", "1:", "|||", "1:0123abcd:x", "0123ABCD:1", "%7c%ff", "0123abcd:99999999999999"):
        trace_id, before = lineage.extend(f"{ROOT};Lineage={given}", ARN)
        assert before == 0, given
        assert trace_id.isascii()


def test_the_header_does_not_grow_without_end():
    trace_id = ROOT
    for number in range(500):
        trace_id, _ = lineage.extend(trace_id, f"{ARN}{number}")
    assert len(trace_id) < 1500
    assert lineage.extend(trace_id, f"{ARN}499")[1] == 1
