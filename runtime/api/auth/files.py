"""The files that say who may do what: users with their keys, and what execution roles allow. TOML.

    [users.alice]                                     [roles."arn:aws:iam::000000000000:role/thumbnails"]
    access_key_id = "AKIA..."                         policy = '''{"Version": "2012-10-17", "Statement": [...]}'''
    secret_access_key = "..."
    policy = '''{"Version": "2012-10-17", ...}'''     # or as a table: [users.alice.policy]

A file that changes is read again, within a second of the next request. One that is then wrong changes nothing: it is
logged, and what was read before stands.
"""

import logging
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from runtime import errors
from runtime.api.auth import keys, policy

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_SIZE_LIMIT = 8 << 20
_SECRET_LEAST = 16
_KEY_ID = re.compile(r"[A-Za-z0-9_]{3,128}")
_USER = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_ROLE = re.compile(r"arn:aws[a-zA-Z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}", re.ASCII)
_TEMPORARY = "ASIA"
"""What the ids of temporary credentials begin with."""
_INTERVAL_S = 1.0


def users(path: Path, user_arn: Callable[[str], str]) -> dict[str, keys.Key]:
    """Return the keys of a credentials file by their ids; raise ConfigError with cause and cure."""
    document = _document(path, _read(path, private=True), "users")
    found: dict[str, keys.Key] = {}
    for name, entry in document.items():
        where = f"{path}, user {name}"
        if not _USER.fullmatch(name):
            raise errors.ConfigError(f"{where}: a user's name is of letters, digits and _+=,.@-, at most 64")
        key_id, secret = _entry(entry, where, ("access_key_id", "secret_access_key", "policy"))
        if not _KEY_ID.fullmatch(key_id) or key_id.startswith(_TEMPORARY):
            raise errors.ConfigError(f"{where}: access_key_id is 3 to 128 letters and digits, not {_TEMPORARY}...")
        if len(secret) < _SECRET_LEAST:
            raise errors.ConfigError(f"{where}: secret_access_key must have at least {_SECRET_LEAST} characters")
        if key_id in found:
            raise errors.ConfigError(f"{where}: access_key_id {key_id} is that of another user")
        policies = (policy.parse(entry["policy"], where),)
        found[key_id] = keys.Key(key_id, secret, keys.Principal(arn=user_arn(name), name=name, policies=policies))
    if not found:
        raise errors.ConfigError(
            f"{path} names no user, so nobody could call: add [users.NAME] (see its documentation)"
        )
    return found


def roles(path: Path) -> dict[str, policy.Policy]:
    """Return what execution roles allow, by ARN; raise ConfigError."""
    found = {}
    for arn, entry in _document(path, _read(path, private=False), "roles").items():
        where = f"{path}, role {arn}"
        if not _ROLE.fullmatch(arn):
            raise errors.ConfigError(f"{where}: a role is named by its ARN, arn:aws:iam::<account>:role/<name>")
        _entry(entry, where, ("policy",))
        found[arn] = policy.parse(entry["policy"], where)
    return found


class Watched(Generic[_T]):
    """What a file says, and says after it changed. ``clock`` gives seconds."""

    def __init__(self, path: Path, read: Callable[[Path], _T], clock: Callable[[], float]) -> None:
        """Read it for the first time; raise ConfigError."""
        self._path = path
        self._read = read
        self._clock = clock
        self._state = _state(path)
        self._value = read(path)
        self._next = clock() + _INTERVAL_S

    def get(self) -> _T:
        """Return what the file says; looks at it once a second at most."""
        now = self._clock()
        if now >= self._next:
            self._next = now + _INTERVAL_S
            state = _state(self._path)
            if state != self._state:
                self._state = state
                self._reread()
        return self._value

    def _reread(self) -> None:
        try:
            self._value = self._read(self._path)
        except errors.ConfigError as error:
            _log.error("%s; what was read before stands", error.message)
        else:
            _log.warning("%s has changed and was read again", self._path)


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode, found.st_uid


def _read(path: Path, *, private: bool) -> bytes:
    """Return what a file holds; one that is ``private`` must be ours and nobody else's to read."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if private and found.st_uid != os.geteuid():
                raise errors.ConfigError(
                    f"{path} belongs to uid {found.st_uid}, and the server runs as {os.geteuid()}: "
                    f"whoever owns the keys owns the server. chown {os.geteuid()} {path}"
                )
            if private and stat.S_IMODE(found.st_mode) & 0o077:
                raise errors.ConfigError(
                    f"{path} holds secrets, and others than its owner may use it "
                    f"(mode {stat.S_IMODE(found.st_mode):04o}): chmod 600 {path}"
                )
            return file.read(_SIZE_LIMIT)
    except OSError as error:
        raise errors.ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _document(path: Path, content: bytes, table: str) -> Mapping[str, Any]:
    """Return the one table that a file has. Errors quote nothing of it: it may hold secrets."""
    try:
        document = tomllib.loads(content.decode())
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at .*\)", str(error))
        raise errors.ConfigError(f"{path} is not TOML {place[0] if place else ''}".rstrip()) from None
    except UnicodeDecodeError:
        raise errors.ConfigError(f"{path} is not TOML: it is not UTF-8") from None
    found = document.pop(table, {})
    if document or not isinstance(found, Mapping):
        raise errors.ConfigError(f"{path} may hold nothing but tables [{table}.NAME]")
    return found


def _entry(entry: Any, where: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts of an entry that has exactly these members, the last of which is its policy."""
    if not isinstance(entry, Mapping) or entry.keys() != set(names):
        raise errors.ConfigError(f"{where}: exactly {', '.join(names)} are needed")
    for name in names[:-1]:
        if not isinstance(entry[name], str):
            raise errors.ConfigError(f"{where}: {name} must be a text")
    return tuple(entry[name] for name in names[:-1])
