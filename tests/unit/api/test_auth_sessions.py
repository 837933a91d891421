"""Temporary credentials of functions: whom they stand for, how long, and what is not taken for one."""

import base64

import pytest

from runtime import errors, model
from runtime.api.auth import policy, sessions

ROLE = "arn:aws:iam::000000000000:role/service/worker"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"


def version(**changes):
    arguments = {
        "function_name": "hello",
        "version": "$LATEST",
        "function_arn": ARN,
        "runtime": "python3.11",
        "handler": "h.h",
        "role": ROLE,
        "code_sha256": "",
        "code_path": "",
        "log_group": "",
        "generation": "1",
    }
    return model.Version(**{**arguments, **changes})


class World:
    def __init__(self):
        self.now = 1000.0
        self.policies = {ROLE: (policy.Policy([]),)}
        self.sessions = self.another(b"k" * 32)

    def another(self, master=None):
        return sessions.Sessions(
            lambda role: self.policies[role], lifetime_s=100.0, clock=lambda: self.now, master=master
        )

    def issue(self, **changes):
        return tuple(self.sessions.issue(version(**changes)).values())


@pytest.fixture
def world():
    return World()


def test_they_look_as_aws_makes_them(world):
    issued = world.sessions.issue(version())
    assert list(issued) == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
    key_id, secret, token = issued.values()
    assert key_id.startswith("ASIA")
    assert len(key_id) == 20
    assert len(secret) == 40
    assert base64.b64decode(token, validate=True)


def test_they_stand_for_the_function_in_its_role(world):
    key_id, secret, token = world.issue()
    key = world.sessions.find(key_id, token)
    assert key.is_secret(secret)
    assert key.principal.arn == "arn:aws:sts::000000000000:assumed-role/worker/hello"
    assert key.principal.role_arn == ROLE
    assert key.principal.policies is world.policies[ROLE]
    assert world.sessions.find(key_id, token) is key


def test_every_worker_has_its_own(world):
    issued = [world.issue() for _ in range(10)]
    for parts in zip(*issued, strict=True):
        assert len(set(parts)) == 10


def test_they_end(world):
    key_id, _, token = world.issue()
    world.now += 99.9
    assert world.sessions.find(key_id, token) is not None
    world.now += 0.2
    with pytest.raises(errors.ExpiredToken, match="The security token included in the request is expired"):
        world.sessions.find(key_id, token)


def test_what_a_role_allows_is_what_it_allows_now(world):
    key_id, _, token = world.issue()
    assert world.sessions.find(key_id, token).principal.policies is world.policies[ROLE]
    world.policies[ROLE] = (policy.Policy([]),)
    assert world.sessions.find(key_id, token).principal.policies is world.policies[ROLE]


def test_nothing_else_is_taken(world):
    key_id, _, token = world.issue()
    other_id, _, other_token = world.issue()
    raw = bytearray(base64.b64decode(token))
    forged = []
    for index in (0, 31, 32, len(raw) - 1):
        changed = bytearray(raw)
        changed[index] ^= 1
        forged.append(base64.b64encode(changed).decode())
    for id_, given in [
        (key_id, None),
        (key_id, ""),
        (key_id, "no base64 \xff"),
        (key_id, "AAAA"),
        (key_id, "A" * 4000),
        (key_id, other_token),
        (other_id, token),
        ("ASIA\u20ac", token),
        *((key_id, each) for each in forged),
    ]:
        assert world.sessions.find(id_, given) is None, (id_, given)
    assert world.another().find(key_id, token) is None, "of a server that ran before"


def test_what_is_remembered_is_bounded(world, monkeypatch):
    monkeypatch.setattr(sessions, "_REMEMBERED", 3)
    issued = [world.issue() for _ in range(10)]
    for _ in range(2):
        for key_id, _, token in issued:
            assert world.sessions.find(key_id, token).access_key_id == key_id
            assert len(world.sessions._known) <= 3
