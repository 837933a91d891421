"""Settings: precedence, types, errors, the documented defaults, interpreters."""

import dataclasses
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import config, errors

ROOT = Path(__file__).resolve().parents[2]


def resolve(flags=None, environ=None, document=None, *, is_root=False):
    return config.resolve(flags or {}, {"HOME": "/home/u", **(environ or {})}, document or {}, is_root=is_root)


def get(settings, key):
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


@pytest.mark.parametrize(
    ("environ", "is_root", "expected"),
    [
        ({"HOME": "/home/u"}, False, "/home/u/.local/state/hotfork"),
        ({"HOME": "/home/u", "XDG_STATE_HOME": "/x"}, False, "/x/hotfork"),
        ({"HOME": "/home/u", "XDG_STATE_HOME": "relative"}, False, "/home/u/.local/state/hotfork"),
        ({"HOME": "/root"}, True, "/var/lib/hotfork"),
        ({"HOME": "/root", "XDG_STATE_HOME": "/x"}, True, "/x/hotfork"),
    ],
)
def test_state_folder(environ, is_root, expected):
    assert config.resolve({}, environ, {}, is_root=is_root).state_dir == Path(expected)


def test_logs_lie_in_the_state_folder_unless_told_otherwise():
    assert resolve({"state_dir": "/s"}).log_dir == Path("/s/logs")
    assert resolve({"state_dir": "/s", "logs.dir": "/l"}).log_dir == Path("/l")


SAMPLES = {
    "port": st.integers(0, 65535),
    "host": st.sampled_from(["127.0.0.1", "::1", "0.0.0.0"]),
    "isolation": st.sampled_from(["strong", "auto"]),
    "examples": st.booleans(),
    "pool.idle_ttl_s": st.floats(0, 1e6),
    "pool.account_concurrency": st.integers(1, 10**6),
    "sandbox.cpu": st.sampled_from(["weight", "quota", "off"]),
    "preload_interpreters": st.lists(st.sampled_from(["python3.11", "python3.12"])).map(tuple),
    "aws.endpoints": st.dictionaries(st.sampled_from(["sqs", "s3"]), st.just("http://h:1")),
}
SOURCES = st.fixed_dictionaries(
    {}, optional={key: st.tuples(*[st.none() | values] * 3) for key, values in SAMPLES.items()}
)


def as_variable(value):
    if isinstance(value, dict):
        return ",".join(f"{key}={entry}" for key, entry in value.items())
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


@given(SOURCES)
def test_flags_go_before_variables_before_the_file_before_defaults(chosen):
    flags, environ, document, expected = {}, {}, {}, {}
    for key, (flag, variable, entry) in chosen.items():
        group, dot, name = key.partition(".")
        flags[key] = flag
        if variable is not None:
            environ["HOTFORK_" + key.replace(".", "_").upper()] = as_variable(variable)
        if entry is not None:
            table = document.setdefault(group, {}) if dot else document
            table[name if dot else group] = list(entry) if isinstance(entry, tuple) else entry
        for value in (flag, variable, entry):
            if value is not None:
                expected[key] = value
                break
    settings, default = resolve(flags, environ, document), resolve()
    for key in config.known_keys():
        assert get(settings, key) == expected.get(key, get(default, key)), key


@pytest.mark.parametrize(
    ("sources", "named", "nearest"),
    [
        ({"document": {"prot": 1}}, "'prot'", "'port'"),
        ({"document": {"pool": {"idle_tll_s": 1}}}, "'pool.idle_tll_s'", "'pool.idle_ttl_s'"),
        ({"document": {"poool": {"idle_ttl_s": 1}}}, "'poool'", "'pool'"),
        ({"environ": {"HOTFORK_PROT": "1"}}, "'HOTFORK_PROT'", "'HOTFORK_PORT'"),
        ({"environ": {"HOTFORK_POOL_IDLE_TTL": "1"}}, "'HOTFORK_POOL_IDLE_TTL'", "'HOTFORK_POOL_IDLE_TTL_S'"),
        ({"flags": {"hots": "x"}}, "'hots'", "'host'"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(sources, named, nearest):
    with pytest.raises(errors.ConfigError) as caught:
        resolve(**sources)
    assert named in caught.value.message
    assert nearest in caught.value.message


def test_variables_of_the_command_line_are_not_settings():
    assert resolve(environ={"HOTFORK_URL": "http://x", "HOTFORK_CONFIG": "y", "HOTFORK_OUTPUT": "json"}) == resolve()


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"port": "3001x"}, "port"),
        ({"port": True}, "port"),
        ({"port": 1.5}, "port"),
        ({"port": 65536}, "port"),
        ({"port": -1}, "port"),
        ({"host": ""}, "host"),
        ({"host": 1}, "host"),
        ({"isolation": "weak"}, "isolation"),
        ({"examples": "maybe"}, "examples"),
        ({"account_id": "123"}, "account_id"),
        ({"region": "us east"}, "region"),
        ({"pool": 3}, "pool"),
        ({"pool": {"account_concurrency": 0}}, "pool.account_concurrency"),
        ({"pool": {"idle_ttl_s": float("nan")}}, "pool.idle_ttl_s"),
        ({"pool": {"memory_classes_mb": [256, 128, 10240]}}, "pool.memory_classes_mb"),
        ({"pool": {"memory_classes_mb": [128, 512]}}, "pool.memory_classes_mb"),
        ({"pool": {"memory_classes_mb": []}}, "pool.memory_classes_mb"),
        ({"pool": {"memory_classes_mb": 128}}, "pool.memory_classes_mb"),
        ({"interpreters": {"3.12": "/usr/bin/python3.12"}}, "interpreters"),
        ({"interpreters": {"python3.12": 3}}, "interpreters"),
        ({"preload_interpreters": ["ruby"]}, "interpreters"),
        ({"aws": {"endpoint_url": "localhost:4566"}}, "aws"),
        ({"aws": {"endpoints": {"sqs": "sqs"}}}, "aws"),
        ({"sandbox": {"uid_base": 2**32 - 10}}, "sandbox.uid_base"),
        ({"sandbox": {"uid_base": 0}}, "sandbox.uid_base"),
    ],
)
def test_a_value_that_makes_no_sense_is_an_error_that_names_its_key(document, key):
    with pytest.raises(errors.ConfigError, match=re.escape(key)):
        resolve(document=document)


