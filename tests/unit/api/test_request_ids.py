import uuid

from runtime.api import request_ids


def test_they_are_uuids_of_version_4_and_differ():
    made = [request_ids.new() for _ in range(2000)]
    assert len(set(made)) == len(made)
    for text in made:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
    assert {text[19] for text in made} == set("89ab")
