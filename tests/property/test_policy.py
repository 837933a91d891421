"""Policies against a second, plainer reading of the rules; wildcards against a matcher by recursion."""

import functools

from hypothesis import given
from hypothesis import strategies as st

from runtime import errors
from runtime.api.auth import conditions, globs, policy

ROOT = "arn:aws:iam::000000000000:root"
WHO = frozenset({"arn:aws:iam::000000000000:user/a"})

patterns = st.text("ab:*?.[", max_size=8)
texts = st.text("ab:.[\n", max_size=10)


def matches(pattern, text):
    @functools.cache
    def fits(i, j):
        if i == len(pattern):
            return j == len(text)
        if pattern[i] == "*":
            return fits(i + 1, j) or (j < len(text) and fits(i, j + 1))
        return j < len(text) and pattern[i] in ("?", text[j]) and fits(i + 1, j + 1)

    return fits(0, 0)


@given(patterns, texts)
def test_wildcards_match_what_they_say(pattern, text):
    assert globs.text(pattern)(text) is matches(pattern, text)


parts = st.text("ab*?", max_size=4)


@given(
    st.lists(parts, min_size=5, max_size=5),
    patterns,
    st.lists(st.text("ab", max_size=4), min_size=5, max_size=5),
    texts,
)
def test_wildcards_of_arns_stay_in_their_part(wanted, last, found, rest):
    pattern, arn = ":".join(["arn", *wanted[1:], last]), ":".join(["arn", *found[1:], rest])
    expected = all(map(matches, wanted[1:], found[1:])) and matches(last, rest)
    assert globs.arn(pattern)(arn) is expected


actions = st.sampled_from(["*", "lambda:*", "lambda:A", "lambda:B", "lambda:?", "s3:A"])
arns = st.sampled_from([f"arn:aws:lambda:r:1:function:{name}" for name in ("x", "y", "*", "x*")] + ["*"])
one_or_more = functools.partial(st.lists, min_size=1, max_size=2)


@st.composite
def statements(draw, *, principal=False):
    made = {"Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"]))}
    kinds = ("",) if principal else ("", "Not")
    made[draw(st.sampled_from(kinds)) + "Action"] = draw(one_or_more(actions))
    made[draw(st.sampled_from(kinds)) + "Resource"] = draw(one_or_more(arns))
    if draw(st.booleans()):
        operator = draw(st.sampled_from(["StringEquals", "StringNotEquals", "StringEqualsIfExists"]))
        made["Condition"] = {operator: {"aws:username": draw(one_or_more(st.sampled_from(["a", "b"])))}}
    if principal:
        made["Principal"] = draw(st.sampled_from(["*", {"AWS": ROOT}, {"AWS": sorted(WHO)}, {"AWS": "arn:other"}]))
    return made


def applies(statement, action, resource, username):
    """Read a statement as IAM's documentation words it."""

    def some(key, value):
        if key in statement:
            return any(matches(pattern, value) for pattern in statement[key])
        return not any(matches(pattern, value) for pattern in statement[f"Not{key}"])

    for operator, tests in statement.get("Condition", {}).items():
        wanted = tests["aws:username"]
        if username is None:
            if operator == "StringEquals":
                return False
        elif (username in wanted) is (operator == "StringNotEquals"):
            return False
    principal = statement.get("Principal", "*")
    if principal != "*":
        named = principal["AWS"]
        whole_account = named == ROOT and statement["Effect"] == "Deny"
        if not whole_account and WHO.isdisjoint([named] if isinstance(named, str) else named):
            return False
    return some("Action", action) and some("Resource", resource)


@given(
    st.lists(st.lists(statements(), min_size=1, max_size=3), max_size=2),
    st.lists(statements(principal=True), max_size=3),
    st.sampled_from(["lambda:A", "lambda:B", "s3:A"]),
    st.sampled_from(
        ["arn:aws:lambda:r:1:function:x", "arn:aws:lambda:r:1:function:x:1", "arn:aws:lambda:r:1:function:y"]
    ),
    st.sampled_from(["a", "b", "c", None]),
)
def test_an_explicit_deny_wins_and_any_allow_lets_in(identity, attached, action, resource, username):
    facts = {} if username is None else {"aws:username": username}
    asked = policy.Asked(action, resource, WHO, lambda: facts)
    parsed = [policy.parse({"Version": "2012-10-17", "Statement": one}, "test") for one in identity]
    on_resource = policy.of_resource(attached, ROOT) if attached else None
    decision = policy.decide(parsed, on_resource, asked)

    applying = [one for listed in (*identity, attached) for one in listed if applies(one, action, resource, username)]
    denied = any(one["Effect"] == "Deny" for one in applying)
    assert (decision is policy.Decision.ALLOWED) is (not denied and any(one["Effect"] == "Allow" for one in applying))
    assert (decision in (policy.Decision.DENIED_BY_IDENTITY, policy.Decision.DENIED_BY_RESOURCE)) is denied


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["Allow", "*", "2012-10-17"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Version", "Statement", "Effect", "Action", "Resource", "Condition", "Null", "Bool", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_document_is_a_policy_or_refused_as_one(document):
    try:
        policy.parse(document, "test")
    except errors.ConfigError as error:
        message = error.message
    else:
        return
    assert message.startswith("test")


@given(json_values)
def test_any_condition_is_understood_or_refused_as_one(document):
    try:
        found = conditions.parse(document, strict=True)
    except conditions.Unknown:
        return
    assert all(isinstance(holds({}), bool) for holds in found)
