"""A worker looks like an interpreter that Lambda started: nothing of ours, and the function's own files first."""

import json
import sys
from pathlib import Path

import pytest
import served

from runtime import wire

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"

# More of the standard library than the runtime itself needs, as a zygote with preloaded packages may have.
PRELOAD = "import asyncio, ctypes, dataclasses, email.message, random, socket, subprocess, tempfile, uuid, typing"


@pytest.fixture(scope="module")
def nursery():
    with served.Nursery(preload=PRELOAD + "\nserver.prepare()") as nursery:
        yield nursery


def evaluate(nursery, task: Path, body: str, **options):
    """Return what a function with this body returns."""
    (task / "app.py").write_text("def handler(event, context):\n" + "".join(f"  {line}\n" for line in body.split("\n")))
    with nursery.fork() as worker:
        ready = worker.assign(task, **options)
        assert ready == wire.Ready(), (ready, worker.log())
        message = worker.invoke({})
        assert isinstance(message, wire.Response), (message, worker.log())
        return json.loads(message.payload)


def test_no_module_but_the_standard_library_is_loaded(nursery, tmp_path):
    loaded = evaluate(nursery, tmp_path, "import sys; return [m.partition('.')[0] for m in sys.modules]")
    assert set(loaded) - {*sys.stdlib_module_names} == {"__main__", "app"}


def test_unprepared_is_hidden_too(tmp_path):
    """The same where the zygote imported something after it had prepared."""
    with served.Nursery(preload="import simplejson.tool, runtime.errors, runtime.model, bisect") as nursery:
        loaded = evaluate(nursery, tmp_path, "import sys; return [m.partition('.')[0] for m in sys.modules]")
    assert set(loaded) - {*sys.stdlib_module_names} == {"__main__", "app"}


@pytest.mark.parametrize("name", ["runtime", "runtime.wire", "msgpack", "simplejson", "pytest", "pip", "botocore"])
def test_packages_installed_beside_us_cannot_be_imported(name, nursery, tmp_path):
    body = f"try:\n  import {name}\nexcept ModuleNotFoundError as e:\n  return str(e)"
    assert evaluate(nursery, tmp_path, body) == f"No module named '{name.partition('.')[0]}'"


@pytest.mark.parametrize(
    "name", ["runtime", "wire", "msgpack", "simplejson", "botocore", "boto3", "bootstrap", "context"]
)
@pytest.mark.parametrize("form", ["module", "package"])
def test_a_function_gets_its_own(name, form, nursery, tmp_path):
    path = tmp_path / f"{name}.py" if form == "module" else tmp_path / name / "__init__.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text("own = True")
    body = f"import {name}\nreturn [{name}.own, {name}.__file__]"
    assert evaluate(nursery, tmp_path, body) == [True, str(path)]


@pytest.mark.parametrize(
    "name", ["socket", "email", "random", "dataclasses", "typing", "subprocess", "calendar", "queue"]
)
@pytest.mark.parametrize("form", ["module", "package"])
def test_a_function_may_shadow_what_lambda_has_not_loaded(name, form, nursery, tmp_path):
    test_a_function_gets_its_own(name, form, nursery, tmp_path)


@pytest.mark.parametrize("name", ["json", "logging", "decimal", "collections", "time", "os"])
def test_a_function_cannot_shadow_what_lambda_has_loaded(name, nursery, tmp_path):
    (tmp_path / f"{name}.py").write_text("own = True")
    assert evaluate(nursery, tmp_path, f"import {name}; return hasattr({name}, 'own')") is False


def test_files_that_are_no_modules_replace_nothing(nursery, tmp_path):
    for name in ("socket.txt", "random.json", "email.md"):
        (tmp_path / name).touch()
    body = "import sys\nreturn [name in sys.modules for name in ('socket', 'random', 'email', 'email.message')]"
    assert evaluate(nursery, tmp_path, body) == [True] * 4


