"""The runtime of a worker against AWS's own runtime client: same functions, same events, same everything.

Each case runs in both and compares every message (payloads, error documents, stack traces), the whole log and the
exit status. Only clock times and the place of AWS's own files are evened out.
"""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit" / "worker"))

import served

from runtime import wire

pytest.importorskip("awslambdaric")


@pytest.fixture(scope="module")
def ours():
    with served.Nursery(preload="import email, random, tempfile, ctypes, dataclasses, uuid, socket") as nursery:
        yield nursery


@pytest.fixture(scope="module")
def oracle():
    with served.Nursery(server="oracle_adapter") as nursery:
        yield nursery


def run(nursery: served.Nursery, task: Path, handler: str, events, env, changes):
    """Return what came of a case: messages, log, exit status."""
    with nursery.fork() as worker:
        messages = [worker.assign(task, handler, env)]
        for event in events if isinstance(messages[0], wire.Ready) else ():
            raw = event if isinstance(event, bytes) else json.dumps(event).encode()
            messages.append(worker.invoke(raw=raw, deadline_ms=0, **changes))
            if messages[-1] is None:
                break
        return [readable(message) for message in messages], evened(worker.log()), worker.exit_status()


def readable(message):
    """Return a message as something that pytest can show the difference of."""
    if message is None or isinstance(message, wire.Ready):
        return message
    payload = evened(message.payload.decode("utf-8", "backslashreplace"))
    return type(message).__name__, getattr(message, "content_type", ""), getattr(message, "error_type", ""), payload


def evened(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "<time>", text)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x<address>", text)
    # How deep a recursion gets depends on how many frames were there before it.
    text = re.sub(r"Previous line repeated \d+ more", "Previous line repeated <many> more", text)
    text = re.sub(r"Stack overflow \(used \d+ kB\)", "Stack overflow (used <some> kB)", text)
    # AWS encodes its X-Ray document first.
    text = re.sub(r"in position \d+: surrogates", "in position <n>: surrogates", text)
    # Where AWS's own files are, and a frame of them inside a trace, which it shows and we do not.
    text = re.sub(r"/[\w/.-]+/awslambdaric/(\w+)\.py", r"/var/runtime/\1.py", text)
    text = re.sub(r"/var/runtime/bootstrap\.py:\d+: RuntimeWarning(.*)\n(?:  .*\n)?", r"RuntimeWarning\1\n", text)
    own = r"File \\?\"/var/runtime/\w+\.py\\?\", line \d+, in (?!handle_event_request)\w+"
    text = re.sub(r'(, )?"  ' + own + r'\\n(?:[^"\\]|\\.)*"', "", text)
    text = re.sub(r"\r\xa0\xa0" + own + r"\r\xa0\xa0\xa0\xa0[^\r\n]*", "", text)
    # What the interpreter itself prints of a process that ends shows the frames of who started it.
    return re.sub(r"Traceback \(most recent call last\):\n(?: .*\n)*", "", text)


HEAD = "import collections, datetime, decimal, enum, json, logging, math, os, sys, warnings\n"

