"""What is to be held for a function's qualifiers: all that was asked for, whatever its aliases do."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.registry import concurrency, records

VERSIONS = ("1", "2", "3")


def function(aliases, provisioned):
    latest = records.VersionRecord(
        function="f",
        number="$LATEST",
        settings={},
        code=records.Code(sha256="00", size=1, unpacked_size=1),
        revision_id="r",
        generation="g",
        last_modified="t",
    )
    made = {
        name: records.AliasRecord(
            name=name, version=version, revision_id="r", weights={} if other in (None, version) else {other: weight}
        )
        for name, (version, other, weight) in aliases.items()
    }
    configs = {key: {"executions": count, "last_modified": "t"} for key, count in provisioned.items()}
    return records.FunctionRecord(latest=latest, aliases=made, provisioned=configs)


@given(
    st.dictionaries(
        st.sampled_from(["live", "next"]),
        st.tuples(st.sampled_from(VERSIONS), st.none() | st.sampled_from(VERSIONS), st.floats(0, 1)),
    ),
    st.dictionaries(st.sampled_from(["live", "next", *VERSIONS]), st.integers(1, 50)),
)
def test_all_that_was_asked_for_is_held(aliases, provisioned):
    provisioned = {key: count for key, count in provisioned.items() if key in aliases or key in VERSIONS}
    made = function(aliases, provisioned)
    for qualifier, count in provisioned.items():
        shares = concurrency.shares(made, qualifier)
        assert sum(shares.values()) == count
        assert all(share > 0 for share in shares.values())
        alias = made.aliases.get(qualifier)
        assert shares.keys() <= ({qualifier} if alias is None else {alias.version, *alias.weights})
        for number, weight in alias.weights.items() if alias else ():
            assert shares.get(number, 0) - 1 < count * weight <= shares.get(number, 0)
    assert sum(concurrency.wanted(made).values()) == sum(provisioned.values())