def test_search_path(nursery, tmp_path):
    task, layers, sdk = tmp_path / "task", tmp_path / "opt", tmp_path / "runtime"
    task.mkdir()
    env = {"PYTHONPATH": f"{sdk}:{tmp_path}/extra::{layers}/python"}
    path = evaluate(nursery, task, "import sys; return sys.path", env=env, layer_root=str(layers), sdk_root=str(sdk))
    assert path[:4] == [
        str(task),
        f"{layers}/python/lib/{VERSION}/site-packages",
        f"{layers}/python",
        f"{tmp_path}/extra",
    ]
    assert path[-1] == str(sdk)
    assert len(path) == 8
    assert not [folder for folder in path[4:-1] if "site-packages" in folder or "dist-packages" in folder]


def test_the_functions_folder_is_not_tried_as_anything_else(tmp_path):
    preload = "import sys\ntried = sys.tried = []\ndef note(path):\n    tried.append(path)\n    raise ImportError"
    (tmp_path / "task").mkdir()
    roots = {"layer_root": str(tmp_path / "opt"), "sdk_root": str(tmp_path)}
    with served.Nursery(preload=f"{preload}\nsys.path_hooks.insert(0, note)\nserver.prepare()") as nursery:
        body = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport nothing_else as one; return [one.here, sys.tried]"
        (tmp_path / "nothing_else.py").write_text("here = True")
        here, tried = evaluate(nursery, tmp_path / "task", body, **roots)
    assert here
    assert str(tmp_path) in tried
    assert str(tmp_path / "task") not in tried


def test_task_before_layers_before_sdk(nursery, tmp_path):
    task, layers, sdk = tmp_path / "task", tmp_path / "opt", tmp_path / "runtime"
    site = layers / "python" / "lib" / VERSION / "site-packages"
    for number, folder in enumerate([sdk, layers / "python", site, task], 1):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ["one", "two", "three", "four"][: 5 - number]:
            (folder / f"{name}.py").write_text(f"place = {folder.name!r}")
    body = "import one, two, three, four\nreturn [one.place, two.place, three.place, four.place]"
    roots = {"layer_root": str(layers), "sdk_root": str(sdk)}
    assert evaluate(nursery, task, body, **roots) == ["task", "site-packages", "python", "runtime"]


def test_environment_is_exactly_what_was_assigned(nursery, tmp_path):
    body = "import ctypes, os, subprocess\nreturn [dict(os.environ), subprocess.getoutput('env -0')]"
    environ, inherited = evaluate(nursery, tmp_path, body, env={"MINE": "ä=\n1", "EMPTY": ""})
    expected = served.environment(tmp_path, "app.handler", {"MINE": "ä=\n1", "EMPTY": ""})
    assert environ == expected
    of_c = dict(entry.split("=", 1) for entry in inherited.split("\0") if entry)
    assert {key: of_c[key] for key in expected} == expected
    assert set(of_c) - set(expected) <= {"PWD", "SHLVL", "_", "OLDPWD"}


def test_environment_of_c(nursery, tmp_path):
    body = "import ctypes\ngetenv = ctypes.CDLL(None).getenv\ngetenv.restype = ctypes.c_char_p\nreturn [getenv(b'MINE'), getenv(b'HOME')]"
    assert evaluate(nursery, tmp_path, body, env={"MINE": "1"}) == ["1", None]


def test_time_zone(nursery, tmp_path):
    body = "import time\nreturn [time.tzname[0], time.localtime(0).tm_hour, time.strftime('%Z')]"
    assert evaluate(nursery, tmp_path, body) == ["UTC", 0, "UTC"]
    assert evaluate(nursery, tmp_path, body, env={"TZ": "CET-1"}) == ["CET", 1, "CET"]


def test_main_is_empty_and_the_arguments_are_awss(nursery, tmp_path):
    body = "import __main__, os, sys\nreturn [sorted(vars(__main__)), sys.argv, sys.orig_argv[1:], os.path.exists(sys.executable)]"
    names, argv, orig_argv, exists = evaluate(nursery, tmp_path, body, sdk_root="/var/runtime")
    assert names == ["__builtins__", "__doc__", "__loader__", "__name__", "__package__", "__spec__"]
    assert argv == orig_argv == ["/var/runtime/bootstrap.py"]
    assert exists