def test_a_variable_that_is_no_table_is_an_error():
    with pytest.raises(errors.ConfigError, match="HOTFORK_INTERPRETERS"):
        resolve(environ={"HOTFORK_INTERPRETERS": "python3.12"})


def test_load_reads_the_file(tmp_path):
    file = tmp_path / "hotfork.toml"
    file.write_text('port = 1\n[aws.endpoints]\nsqs = "http://127.0.0.1:9324"\n')
    settings = config.load({}, {"HOME": "/h"}, file, is_root=False)
    assert settings.port == 1
    assert settings.aws.endpoint_of("sqs") == "http://127.0.0.1:9324"
    assert settings.aws.endpoint_of("s3") is None


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe", None])
def test_load_says_what_is_wrong_with_the_file(tmp_path, content):
    file = tmp_path / "hotfork.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(errors.ConfigError, match=re.escape(str(file))):
        config.load({}, {"HOME": "/h"}, file, is_root=False)


def test_settings_cannot_be_changed():
    settings = resolve(document={"aws": {"endpoints": {"sqs": "http://x"}}})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.port = 1
    with pytest.raises(TypeError):
        settings.aws.endpoints["sqs"] = "http://y"


def test_the_commented_file_shows_every_setting_with_its_default():
    text = (ROOT / "configs/hotfork.toml").read_text()
    assert resolve(document=tomllib.loads(text)) == resolve()
    # "#key = value" is a setting that is commented out; "# words" is a comment.
    settings = tomllib.loads(re.sub(r"(?m)^#(?=\w+ = )", "", text))
    shown = {
        f"{name}.{inner}" if isinstance(value, dict) else name
        for name, value in settings.items()
        for inner in (value if isinstance(value, dict) else [None])
    }
    # A table that is empty by default stands as a heading; what is absent by default cannot be written in TOML.
    absent = {"aws.endpoint_url", "code.buckets", "auth.credentials", "auth.roles", "snapshots.warm_up"}
    assert shown | absent | {"interpreters"} == set(config.known_keys())
    root = resolve(is_root=True)
    chosen = resolve(document=settings, is_root=True)
    assert dataclasses.replace(chosen, logs=dataclasses.replace(chosen.logs, dir=None)) == root
    assert chosen.log_dir == root.log_dir


@pytest.fixture
def executable():
    def make(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return str(path)

    return make


OWN = f"python3.{sys.version_info.minor}"


def test_interpreters_named_go_before_our_own_before_pyenv_before_path(tmp_path, executable):
    first, second, root = tmp_path / "first", tmp_path / "second", tmp_path / "pyenv"
    executable(first / OWN)
    on_first = executable(first / "python3.22")
    executable(second / "python3.22")
    on_second = executable(second / "python3.19")
    executable(second / "python3.18")
    executable(root / "shims" / "python3.20")
    executable(root / "versions" / "3.18.2" / "bin" / "python3")
    newest = executable(root / "versions" / "3.18.10" / "bin" / "python3")
    executable(root / "versions" / "3.17-dev" / "bin" / "python3")
    executable(second / "python3.16-config")
    executable(second / "python3.10")
    (second / "python3.21").write_text("not executable")
    environ = {"PATH": os.pathsep.join(map(str, (first, second, root / "shims", "relative"))), "PYENV_ROOT": str(root)}
    found = config.find_interpreters({"python3.15": "/named"}, environ)
    assert found == {
        OWN: sys.executable,
        "python3.22": on_first,
        "python3.15": "/named",
        "python3.18": newest,
        "python3.19": on_second,
    }
    assert config.find_interpreters({OWN: "/named"}, environ)[OWN] == "/named"


def test_folders_that_cannot_be_read_offer_no_interpreter(tmp_path):
    (tmp_path / "file").write_text("")
    environ = {"PATH": f"/nowhere:{tmp_path}/file", "PYENV_ROOT": f"{tmp_path}/file"}
    assert config.find_interpreters({}, environ) == {OWN: sys.executable}
    assert config.find_interpreters({}, {}) == {OWN: sys.executable}