RESULTS = {
    "none": "None",
    "text": "'text'",
    "empty": "''",
    "int": "1",
    "big int": "2**70",
    "negative": "-7",
    "float": "[0.1, 1e100, 1e-7, -0.0, 5.0]",
    "nan": "[math.nan, math.inf, -math.inf]",
    "bool": "[True, False]",
    "unicode": "{'käse': '日本 \\u2028 \\x7f \\x00 \\n \U0001f600 </script>'}",
    "unicode text": "'日本'",
    "surrogate pair": "'\\ud83d\\ude00'",
    "list": "[1, [2, [3]], ()]",
    "tuple": "(1, 2)",
    "decimal": "{'a': decimal.Decimal('1.10'), 'b': decimal.Decimal('1E+3'), 'c': decimal.Decimal('-0')}",
    "decimal nan": "[decimal.Decimal('NaN'), decimal.Decimal('-NaN'), decimal.Decimal('sNaN')]",
    "decimal inf": "[decimal.Decimal('Infinity'), decimal.Decimal('-Infinity')]",
    "decimal alone": "decimal.Decimal('3.14')",
    "decimal key": "{decimal.Decimal('1'): 1}",
    "bytes": "b'\\x00\\xff raw'",
    "bytes inside": "{'b': 'ä'.encode()}",
    "bytes not utf-8 inside": "{'b': b'\\xff'}",
    "bytes key": "{b'k': 1}",
    "bytearray": "bytearray(b'x')",
    "memoryview": "memoryview(b'x')",
    "namedtuple": "collections.namedtuple('P', 'x y')(1, 2)",
    "namedtuple inside": "[collections.namedtuple('P', 'x y')(1, b'z')]",
    "asdict": "type('T', (), {'_asdict': lambda self: {'k': 1}})()",
    "for_json": "type('T', (), {'for_json': lambda self: {'k': 1}})()",
    "int enum": "enum.IntEnum('E', 'A B').B",
    "int enum key": "{enum.IntEnum('E', 'A B').B: 1}",
    "str enum": "enum.Enum('E', {'A': 'a'}, type=str).A",
    "plain enum": "enum.Enum('E', 'A').A",
    "keys": "{1: 1, None: 2, True: 3, 1.5: 4, 'x': 5}",
    "tuple key": "{(1, 2): 3}",
    "set": "{1}",
    "datetime": "datetime.datetime(2026, 1, 1)",
    "generator": "(x for x in 'ab')",
    "object": "object()",
    "class": "int",
    "function": "handler",
    "exception": "ValueError('x')",
    "complex": "1j",
    "range": "range(3)",
    "dict view": "{'a': 1}.keys()",
    "str subclass": "type('S', (str,), {'__str__': lambda self: 'no'})('yes')",
    "int subclass": "type('I', (int,), {'__str__': lambda self: 'no', '__repr__': lambda self: 'no'})(7)",
    "float subclass": "type('F', (float,), {'__repr__': lambda self: 'no'})(1.5)",
    "ordered": "collections.OrderedDict(b=1, a=2)",
    "default dict": "collections.defaultdict(int, a=1)",
    "counter": "collections.Counter('aab')",
    "user dict": "collections.UserDict(a=1)",
    "deque": "collections.deque([1])",
    "context": "context",
    "circular": "(lambda d: d.__setitem__('d', d) or d)({})",
    "circular list": "(lambda d: d.append(d) or d)([])",
    "deep": "__import__('functools').reduce(lambda a, _: [a], range(100000), 0)",
    "environment": "dict(os.environ)",
    "path and argv": "[os.getcwd() == os.environ['LAMBDA_TASK_ROOT'], sys.path[0] == os.getcwd(), __name__]",
    "encodings": "[sys.stdout.encoding, sys.stdout.errors, sys.stderr.encoding, sys.getfilesystemencoding()]",
    "event": "event",
    "remaining": "context.get_remaining_time_in_millis()",
    "context repr": "repr(context)",
    "context types": "{k: type(v).__name__ for k, v in vars(context).items()}",
    "context names": "sorted(n for n in dir(context) if not n.startswith('_'))",
    "context class": "[type(context).__name__, type(context).__module__, type(context.identity).__module__]",
    "handlers": "[[type(h).__name__, type(h.formatter).__name__, h.level] for h in logging.getLogger().handlers]",
    "level": "logging.getLogger().level",
}


@pytest.mark.parametrize("version", ["3.11", "3.13"])
@pytest.mark.parametrize("name", RESULTS)
def test_result(name, version, ours, oracle, tmp_path):
    (tmp_path / "app.py").write_text(HEAD + f"def handler(event, context):\n    return {RESULTS[name]}\n")
    env = {"AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}"}
    given = tmp_path, "app.handler", [{"k": ["v", 1.5, None]}], env, {}
    assert run(ours, *given) == run(oracle, *given)


EVENTS = {
    "object": b'{"a": {"b": [1, 2.5, true, null, "x"]}}',
    "spaces": b' \n\t{ "a" : 1 } \r\n',
    "text": '"käse 日本 \\ud83d\\ude00"'.encode(),
    "lone surrogate": b'"\\ud800"',
    "number": b"12345678901234567890123",
    "float": b"1.10",
    "exponent": b"1e400",
    "nan": b"NaN",
    "infinity": b"[-Infinity]",
    "empty": b"",
    "blank": b"  ",
    "not json": b"{'a': 1}",
    "rest": b"{} x",
    "cut": b'{"a": ',
    "not utf-8": b'"\xff"',
    "bom": b'\xef\xbb\xbf{"a": 1}',
    "control": b'"a\nb"',
    "twice": b'{"a": 1, "a": 2}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "long int": b"9" * 5000,
    "null": b"null",
}


@pytest.mark.parametrize("name", EVENTS)
def test_event(name, ours, oracle, tmp_path):
    (tmp_path / "app.py").write_text(HEAD + "def handler(event, context):\n    return [repr(event), event]\n")
    given = tmp_path, "app.handler", [EVENTS[name], b'{"next": 1}'], {}, {}
    assert run(ours, *given) == run(oracle, *given)


