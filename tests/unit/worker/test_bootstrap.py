"""bootstrap.serve in forked children, over real pipes: the protocol, whatever a function does."""

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

import pytest
import served

from runtime import wire


@pytest.fixture(scope="module")
def nursery():
    with served.Nursery() as nursery:
        yield nursery


@pytest.fixture
def task(tmp_path):
    return tmp_path


def function(task: Path, body: str, head: str = "") -> Path:
    """Write a function whose handler has this body."""
    lines = "\n".join("    " + line for line in body.strip("\n").split("\n"))
    (task / "app.py").write_text(f"import os, signal, sys, time\n{head}\ndef handler(event, context):\n{lines}\n")
    return task


@contextlib.contextmanager
def ready(nursery, task, **options):
    with nursery.fork() as worker:
        message = worker.assign(task, **options)
        assert message == wire.Ready(), (message, worker.log())
        yield worker


def result(message):
    assert isinstance(message, wire.Response), message
    return json.loads(bytes(message.payload))


@pytest.mark.parametrize("python", served.INTERPRETERS, ids=served.name_of)
def test_serves_in_every_interpreter(python, task):
    function(task, "print('seen')\nif event is None: raise ValueError('none')\nreturn [event, sys.version_info[1]]")
    with served.Nursery(python) as nursery, ready(nursery, task) as worker:
        event, minor = result(worker.invoke({"k": "ä"}))
        assert event == {"k": "ä"}
        assert f"python3.{minor}" in python or f"3.{minor}." in python or python == sys.executable
        failed = worker.invoke(None)
        assert failed.error_type == "ValueError"
        assert json.loads(failed.payload)["stackTrace"] == [
            f"  File \"{task}/app.py\", line 5, in handler\n    if event is None: raise ValueError('none')\n"
        ]
        assert worker.log().startswith("seen\nseen\n[ERROR] ValueError: none\r")


def test_state_lasts_from_one_invocation_to_the_next(nursery, task):
    function(task, "seen.append(event)\nreturn seen", head="seen = []")
    with ready(nursery, task) as worker:
        assert [result(worker.invoke(n)) for n in range(3)] == [[0], [0, 1], [0, 1, 2]]
    assert worker.exit_status() == 0


def test_invocations_that_were_sent_at_once_are_served_in_order(nursery, task):
    function(task, "return event")
    with ready(nursery, task) as worker:
        for number in range(100):
            worker.send(served.invocation(str(number).encode(), request_id=f"r{number}"))
        answers = [worker.receive() for _ in range(100)]
        assert [(a.request_id, a.payload) for a in answers] == [(f"r{n}", b"%d" % n) for n in range(100)]


