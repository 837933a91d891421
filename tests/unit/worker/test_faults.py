"""Error documents and the disguise of our own frames."""

import sys
import traceback
import types

import pytest

from runtime.worker import channel, context, faults, function_logs, handler, interpreter, marshal_json

MODULES = (channel, context, faults, function_logs, handler, interpreter, marshal_json)


def caught(function, *arguments):
    with pytest.raises(Exception) as info:
        function(*arguments)
    return info.value


def test_frames_of_ours_are_taken_out_wherever_they_are(tmp_path, monkeypatch):
    (tmp_path / "broken_at_import.py").write_text("raise LookupError('there')\n")
    monkeypatch.syspath_prepend(tmp_path)
    error = caught(handler.find, "broken_at_import.handler")
    assert any("worker/handler.py" in line for line in traceback.format_tb(error.__traceback__))
    document = faults.of_exception(error, "r")
    assert list(document) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (document["errorMessage"], document["errorType"], document["requestId"]) == ("there", "LookupError", "r")
    shown = "".join(document["stackTrace"])
    assert "worker/handler.py" not in shown
    assert document["stackTrace"][-1] == (
        f"  File \"{tmp_path}/broken_at_import.py\", line 1, in <module>\n    raise LookupError('there')\n"
    )


def test_where_only_frames_of_ours_are_left_awss_is_shown():
    error = caught(context._filled, context.ClientContext, [])
    error.__traceback__ = error.__traceback__.tb_next
    assert faults.of_exception(error)["stackTrace"] == [
        (
            '  File "/var/runtime/bootstrap.py", line 178, in handle_event_request\n'
            "    response = request_handler(event, lambda_context)\n"
        )
    ]


def codes(code):
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from codes(value)


def test_disguise_reaches_all_code_of_a_module():
    copies = []
    for module in MODULES:
        source = types.ModuleType(module.__name__)
        source.__file__ = module.__file__
        with open(module.__file__) as file:  # noqa: PTH123
            exec(compile(file.read(), module.__file__, "exec"), source.__dict__)
        copies.append(source)
    interpreter.disguise(copies)
    seen = 0
    for module in copies:
        for value in vars(module).values():
            for member in vars(value).values() if isinstance(value, type) else (value,):
                function = getattr(member, "__func__", getattr(member, "fget", member))
                if isinstance(function, types.FunctionType) and function.__globals__ is module.__dict__:
                    assert {code.co_filename for code in codes(function.__code__)} == {faults.DISGUISE}
                    seen += 1
    assert seen > 40


def test_the_standard_library_keeps_its_names():
    interpreter.disguise([sys.modules["json"]])
    import json  # noqa: PLC0415

    assert json.loads.__code__.co_filename == json.__file__


def test_a_fault_has_no_frames():
    fault = caught(marshal_json.unmarshal, b"{")
    assert fault.document("r")["stackTrace"] == []
    assert fault.document("r")["errorType"] == "Runtime.UnmarshalError"
