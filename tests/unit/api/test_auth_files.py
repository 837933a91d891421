"""The files of users and roles: who may own them, what stands in them, and when they are read again."""

import logging
import os

import pytest

from runtime import errors
from runtime.api.auth import files

POLICY = (
    """policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'\n"""
)
SECRET = "s3cr3t-s3cr3t-s3cr3t"
ALICE = f'[users.alice]\naccess_key_id = "AKIAALICE"\nsecret_access_key = "{SECRET}"\n{POLICY}'
ROLE = "arn:aws:iam::000000000000:role/worker"


def arn(name):
    return f"arn:aws:iam::000000000000:user/{name}"


@pytest.fixture
def write(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "credentials.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def test_users_are_read_with_their_policies(write):
    table = '[users."bob@example.org".policy]\nVersion = "2012-10-17"\n'
    table += '[[users."bob@example.org".policy.Statement]]\nEffect = "Deny"\nAction = "*"\nResource = "*"\n'
    bob = f'[users."bob@example.org"]\naccess_key_id = "AKIABOB"\nsecret_access_key = "{SECRET}"\n{table}'
    found = files.users(write(ALICE + bob), arn)
    assert found.keys() == {"AKIAALICE", "AKIABOB"}
    assert found["AKIAALICE"].principal.arn == "arn:aws:iam::000000000000:user/alice"
    assert found["AKIAALICE"].is_secret(SECRET)
    assert len(found["AKIAALICE"].principal.policies[0].allows) == 1
    assert len(found["AKIABOB"].principal.policies[0].denies) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_file_that_others_may_use_is_refused_with_the_cure(write, mode):
    path = write(ALICE, mode)
    with pytest.raises(errors.ConfigError, match=f"mode {mode:04o}.*: chmod 600 {path}"):
        files.users(path, arn)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_our_own_is_read(write, mode):
    assert files.users(write(ALICE, mode), arn)


def test_a_file_of_somebody_else_is_refused(write, monkeypatch):
    path = write(ALICE)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(errors.ConfigError, match=f"belongs to uid .*chown .* {path}"):
        files.users(path, arn)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no user"),
        ("[users]", "names no user"),
        (f"[users.alice\nsecret = '{SECRET}'", r"is not TOML \(at line 1"),
        (b"\xff\xfe", "is not TOML: it is not UTF-8"),
        (ALICE + "[roles.x]\n", "nothing but tables"),
        (f"{ALICE}extra = 1\n", "exactly access_key_id, secret_access_key, policy"),
        (ALICE.replace("secret_access_key", "secret"), "exactly access_key_id, secret_access_key, policy"),
        (ALICE.replace('"AKIAALICE"', "1"), "access_key_id must be a text"),
        (ALICE.replace("AKIAALICE", "ASIAALICE"), "not ASIA"),
        (ALICE.replace("AKIAALICE", "AK"), "3 to 128 letters"),
        (ALICE.replace("AKIAALICE", "AKIA/20260101"), "3 to 128 letters"),
        (ALICE.replace(SECRET, "short"), "at least 16 characters"),
        (ALICE.replace("users.alice", 'users."a/b"'), "a user's name"),
        (ALICE + ALICE.replace("users.alice", "users.bob"), "that of another user"),
        (ALICE.replace("2012-10-17", "2012-10-18"), "user alice: Version must be"),
        (f"users = '{SECRET}'", "nothing but tables"),
    ],
)
def test_what_is_wrong_is_said_without_any_secret(write, text, message):
    with pytest.raises(errors.ConfigError, match=message) as raised:
        files.users(write(text), arn)
    assert SECRET not in raised.value.message


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(errors.ConfigError, match=r"credentials\.toml cannot be read: No such file"):
        files.users(tmp_path / "credentials.toml", arn)


def test_roles_are_read(write):
    found = files.roles(write(f'[roles."{ROLE}"]\n{POLICY}', 0o644))
    assert found.keys() == {ROLE}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'[roles."worker"]\n{POLICY}', "named by its ARN"),
        (f'[roles."{ROLE}"]\n', "exactly policy are needed"),
        (ALICE, "nothing but tables"),
    ],
)
def test_what_is_wrong_with_roles_is_said(write, text, message):
    with pytest.raises(errors.ConfigError, match=message):
        files.roles(write(text))


def test_a_file_is_read_again_when_it_has_changed_and_a_wrong_one_changes_nothing(write, caplog):
    caplog.set_level(logging.WARNING)
    now = 0.0
    path = write(ALICE)
    watched = files.Watched(path, lambda path: files.users(path, arn), lambda: now)
    first = watched.get()
    now += 2
    assert watched.get() is first, "it has not changed"
    write(ALICE.replace("AKIAALICE", "AKIAOTHER"))
    assert watched.get() is first, "looked at once a second at most"
    now += 2
    assert watched.get().keys() == {"AKIAOTHER"}
    write(ALICE.replace("AKIAALICE", "AKIAALICE2"), 0o644)
    now += 2
    assert watched.get().keys() == {"AKIAOTHER"}
    assert "chmod 600" in caplog.text
    path.unlink()
    now += 2
    assert watched.get().keys() == {"AKIAOTHER"}
    assert "cannot be read" in caplog.text
    write(ALICE)
    now += 2
    assert watched.get().keys() == {"AKIAALICE"}
    assert SECRET not in caplog.text
