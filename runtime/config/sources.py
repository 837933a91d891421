"""Where settings come from: flags over HOTFORK_* variables over a TOML file over defaults.

A setting has a dotted key: ``port``, ``pool.idle_ttl_s``. The same key names it in the file (``[pool]``,
``idle_ttl_s = 300``), in the environment (``HOTFORK_POOL_IDLE_TTL_S=300``) and in errors. A key that nobody
knows is an error, never ignored: a misspelt limit must not silently be the default.

Only ``load`` touches the machine (it reads the file); ``resolve`` is pure.
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from runtime import errors
from runtime.config import values

PREFIX = "HOTFORK_"
CLIENT_VARIABLES = frozenset({"HOTFORK_CONFIG", "HOTFORK_URL", "HOTFORK_OUTPUT"})
"""Read by the command line itself; not settings of the server."""


def load(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None, *, is_root: bool) -> values.Settings:
    """Read the file, if any, and return the settings; raise ConfigError naming the key that is wrong."""
    document: dict[str, Any] = {}
    if file is not None:
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise errors.ConfigError(f"cannot read the configuration {file}: {error.strerror}") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise errors.ConfigError(f"{file} is not TOML: {error}") from None
    return resolve(flags, environ, document, is_root=is_root, file_name=str(file))


def resolve(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    document: Mapping[str, Any],
    *,
    is_root: bool,
    file_name: str = "the configuration",
) -> values.Settings:
    """Return the settings of three sources, strongest first; raise ConfigError naming the key that is wrong.

    ``flags`` maps dotted keys to values, None meaning that the flag was not given; ``document``
    is parsed TOML.
    """
    chosen: dict[str, Any] = {"state_dir": default_state_dir(environ, is_root=is_root)}
    chosen |= _from_document(document, file_name)
    chosen |= _from_environ(environ)
    for key, value in flags.items():
        if value is not None:
            chosen[key] = _convert(key, value, f"the flag of {key!r}")
    settings = _build(chosen)
    values.check(settings)
    return settings


def default_state_dir(environ: Mapping[str, str], *, is_root: bool) -> Path:
    """Return where state lies unless told otherwise: specifications.freedesktop.org/basedir."""
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "hotfork"
    if is_root:
        return Path("/var/lib/hotfork")
    return Path(environ.get("HOME") or "/tmp") / ".local/state/hotfork"  # noqa: S108 - homeless, still usable


def known_keys() -> dict[str, Any]:
    """Return the type of every setting by its dotted key."""
    return dict(_KEYS)


def _walk(kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from _walk(typing.cast("type", hint), f"{prefix}{name}.")
        else:
            yield prefix + name, hint


_KEYS = dict(_walk(values.Settings))
_GROUPS = frozenset(key.partition(".")[0] for key in _KEYS if "." in key)
_VARIABLES = {PREFIX + key.replace(".", "_").upper(): key for key in _KEYS}


def _unknown(name: str, known: Iterable[str], where: str) -> errors.ConfigError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return errors.ConfigError(f"unknown setting {name!r} in {where}: the nearest known one is {near[0]!r}")


def _from_document(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    found = {}
    for name, value in document.items():
        if name in _GROUPS:
            if not isinstance(value, dict):
                raise errors.ConfigError(f"{name} in {where} must be a table")
            entries = {f"{name}.{inner}": entry for inner, entry in value.items()}
        elif name in _KEYS:
            entries = {name: value}
        else:
            raise _unknown(name, {key.partition(".")[0] for key in _KEYS}, where)
        for key, entry in entries.items():
            if key not in _KEYS:
                raise _unknown(key, _KEYS, where)
            found[key] = _convert(key, entry, where)
    return found


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for name, value in environ.items():
        if name.startswith(PREFIX) and name not in CLIENT_VARIABLES:
            if name not in _VARIABLES:
                raise _unknown(name, _VARIABLES, "the environment")
            found[_VARIABLES[name]] = _convert(_VARIABLES[name], value, name)
    return found


def _build(chosen: Mapping[str, Any]) -> values.Settings:
    arguments: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for key, value in chosen.items():
        group, dot, name = key.partition(".")
        if dot:
            groups.setdefault(group, {})[name] = value
        else:
            arguments[key] = value
    hints = typing.get_type_hints(values.Settings)
    for group, members in groups.items():
        arguments[group] = hints[group](**members)
    return values.Settings(**arguments)


_BOOLEANS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return _BOOLEANS[value.lower()]


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _path(value: Any) -> Path:
    return (value if isinstance(value, Path) else Path(_text(value))).expanduser().absolute()


def _table(value: Any) -> Mapping[str, str]:
    # In a variable: NAME=VALUE,NAME=VALUE.
    if isinstance(value, str):
        value = dict(part.strip().split("=", 1) for part in value.split(",") if part.strip())
    if not isinstance(value, Mapping):
        raise TypeError
    return types.MappingProxyType({_text(key): _text(entry) for key, entry in value.items()})


def _list_of(convert: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def listed(value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            raise TypeError
        return tuple(convert(entry) for entry in value)

    return listed


_CONVERTERS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    bool: (_boolean, "true or false"),
    int: (_integer, "a whole number"),
    float: (_number, "a number"),
    str: (_text, "a text that is not empty"),
    str | None: (_text, "a text that is not empty"),
    Path: (_path, "a path"),
    Path | None: (_path, "a path"),
    Mapping[str, str]: (_table, "a table of texts (in a variable: NAME=VALUE,NAME=VALUE)"),
    tuple[str, ...]: (_list_of(_text), "a list of texts (in a variable: separated by commas)"),
    tuple[int, ...]: (_list_of(_integer), "a list of whole numbers (in a variable: separated by commas)"),
}


def _convert(key: str, value: Any, where: str) -> Any:
    hint = _KEYS.get(key)
    if hint is None:
        raise _unknown(key, _KEYS, where)
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if value in choices:
            return value
        raise errors.ConfigError(f"{key} in {where} is {value!r}, but must be one of {', '.join(choices)}")
    convert, wanted = _CONVERTERS[hint]
    try:
        return convert(value)
    except (TypeError, ValueError, KeyError):
        raise errors.ConfigError(f"{key} in {where} is {value!r}, but must be {wanted}") from None