FAILURES = {
    "value error": "raise ValueError('bad value')",
    "no message": "raise ValueError",
    "empty message": "raise ValueError('')",
    "key error": "return {}['missing']",
    "assertion": "assert event == 5, 'not five'",
    "nested": "def inner():\n    raise TypeError('in')\n  inner()",
    "division": "return 1 / 0",
    "custom": "class Custom(Exception):\n    pass\n  raise Custom('c', 1)",
    "multiple lines": "raise ValueError('line 1\\n  line 2\\n\\nline 4\\r\\nline 5')",
    "unicode": "raise ValueError('käse 日本 \U0001f600')",
    "unicode type": "raise type('Käse', (Exception,), {})('x')",
    "chained": "try:\n    1 / 0\n  except ZeroDivisionError as e:\n    raise ValueError('from') from e",
    "in context": "try:\n    1 / 0\n  except ZeroDivisionError:\n    raise ValueError('while')",
    "group": "raise ExceptionGroup('many', [ValueError(1), TypeError(2)])",
    "note": "e = ValueError('noted')\n  e.add_note('a note')\n  raise e",
    "str raises": "class Bad(Exception):\n    def __str__(self): raise RuntimeError('no str')\n  raise Bad()",
    "str exits": "class Bad(Exception):\n    def __str__(self): sys.exit(9)\n  raise Bad()",
    "str is no str": "class Bad(Exception):\n    def __str__(self): return 5\n  raise Bad()",
    "recursion": "def again(n):\n    return again(n + 1)\n  return again(0)",
    "huge message": "raise ValueError('x' * 300_000)",
    "surrogate in message": "raise ValueError('\\ud800')",
    "escaped surrogate in message": "raise ValueError('\\udc80')",
    "surrogate in result": "return '\\ud800'",
    "exit": "sys.exit()",
    "exit 0": "sys.exit(0)",
    "exit 3": "sys.exit(3)",
    "exit -1": "sys.exit(-1)",
    "exit 256": "sys.exit(256)",
    "exit text": "sys.exit('going')",
    "exit by os": "os._exit(7)",
    "exit by built-in": "exit(4)",
    "exit by exception": "raise SystemExit(5)",
    "killed": "os.kill(os.getpid(), 9)",
    "stop iteration": "raise StopIteration('s')",
    "generator exit": "raise GeneratorExit('g')",
    "interrupt": "raise KeyboardInterrupt('k')",
    "base exception": "raise type('Base', (BaseException,), {})('b')",
    "exec": "exec('raise ValueError(1)')",
    "eval with name": "exec(compile('1/0', 'some file.py', 'exec'))",
    "lambda": "return (lambda: [][1])()",
    "json": "return json.loads('{')",
    "os error": "open('/nonexistent/file')",
    "unicode error": "return b'\\xff'.decode()",
    "decorated": "import functools\n  return functools.reduce(lambda a, b: a / b, [1, 0])",
    "print, then fail": "print('printed')\n  raise ValueError('failed')",
    "import error": "import nothing_like_this",
    "warning": "warnings.warn('careful')\n  raise Warning('w')",
    "memory error": "raise MemoryError",
    "timeout error": "raise TimeoutError('late')",
    "tabs": "raise ValueError('\\ttab')  # \\t",
    "multi-line call": "raise ValueError(\n      'spread',\n      event,\n  )",
    "deleted file": "os.remove(__file__)\n  raise ValueError('no source')",
    "no cwd": "os.chdir('/')\n  raise ValueError('elsewhere')",
    "traceback from afar": "e = ValueError('v')\n  raise e.with_traceback(None)",
    "logged": "logging.error('e %s', 1)\n  logging.getLogger('n').warning('w')\n  return 1",
}


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
@pytest.mark.parametrize("name", FAILURES)
def test_failure(name, log_format, ours, oracle, tmp_path):
    source = HEAD + f"def handler(event, context):\n  {FAILURES[name]}\n"
    env = {"AWS_LAMBDA_LOG_FORMAT": log_format}
    got = []
    for nursery in ours, oracle:
        (tmp_path / "app.py").write_text(source)
        messages, log, status = run(nursery, tmp_path, "app.handler", [1, 2], env, {})
        # What the interpreter itself prints of a process that ends shows the frames of who started it.
        got.append((messages, log, status))
    assert got[0] == got[1]