def test_the_interpreter_is_no_virtual_environment(nursery, tmp_path):
    body = "import sys\nreturn [sys.prefix == sys.base_prefix, sys.exec_prefix == sys.base_exec_prefix]"
    assert evaluate(nursery, tmp_path, body) == [True, True]


def test_no_file_of_ours_shows_in_stacks_or_caches(nursery, tmp_path):
    body = (
        "import traceback, linecache, sys, threading, warnings\n"
        "shown = ''.join(traceback.format_stack()) + repr([*linecache.cache]) + repr([*sys.path_importer_cache])\n"
        "return shown + repr(sys.meta_path) + repr(warnings.filters) + repr(vars(context)) + repr(sys.path_hooks)"
    )
    shown = evaluate(nursery, tmp_path, body)
    assert str(served.ROOT / "runtime") not in shown
    assert str(served.SITE) not in shown
    assert "/var/runtime/bootstrap.py" in shown


def test_streams(nursery, tmp_path):
    body = (
        "import sys\n"
        "streams = sys.stdin, sys.stdout, sys.stderr\n"
        "assert streams == (sys.__stdin__, sys.__stdout__, sys.__stderr__)\n"
        "assert [s.seekable() for s in streams] == [True, False, False]\n"
        "return [[s.name, s.fileno(), s.encoding, s.errors, s.line_buffering] for s in streams] + [sys.stdin.read()]"
    )
    assert evaluate(nursery, tmp_path, body) == [
        ["<stdin>", 0, "utf-8", "surrogateescape", False],
        ["<stdout>", 1, "utf-8", "surrogateescape", True],
        ["<stderr>", 2, "utf-8", "backslashreplace", True],
        "",
    ]


def test_children_of_the_function_have_default_signals(nursery, tmp_path):
    body = (
        "import os, signal\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "  kept = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and not signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
        "  os._exit(5 if kept else 6)\n"
        "return [os.waitpid(pid, 0)[1] >> 8, len(signal.pthread_sigmask(signal.SIG_BLOCK, ()))]"
    )
    assert evaluate(nursery, tmp_path, body) == [5, 0]


RECORDER = """
import builtins
made = []
given = builtins.__import__
def record(name, globals=None, *rest):
    if (globals or {}).get("__name__", "").partition(".")[0] in ("runtime", "msgpack", "simplejson"):
        made.append(name)
    return given(name, globals, *rest)
builtins.__import__ = record

def handler(event, context):
    if event == "made":
        return made
    if event == "raise":
        raise ValueError("v")
    if event == "logs":
        import logging
        logging.warning("w", extra={"x": {1}})
        logging.error("e", exc_info=ValueError("x"))
        context.log("l")
    import decimal
    return {"set": {1}, "decimal": [decimal.Decimal("1.5"), decimal.Decimal("nan"), context.w3c()]}.get(event)
"""


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
@pytest.mark.parametrize("python", served.INTERPRETERS, ids=served.name_of)
def test_our_code_imports_nothing_once_the_function_runs(python, log_format, tmp_path):
    (tmp_path / "app.py").write_text(RECORDER)
    with served.Nursery(python) as nursery, nursery.fork() as worker:
        assert worker.assign(tmp_path, env={"AWS_LAMBDA_LOG_FORMAT": log_format}) == wire.Ready()
        for event in "raise", "logs", "set", "decimal", {"deep": [1.5, None, "ä"]}:
            for streaming in False, True:
                worker.send(served.invocation(json.dumps(event).encode(), streaming=streaming, client_context=b"{}"))
                while isinstance(worker.receive(), wire.Chunk):
                    pass
        for raw in b"{", b"\xff", b"NaN", b"", b'"\\u12"', b"[1, 2", b'{"a" 1}':
            assert worker.invoke(raw=raw).error_type == "Runtime.UnmarshalError"
        assert worker.invoke(client_context=b"{").error_type == "Runtime.LambdaContextUnmarshalError"
        assert json.loads(worker.invoke("made").payload) == []