def test_six_megabytes_each_way(nursery, task):
    function(task, "return event")
    text = "ä" * (wire.PAYLOAD_LIMIT // 2 - 1)
    with ready(nursery, task) as worker:
        assert len(f'"{text}"'.encode()) == wire.PAYLOAD_LIMIT
        assert result(worker.invoke(raw=f'"{text}"'.encode())) == text
        assert result(worker.invoke(1)) == 1


def too_large(message):
    assert message.error_type == "Function.ResponseSizeTooLarge"
    assert json.loads(message.payload) == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    return True


def test_a_response_over_the_limit_is_an_error_and_the_worker_lives(nursery, task):
    function(task, "return b'x' * event")
    with ready(nursery, task) as worker:
        assert len(worker.invoke(wire.PAYLOAD_LIMIT).payload) == wire.PAYLOAD_LIMIT
        assert too_large(worker.invoke(wire.PAYLOAD_LIMIT + 1))
        assert too_large(worker.invoke(100_000_000))
        assert worker.invoke(1).payload == b"x"


def test_an_error_document_over_the_limit_is_an_error_and_the_worker_lives(nursery, task):
    function(task, "raise ValueError('x' * event)")
    with ready(nursery, task) as worker:
        assert too_large(worker.invoke(10_000_000))
        assert worker.invoke(1).error_type == "ValueError"


def test_an_error_type_of_megabytes(nursery, task):
    function(task, "raise type('E' * event, (Exception,), {})")
    with ready(nursery, task) as worker:
        message = worker.invoke(3_000_000)
        assert message.error_type == "E" * 1024
        assert json.loads(message.payload)["errorType"] == "E" * 3_000_000
        assert too_large(worker.invoke(7_000_000))
        assert worker.invoke(1).error_type == "E"


def test_what_the_import_printed_is_in_the_log_when_the_worker_is_ready(nursery, task):
    function(task, "return 1", head="print('imported', end='')")
    with nursery.fork(drain=False) as worker:
        assert worker.assign(task) == wire.Ready()
        assert select.select([worker.log_fd], [], [], 0)[0]
        assert os.read(worker.log_fd, 100) == b"imported"


STREAMS = {
    "bytes": ("yield b'a'; yield b''; yield b'b'", [b"a", b"b"], ""),
    "text": ("yield 'ä'; yield 'b'", ["ä".encode(), b"b"], ""),
    "other values": ("yield {'a': 1}; yield memoryview(b'x')", [b'{"a": 1}', b"x"], ""),
    "iterator": ("return iter([b'a', b'b'])", [b"a", b"b"], ""),
    "list": ("return ['a', 'b']", [b'["a", "b"]'], ""),
    "text at once": ("return 'a'", [b'"a"'], ""),
    "bytes at once": ("return b'a'", [b"a"], ""),
    "nothing": ("return iter(())", [], ""),
    "error at once": ("raise ValueError('v')", [], "ValueError"),
    "error midway": ("yield 'a'; raise ValueError('v')", [b"a"], "ValueError"),
    "not serialisable": ("yield 'a'; yield {1}", [b"a"], "Runtime.MarshalError"),
    "large": ("yield b'x' * 15_000_000", [b"x" * 6291556, b"x" * 6291556, b"x" * 2416888], ""),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streaming(name, nursery, task):
    body, chunks, error_type = STREAMS[name]
    function(task, body)
    with ready(nursery, task) as worker:
        for _ in range(2):
            got = [worker.invoke(None, streaming=True)]
            while isinstance(got[-1], wire.Chunk):
                got.append(worker.receive())
            assert [chunk.payload for chunk in got[:-1]] == chunks
            end = got[-1]
            assert (type(end), end.error_type) == (wire.End, error_type)
            if error_type:
                assert json.loads(end.payload)["requestId"] == end.request_id
                assert "/bootstrap.py" not in end.payload.decode()


def test_each_chunk_is_sent_when_it_is_made(nursery, task):
    function(task, "yield 'first'\nopen('go').read()\nyield 'second'")
    os.mkfifo(task / "go")
    with ready(nursery, task) as worker:
        assert worker.invoke(None, streaming=True).payload == b"first"
        (task / "go").write_text("on")
        assert worker.receive().payload == b"second"


def test_what_a_handler_printed_is_in_the_log_before_its_answer(nursery, task):
    function(task, "print('no end of line', end='')\nsys.stderr.write('nor here')\nreturn 1")
    with nursery.fork(drain=False) as worker:
        assert worker.assign(task) == wire.Ready()
        for _ in range(2):
            assert result(worker.invoke(1)) == 1
            assert select.select([worker.log_fd], [], [], 0)[0]
            assert os.read(worker.log_fd, 100) == b"no end of linenor here"


def test_a_killed_process_loses_no_complete_line(nursery, task):
    function(task, "print('one'); print('two'); print('thr', end='')\nos.kill(os.getpid(), 9)")
    with ready(nursery, task) as worker:
        assert worker.invoke(1) is None
        assert worker.log().startswith("one\ntwo\n")
        assert worker.exit_status() == -9


def test_output_that_the_function_broke_breaks_no_answer(nursery, task):
    function(task, "sys.stdout.close(); sys.stderr = None\nreturn 1")
    with ready(nursery, task) as worker:
        assert result(worker.invoke(1)) == 1
        assert result(worker.invoke(1)) == 1


def test_a_forked_child_that_returns_does_not_answer(nursery, task):
    function(task, "pid = os.fork()\nreturn 'child' if not pid else os.waitpid(pid, 0)[1]")
    with ready(nursery, task) as worker:
        for _ in range(3):
            assert result(worker.invoke(1)) == 0


def test_a_child_forked_during_import_does_not_serve(nursery, task):
    function(task, "return [pid != 0, os.waitpid(pid, 0)[1] if event else 0]", head="pid = os.fork()")
    with ready(nursery, task) as worker:
        assert result(worker.invoke(1)) == [True, 0]
        assert result(worker.invoke(0)) == [True, 0]


def test_started_programs_do_not_inherit_the_pipes(nursery, task):
    body = "import subprocess\nreturn subprocess.run(['ls', '/proc/self/fd'], capture_output=True, close_fds=False).stdout.decode()"
    function(task, body)
    with ready(nursery, task) as worker:
        assert result(worker.invoke(1)).split() == ["0", "1", "2", "3"]


def test_end_of_requests_ends_a_worker_with_threads_at_once(nursery, task):
    head = "import atexit, threading\natexit.register(print, 'at exit')\nthreading.Thread(target=time.sleep, args=(600,)).start()"
    function(task, "return 1", head=head)
    with ready(nursery, task) as worker:
        assert result(worker.invoke(1)) == 1
        worker.close_requests()
        assert worker.exit_status() == 0
        assert worker.log() == ""


def test_end_of_requests_before_the_first(nursery):
    with nursery.fork() as worker:
        worker.close_requests()
        assert worker.exit_status() == 0


def test_nobody_reads_the_answer(nursery, task):
    function(task, "return 'x' * 1_000_000")
    with nursery.fork() as worker:
        worker.assign(task)
        os.close(worker.response_fd)
        worker.response_fd = os.open("/dev/null", os.O_RDONLY)
        worker.send(served.invocation(b"1"))
        assert worker.exit_status() == 0


def test_exit_runs_exit_handlers_and_waits_for_threads(nursery, task):
    head = "import atexit, threading\natexit.register(print, 'at exit')"
    body = "threading.Thread(target=lambda: print(threading.main_thread().join(), 'thread')).start()\nsys.exit(event)"
    function(task, body, head=head)
    with ready(nursery, task) as worker:
        assert worker.invoke(3) is None
        assert worker.exit_status() == 3
        assert worker.log() == "None thread\nat exit\n"


@pytest.mark.parametrize("raised", ["1/0", "sys.exit(5)", "os._exit(7)"])
def test_an_exit_handler_that_fails_changes_nothing(raised, nursery, task):
    function(task, "sys.exit(3)", head=f"import atexit\natexit.register(lambda: {raised})")
    with ready(nursery, task) as worker:
        assert worker.invoke(1) is None
        assert worker.exit_status() == (7 if "_exit" in raised and "os" in raised else 3)


def test_uncaught_exceptions_go_through_the_hook_and_show_no_frame_of_ours(nursery, task):
    function(task, "raise KeyboardInterrupt('stop')")
    with ready(nursery, task) as worker:
        assert worker.invoke(1) is None
        assert worker.exit_status() == 130
        log = worker.log()
        assert "in handler" in log
        assert log.count("File ") == 1
    function(task, "raise BaseException('base')", head="sys.excepthook = lambda *a: print('hook', a[0].__name__)")
    with ready(nursery, task) as worker:
        assert worker.invoke(1) is None
        assert (worker.exit_status(), worker.log()) == (1, "hook BaseException\n")


@pytest.mark.parametrize("name", ["TERM", "HUP", "ABRT", "QUIT", "USR1", "USR2"])
def test_signals_end_the_process(name, nursery, task):
    function(task, "print('ran')\nos.kill(os.getpid(), event)\ntime.sleep(60)")
    number = signal.Signals[f"SIG{name}"]
    with ready(nursery, task) as worker:
        assert worker.invoke(int(number)) is None
        assert worker.exit_status() == -number
        assert worker.log() == "ran\n"


def test_a_function_may_handle_signals_itself(nursery, task):
    head = "got = []\nsignal.signal(signal.SIGTERM, lambda n, f: got.append(n))"
    function(task, "os.kill(os.getpid(), signal.SIGTERM)\nreturn got", head=head)
    with ready(nursery, task) as worker:
        assert result(worker.invoke(1)) == [15]


def test_a_signal_between_invocations_ends_the_process(nursery, task):
    function(task, "return 1")
    with ready(nursery, task) as worker:
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.exit_status() == -signal.SIGTERM


PROGRAMS = {
    "asyncio": "import asyncio\nasync def main():\n  await asyncio.sleep(0)\n  return event\nreturn asyncio.run(main())",
    "threads": "from concurrent import futures\nwith futures.ThreadPoolExecutor(4) as pool:\n  return list(pool.map(abs, [-1, event]))[1]",
    "subprocess": "import subprocess\nreturn int(subprocess.check_output(['echo', str(event)]))",
    "shell": "return os.system(f'exit {event}') >> 8",
    "exec": "import subprocess\nreturn int(subprocess.check_output([sys.executable, '-c', f'print({event})']))",
    "fork": "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(1) as pool:\n  return pool.map(abs, [-event])[0]",
    "spawn": "import multiprocessing\nwith multiprocessing.get_context('spawn').Pool(1) as pool:\n  return pool.map(work, [event])[0]",
    "forkserver": "import multiprocessing\nwith multiprocessing.get_context('forkserver').Pool(1) as pool:\n  return pool.map(work, [event])[0]",
    "process pool": "from concurrent import futures\nwith futures.ProcessPoolExecutor(1) as pool:\n  return pool.submit(work, event).result()",
    "process": "import multiprocessing\nr, w = multiprocessing.Pipe(False)\np = multiprocessing.Process(target=w.send, args=(event,)); p.start()\nv = r.recv(); p.join(); assert p.exitcode == 0\nreturn v",
    "terminate": "import multiprocessing\np = multiprocessing.Process(target=time.sleep, args=(60,)); p.start(); p.terminate(); p.join()\nassert p.exitcode == -15, p.exitcode\nreturn event",
    "interrupted child": "import subprocess\np = subprocess.Popen(['sleep', '60']); p.terminate()\nassert p.wait() == -15\nreturn event",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_that_start_others(name, nursery, task):
    function(task, PROGRAMS[name], head="def work(x): return x")
    with ready(nursery, task) as worker:
        for number in 7, 8:
            message = worker.invoke(number)
            assert isinstance(message, wire.Response), (message, worker.log())
            assert result(message) == number


def test_siblings_share_no_entropy(task):
    values = "random.random(), uuid.uuid4().hex, uuid.uuid1().hex[:8], secrets.token_hex(), tempfile.mktemp()"
    function(task, f"return [{values}]", head="import random, secrets, tempfile, uuid")
    used_before = "import random, tempfile, uuid; random.random(); uuid.uuid1(); tempfile.mktemp()"
    seen = []
    with served.Nursery(preload=used_before) as used:
        for _ in range(5):
            with ready(used, task) as worker:
                seen.append(result(worker.invoke(1)))
    for column in zip(*seen, strict=True):
        assert len(set(column)) == 5


def test_remaining_time(nursery, task):
    function(
        task,
        "left = context.get_remaining_time_in_millis()\ntime.sleep(event)\nreturn [left, context.get_remaining_time_in_millis()]",
    )
    with ready(nursery, task) as worker:
        deadline_ms = int(time.time() * 1000) + 60_000
        first, second = result(worker.invoke(0.01, deadline_ms=deadline_ms))
        assert 0 < second <= first - 10 <= 60_000
        assert result(worker.invoke(0, deadline_ms=1)) == [0, 0]


_IN_NAMESPACE = """
import ctypes
_fork = os.fork
def fork():
    assert ctypes.CDLL(None).unshare(0x20000000) == 0
    return _fork()
os.fork = fork
import atexit
os.register_at_fork(after_in_child=lambda: setattr(os, "fork", _fork))
"""


@pytest.fixture
def pid_1(task):
    """A nursery whose first worker is pid 1 of a pid namespace."""
    if os.getuid():
        pytest.skip("needs uid 0")
    with served.Nursery(preload=_IN_NAMESPACE) as nursery:
        yield nursery


@pytest.mark.root
def test_orphans_are_collected_between_invocations_only(pid_1, task):
    body = """
import subprocess
if event == 'make':
    # The grandchildren end when the pipe closes, and fall to pid 1.
    r, w = os.pipe()
    subprocess.run(['sh', '-c', 'for i in 1 2 3; do (read x <&%d; exit 0) & done; exit 0' % r], pass_fds=[r], check=True)
    os.close(w); os.close(r)
    seen = []
    while len(seen) < 3:
        seen.append(os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT) and 1)
    mine = subprocess.run(['sh', '-c', 'exit 7']).returncode
    return [os.getpid(), mine]
try:
    os.waitpid(-1, os.WNOHANG)
    return 'children'
except ChildProcessError:
    return 'none'
"""
    function(task, body)
    with ready(pid_1, task) as worker:
        for _ in range(3):
            assert result(worker.invoke("make")) == [1, 7]
        # An orphan may have needed a moment longer than its siblings.
        deadline = time.monotonic() + 30
        while result(worker.invoke("look")) != "none":
            assert time.monotonic() < deadline


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_end_pid_1(number, pid_1, task):
    function(task, "assert os.getpid() == 1\nos.kill(1, event)\ntime.sleep(60)")
    with ready(pid_1, task) as worker:
        assert worker.invoke(int(number)) is None
        assert worker.exit_status() == 128 + number