IMPORTS = {
    "missing module": ("nowhere.handler", ""),
    "missing in folder": ("a.b.handler", ""),
    "missing function": ("app.nothing", ""),
    "no dot": ("app", ""),
    "empty": ("", ""),
    "only dot": (".", ""),
    "leading dot": (".app.handler", ""),
    "trailing dot": ("app.", ""),
    "two dots": ("app..handler", ""),
    "relative": ("../app.handler", ""),
    "absolute": ("/app.handler", ""),
    "slashes": ("pack/sub/mod.handler", "def handler(e, c): return __name__"),
    "dots": ("pack.sub.mod.handler", "def handler(e, c): return __name__"),
    "mixed": ("pack/sub.mod.handler", "def handler(e, c): return __name__"),
    "missing function in folder": ("pack/sub/mod.nothing", ""),
    "built-in": ("sys.exit", ""),
    "built-in time": ("time.sleep", ""),
    "built-in in folder": ("math/x.handler", ""),
    "built-in parent": ("time.x.handler", ""),
    "standard library": ("json.loads", ""),
    "class": ("app.Handler", "class Handler:\n  def __new__(cls, e, c): return [e]"),
    "method": ("app.Handler.run", "class Handler:\n  @staticmethod\n  def run(e, c): return 1"),
    "AWS's own file name": ("bootstrap.handler", "def handler(e, c): raise ValueError('here')"),
    "AWS's own file name, then another": ("bootstrap.handler", "import app\nhandler = app.fail"),
    "not callable": ("app.handler", "handler = 5"),
    "one argument": ("app.handler", "def handler(event): pass"),
    "three arguments": ("app.handler", "def handler(a, b, c): pass"),
    "async": ("app.handler", "async def handler(e, c): return 1"),
    "partial": ("app.handler", "import functools\nhandler = functools.partial(lambda x, e, c: [x, e], 1)"),
    "syntax error": ("app.handler", "def handler(e, c:\n  pass"),
    "indentation error": ("app.handler", "def handler(e, c):\npass"),
    "tab error": ("app.handler", "if 1:\n\tx = 1\n        y = 2\n"),
    "null byte": ("app.handler", "x = '\0'"),
    "not utf-8": ("app.handler", b"x = '\xff'"),
    "unterminated": ("app.handler", "x = '"),
    "syntax error in import": ("app.handler", "import broken"),
    "syntax error by hand": ("app.handler", "raise SyntaxError('by hand')"),
    "import error": ("app.handler", "import nothing_like_this"),
    "import error from": ("app.handler", "from json import nothing"),
    "import error by hand": ("app.handler", "raise ImportError('by hand')"),
    "import error, deeper": ("app.handler", "import pack.deeper"),
    "circular": ("app.handler", "import app\napp.handler\n"),
    "value error": ("app.handler", "raise ValueError('at import')"),
    "name error": ("app.handler", "x = 1\n\ny = undefined\n"),
    "deep error": ("app.handler", "import pack.failing"),
    "chained": ("app.handler", "try:\n  1 / 0\nexcept ZeroDivisionError:\n  raise ValueError('v')"),
    "exit 0": ("app.handler", "import sys\nsys.exit()"),
    "exit 3": ("app.handler", "import sys\nprint('out')\nsys.exit(3)"),
    "exit by os": ("app.handler", "import os\nos._exit(5)"),
    "interrupt": ("app.handler", "raise KeyboardInterrupt"),
    "base exception": ("app.handler", "raise BaseException('b')"),
    "recursion": ("app.handler", "def f(): f()\nf()"),
    "str raises": ("app.handler", "class E(Exception):\n  def __str__(self): 1 / 0\nraise E"),
    "module getattr raises": ("app.nothing", "def __getattr__(n): raise ValueError(n)"),
    "module getattr": ("app.anything", "def __getattr__(n): return lambda e, c: n"),
    "logs": ("app.handler", "import logging\nlogging.warning('w')\nprint('p')\ndef handler(e, c): return 1"),
    "log level": ("app.handler", "import logging\nlogging.info('i')\nlogging.debug('d')\ndef handler(e, c): return 1"),
    "basicConfig": ("app.handler", "import logging\nlogging.basicConfig(level='DEBUG')\ndef handler(e, c): pass"),
    "unhashable name": ("ä.ö", ""),
    "newline": ("app\n.handler", ""),
    "space": ("app .handler", ""),
}


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
@pytest.mark.parametrize("name", IMPORTS)
def test_import(name, log_format, ours, oracle, tmp_path):
    handler, source = IMPORTS[name]
    data = source if isinstance(source, bytes) else source.encode()
    (tmp_path / "app.py").write_bytes(data)
    if handler.startswith("bootstrap"):
        (tmp_path / "bootstrap.py").write_bytes(data)
        (tmp_path / "app.py").write_text("def fail(e, c): raise ValueError('there')")
    (tmp_path / "pack" / "sub").mkdir(parents=True)
    (tmp_path / "pack" / "sub" / "mod.py").write_bytes(data)
    (tmp_path / "pack" / "failing.py").write_text("def f():\n    raise RuntimeError('deep')\nf()\n")
    (tmp_path / "pack" / "deeper.py").write_text("from pack.sub import not_there\n")
    (tmp_path / "broken.py").write_text("x = = 1\n")
    got = []
    for nursery in ours, oracle:
        messages, log, status = run(nursery, tmp_path, handler, [1], {"AWS_LAMBDA_LOG_FORMAT": log_format}, {})
        got.append((messages, log, status))
    assert got[0] == got[1]


LOGS = {
    "levels": "for n in (5, 10, 15, 20, 30, 35, 40, 50, 60): logging.log(n, 'at %d', n)",
    "named": "logging.getLogger('my.logger').error('text')",
    "arguments": "logging.warning('%s and %05.2f and %(x)s' if False else '%s and %05.2f', 'a', 1.5)",
    "mapping arguments": "logging.warning('%(a)s', {'a': 'b'})",
    "bad arguments": "logging.raiseExceptions = False\n  logging.warning('%d', 'x')",
    "extras": "logging.warning('m', extra={'a': 1, 'b': {'c': [1, None]}, 'n': None, 'käse': 'ü'})",
    "odd extras": "logging.warning('m', extra={'o': {1, }, 'd': decimal.Decimal('1.5'), 't': datetime.date(2026, 1, 1)})",
    "extras that clash": "logging.warning('m', extra={'level': 'x', 'requestId': 'y', 'timestamp': 'z', 'logger': 'q'})",
    "exception": "try:\n    1 / 0\n  except Exception:\n    logging.exception('caught %s', 'it')",
    "exc_info": "logging.error('e', exc_info=ValueError('given'))",
    "exc_info outside": "logging.raiseExceptions = False\n  logging.error('e', exc_info=True)",
    "stack_info": "logging.getLogger('s').warning('with stack', stack_info=False)",
    "dict message": "logging.warning({'a': 1, 'b': decimal.Decimal('2')})",
    "dict message with arguments": "logging.warning({'a': 1}, {'x': 1})",
    "object message": "logging.warning(ValueError('as message'))",
    "unicode": "logging.warning('käse 日本 \U0001f600')",
    "multiple lines": "logging.warning('one\\ntwo\\rthree')",
    "long": "logging.warning('x' * 100_000)",
    "own level": "logging.addLevelName(25, 'NOTICE')\n  logging.log(25, 'noticed')\n  logging.log(35, 'more')",
    "own handler": "logging.getLogger('o').addHandler(logging.StreamHandler(sys.stdout))\n  logging.getLogger('o').warning('twice')",
    "own formatter": "logging.getLogger().handlers[0].setFormatter(logging.Formatter('%(message)s|%(aws_request_id)s'))\n  logging.warning('m')",
    "set level": "logging.getLogger().setLevel('DEBUG')\n  logging.debug('seen')",
    "disabled": "logging.disable(logging.ERROR)\n  logging.error('not seen')\n  logging.critical('seen')",
    "basicConfig forced": "logging.basicConfig(level=10, force=True, stream=sys.stdout)\n  logging.info('plain')",
    "print": "print('a', 'b', sep='-', end='!')\n  print()\n  print('日本')",
    "print to both": "print('out')\n  print('err', file=sys.stderr)\n  print('out again')",
    "write lines": "sys.stdout.writelines(['a\\n', 'b\\n'])",
    "write bytes": "sys.stdout.flush()\n  sys.stdout.buffer.write(b'raw\\n')\n  sys.stdout.flush()",
    "write by fd": "print('first')\n  os.write(1, b'second\\n')\n  print('third')",
    "surrogate escape": "print('\\udcff')" if False else "print(os.fsdecode(b'name'))",
    "redirected": "import contextlib, io\n  with contextlib.redirect_stdout(io.StringIO()) as f:\n    logging.warning('captured')\n  print(len(f.getvalue()) > 10)",
    "context log": "context.log('no line end')\n  context.log(5)\n  context.log('\\n')",
    "context log without handler": "logging.getLogger().handlers.clear()\n  context.log('plain\\n')",
    "child process": "import subprocess\n  print('before')\n  subprocess.run(['echo', 'child'])\n  print('after')",
    "warnings": "logging.captureWarnings(True)\n  warnings.warn_explicit('w', UserWarning, 'f.py', 1)",
    "filtered": "logging.getLogger().handlers[0].addFilter(lambda r: r.levelno > 30)\n  logging.warning('no')\n  logging.error('yes')",
    "attributes": "logging.getLogger().handlers[0].log_sink.log('by sink\\n')",
    "record attributes": "logging.getLogger().handlers[0].addFilter(lambda r: print(r.aws_request_id, r.tenant_id) or True)\n  logging.error('x')",
    "args error": "logging.raiseExceptions = False\n  logging.warning('%s %s', 1)",
}
FORMATS = {
    "text": {},
    "text, info": {"AWS_LAMBDA_LOG_LEVEL": "INFO"},
    "text, trace": {"AWS_LAMBDA_LOG_FORMAT": "Text", "AWS_LAMBDA_LOG_LEVEL": "TRACE"},
    "json": {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"},
    "json, fatal": {"AWS_LAMBDA_LOG_FORMAT": "json", "AWS_LAMBDA_LOG_LEVEL": "fatal"},
    "json, odd level": {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "LOUD"},
}


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("name", LOGS)
def test_log(name, log_format, ours, oracle, tmp_path):
    (tmp_path / "app.py").write_text(HEAD + f"def handler(event, context):\n  {LOGS[name]}\n")
    given = tmp_path, "app.handler", [1, 2], FORMATS[log_format], {"tenant_id": "blue"}
    assert run(ours, *given) == run(oracle, *given)


CALLS = {
    "trace id": {"trace_id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"},
    "no trace id": {"trace_id": None},
    "tenant": {"tenant_id": "blue"},
    "client context": {
        "client_context": b'{"custom": {"a": 1}, "env": {"b": 2}, "client": {"installation_id": "i", "app_title": "t"}}'
    },
    "client context without client": {"client_context": b'{"custom": 1}'},
    "client context, unknown keys": {"client_context": b'{"x": 1, "client": {"y": 2}}'},
    "client context, empty": {"client_context": b"{}"},
    "client context, null": {"client_context": b"null"},
    "client context, list": {"client_context": b"[]"},
    "client context, not json": {"client_context": b"{"},
    "client context, w3c": {
        "client_context": b'{"custom": 1, "w3c": {"traceparent": "00-1", "tracestate": 5, "baggage": "b", "o": "x"}}'
    },
    "client context, odd w3c": {"client_context": b'{"w3c": "x"}'},
    "identity": {"cognito_identity": b'{"cognitoIdentityId": "id", "cognitoIdentityPoolId": "pool"}'},
    "identity, half": {"cognito_identity": b'{"cognitoIdentityId": "id"}'},
    "identity, not json": {"cognito_identity": b"nope"},
    "arn": {"invoked_arn": "arn:aws:lambda:eu-central-1:123456789012:function:f:alias"},
    "request id": {"request_id": "other"},
}
TELL = """
  c = context
  fields = ("aws_request_id log_group_name log_stream_name function_name memory_limit_in_mb function_version "
            "invoked_function_arn tenant_id").split()
  logging.warning("in the log")
  return {**{f: getattr(c, f) for f in fields}, "repr": repr(c), "w3c": c.w3c(),
          "trace": os.environ.get("_X_AMZN_TRACE_ID"), "identity": [c.identity.cognito_identity_id,
          c.identity.cognito_identity_pool_id], "client": c.client_context and [c.client_context.custom,
          c.client_context.env, str(c.client_context.client)], "left": c.get_remaining_time_in_millis()}
"""


@pytest.mark.parametrize("name", CALLS)
def test_context(name, ours, oracle, tmp_path):
    (tmp_path / "app.py").write_text(HEAD + f"def handler(event, context):{TELL}")
    given = tmp_path, "app.handler", [1, 2], {"_X_AMZN_TRACE_ID": "from the start"}, CALLS[name]
    got, expected = run(ours, *given), run(oracle, *given)
    if "list" in name:
        # AWS's own frames, one of which we show.
        assert [m[2] for m in got[0][1:]] == [m[2] for m in expected[0][1:]] == ["AttributeError"] * 2
    else:
        assert got == expected
