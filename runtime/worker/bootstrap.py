"""A worker's life after the sandbox stands: become a function, import its handler, serve invocations.

Source: awslambdaric, bootstrap.py (run, handle_event_request). What a function raises becomes an error document;
what it raises past Exception (SystemExit, KeyboardInterrupt) ends the process without an answer, and so does an
exception that cannot be told (its __str__ raises, its text has lone surrogates): the supervisor reports that as
Runtime.ExitError, as AWS does. Nothing is imported here after the function's code has run.
"""

import atexit
import collections.abc
import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from runtime import wire
from runtime.worker import (
    channel,
    context,
    faults,
    function_logs,
    handler,
    hotcode,
    interpreter,
    marshal_json,
    preload,
    root,
)

_TOO_LARGE = f"Response payload size exceeded maximum allowed payload size ({wire.PAYLOAD_LIMIT} bytes)."


_TYPE_LIMIT = 1024
"""Characters of an error's type beside its document: a class may have a name of megabytes."""

_REPETITIONS = 20
"""Python 3.11 adapts a function's code from the eighth call on, and each instruction some calls later."""

_clear_caches: Callable[[], None] = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache  # noqa: SLF001
"""Forgets what was looked up at types: to forget it later, for what workers look up, is to write to each name."""

_FOLDER, _FILE = root.REHEARSAL.rpartition("/")[::2]
_REHEARSAL = _FILE.removesuffix(".py")
_ENVIRONMENT = dict.fromkeys(
    """_HANDLER AWS_ACCESS_KEY_ID AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_EXECUTION_ENV AWS_LAMBDA_FUNCTION_MEMORY_SIZE
    AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_VERSION AWS_LAMBDA_INITIALIZATION_TYPE AWS_LAMBDA_LOG_FORMAT
    AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_LEVEL AWS_LAMBDA_LOG_STREAM_NAME AWS_REGION AWS_SECRET_ACCESS_KEY
    AWS_SESSION_TOKEN AWS_XRAY_CONTEXT_MISSING LAMBDA_RUNTIME_DIR LAMBDA_TASK_ROOT LANG LC_CTYPE LD_LIBRARY_PATH PATH
    PWD SHLVL""".split(),  # noqa: SIM905 - readable
    "value",
) | {"PYTHONPATH": "/var/runtime", "TZ": interpreter.TIME_ZONE}
"""The names that a worker is sent (pool.environment): it finds them interned."""
_REHEARSED = wire.encode(
    wire.Assign(f"{_REHEARSAL}.handler", _ENVIRONMENT, _FOLDER, "/opt", "/var/runtime", 0, "", "")
) + wire.encode(wire.Invoke("", 1 << 42, "", "", None, None, None, False, b"{}"))
"""What a worker is sent in a rehearsal."""

_costume: interpreter.Costume | None = None
_rehearsed: "Server | None" = None
"""Of the last rehearsal in the zygote. As long as it lives, the names in its code are known to the interpreter, and no
worker that rehearses has to enter them in its table, on another page each."""
_log = function_logs.FunctionLog()


def prepare(*more: types.ModuleType, preloaded: preload.Preloaded | None = None) -> None:
    """Do what all workers need and none has to do itself: once, in the zygote, after its last import.

    ``more`` are modules of ours whose functions are on the stack while those of a function run; ``preloaded`` are
    packages that functions need not import themselves.
    """
    global _costume
    own = (channel, context, faults, function_logs, handler, interpreter, marshal_json, preload)
    interpreter.disguise((*own, sys.modules[__name__], *more))
    interpreter.set_time_zone()
    _costume = interpreter.Costume(preloaded)


def hide() -> None:
    """Hide what the zygote is, once for all workers: after prepare, when it imports nothing any more."""
    assert _costume is not None
    _costume.hide()


def practise(begin: Callable[[], None], also: Iterable[Any]) -> None:
    """Rehearse often enough that the interpreter has adapted its code to what it sees: in the zygote, after prepare.

    Code is adapted in place, and what was looked up at types is noted: children find that done, and copy no page for
    it. The process is as it was then, but for what every worker does, too. ``begin`` practises what comes before a
    start; ``also`` are functions that workers run, and nobody can practise.
    """
    global _rehearsed
    folder, path, arguments = os.getcwd(), list(sys.path), (sys.argv, sys.orig_argv)  # noqa: PTH109 - no Path in a worker

    def once() -> None:
        begin()
        rehearse()

    functions = (serve, live, _run, start, Server.run, _reap, *also)
    hotcode.move(hotcode.run_by(once) | {id(function.__code__) for function in functions})
    _clear_caches()
    hotcode.look_up(functions)  # first: two may have one place in the table, which is the later one's
    for _ in range(_REPETITIONS):
        begin()
        _rehearsed = _try_out()
    os.chdir(folder)
    sys.path[:] = path
    sys.argv, sys.orig_argv = arguments
    os.environ.clear()
    interpreter.set_time_zone()


def dress() -> None:
    """Do ahead what does not depend on the function; for a process that waits for one."""
    assert _costume is not None
    _costume.put_on()


def rehearse() -> None:
    """Dress, and rehearse a start and a call with a function of ours, which lies in the root (``root.REHEARSAL``).

    The pages that it touches are copied now, and not when there is somebody who waits. Nothing of it stays but that.
    """
    dress()
    _try_out()


def _try_out() -> "Server":
    assert _costume is not None
    requests, writing = os.pipe()
    null = os.open(os.devnull, os.O_WRONLY)
    os.write(writing, _REHEARSED)
    pipe = channel.Channel(requests, null)
    server, import_us = _become(_costume, pipe)
    pipe.send(wire.Ready(import_us))
    server.answer(*pipe.receive())
    for fd in (requests, writing, null):
        os.close(fd)
    del sys.modules[_REHEARSAL]
    _costume.forget()
    return server


def serve(request_fd: int, response_fd: int, await_folders: Callable[[], None] | None = None) -> NoReturn:
    """Serve the function that the first message names until the supervisor closes the pipe; never return.

    ``await_folders`` returns when the function's folders are there, where they may not be yet.
    """
    live(lambda: _run(channel.Channel(request_fd, response_fd), await_folders))


def live(run: Callable[[], NoReturn]) -> NoReturn:
    """Run until the end of this process, and end as the interpreter does."""
    status = 1
    try:
        run()
    except channel.Closed:
        # At once: no thread and no exit handler of the function may keep a worker that is not wanted.
        os._exit(0)
    except SystemExit as leaving:
        status = _exit_status(leaving)
    except KeyboardInterrupt as error:
        status = 130
        _show(error)
    except BaseException as error:
        _show(error)
    _leave(status)


def _run(pipe: channel.Channel, await_folders: Callable[[], None] | None) -> NoReturn:
    server, import_us = start(pipe, await_folders)
    pipe.send(wire.Ready(import_us))
    server.run()


def start(pipe: channel.Channel, await_folders: Callable[[], None] | None = None) -> tuple["Server", int]:
    """Become the function that the first message names; return what serves it, and how long its import took.

    Where the import fails that is told, and the process ends. ``await_folders`` as for ``serve``.
    """
    costume = _costume if _costume is not None and _costume.fits() else interpreter.Costume()
    if not costume.worn:
        costume.put_on()
    # First: the message is there by then. Who waited for that would be woken twice, and the first time on the
    # processor of the supervisor, which does not sleep yet.
    if await_folders is not None:
        await_folders()
    return _become(costume, pipe)


def _become(costume: interpreter.Costume, pipe: channel.Channel) -> tuple["Server", int]:
    assign = wire.Assign(*pipe.receive()[1:])
    costume.become(assign)
    _log.install(os.environ.get("AWS_LAMBDA_LOG_FORMAT"), os.environ.get("AWS_LAMBDA_LOG_LEVEL"))
    began = time.perf_counter()
    server = Server(pipe, _find_handler(pipe, assign.handler))
    import_us = round((time.perf_counter() - began) * 1e6)
    flush()
    return server, import_us


def _find_handler(pipe: channel.Channel, name: str) -> Callable[..., Any]:  # noqa: RET503 - fail never returns
    try:
        return handler.find(name)
    except faults.Fault as fault:
        document = fault.document()
    except Exception as error:
        document = faults.of_exception(error)
    _log.warn_of_init()
    fail(pipe, document)


def fail(pipe: channel.Channel, document: faults.Document, status: int = 1) -> NoReturn:
    """Tell why there is nothing to serve, and end."""
    _log.error(document)
    flush()
    pipe.send(wire.InitError(document["errorType"], marshal_json.to_json(document).encode()))
    os._exit(status)


class Server:
    """Serves invocations, one at a time."""

    __slots__ = ("_handler", "_make_context", "_marshal", "_pipe")

    def __init__(self, pipe: channel.Channel, function: Callable[..., Any]) -> None:
        self._pipe = pipe
        self._handler = function
        self._marshal = marshal_json.Marshaller().marshal
        self._make_context = context.Maker().make

    def warm_up(self, event: bytes) -> None:
        """Call the handler with an event; nobody hears what comes of it."""
        null = os.open(os.devnull, os.O_WRONLY)
        server = self.over(channel.Channel(null, null))
        server.answer(wire.Invoke.TAG, "", 1 << 42, "", "", b"{}", b"{}", None, False, event)
        os.close(null)

    def over(self, pipe: channel.Channel) -> "Server":
        """Return one that serves the same function over another pipe."""
        return Server(pipe, self._handler)

    def run(self) -> NoReturn:
        """Serve until the supervisor closes the pipe."""
        pipe = self._pipe
        while True:
            self.answer(*pipe.receive())
            _reap()

    def answer(  # noqa: PLR0913, PLR0917 - the message's fields, in its order
        self,
        _tag: int,
        request_id: str,
        deadline_ms: int,
        invoked_arn: str,
        trace_id: str | None,
        client_context: bytes | None,
        cognito_identity: bytes | None,
        tenant_id: str | None,
        streaming: bool,
        payload: bytes,
    ) -> None:
        """Run the handler once and send what came of it. The arguments are the fields of wire.Invoke."""
        _log.enter(request_id, tenant_id)
        _set_trace_id(trace_id)
        try:
            lambda_context = self._make_context(
                request_id, deadline_ms, invoked_arn, client_context, cognito_identity, tenant_id
            )
            result = self._handler(marshal_json.unmarshal(payload), lambda_context)
            if streaming:
                self._stream(request_id, result)
            else:
                marshalled, content_type = self._marshal(result)
        except faults.Fault as fault:
            document = fault.document(request_id)
        except Exception as error:
            document = faults.of_exception(error, request_id)
        else:
            if streaming:
                flush()
                self._pipe.send(wire.End(request_id, "", b""))
            else:
                self._respond(request_id, content_type, marshalled)
            return
        _log.error(document)
        flush()
        error_type, error_payload = _fitting(document["errorType"], marshal_json.to_json(document).encode())
        kind = wire.End if streaming else wire.HandlerError
        self._pipe.send(kind(request_id, error_type, error_payload))

    def _respond(self, request_id: str, content_type: str, marshalled: bytes | str) -> None:
        payload = marshalled if isinstance(marshalled, bytes) else marshalled.encode()
        flush()
        error_type, payload = _fitting("", payload)
        if error_type:
            self._pipe.send(wire.HandlerError(request_id, error_type, payload))
        else:
            self._pipe.respond(request_id, content_type, payload)

    def _stream(self, request_id: str, result: Any) -> None:
        parts: Iterator[Any] = result if isinstance(result, collections.abc.Iterator) else iter((result,))
        for part in parts:
            # A part of a stream is text or bytes as they are; a whole result is marshalled as ever.
            if parts is not result or not isinstance(part, str | bytes | bytearray | memoryview):
                part, _ = self._marshal(part)  # noqa: PLW2901
            data = part.encode() if isinstance(part, str) else bytes(part)
            flush()
            for start in range(0, len(data), wire.PAYLOAD_LIMIT):
                self._pipe.send(wire.Chunk(request_id, data[start : start + wire.PAYLOAD_LIMIT]))


def _fitting(error_type: str, payload: bytes) -> tuple[str, bytes]:
    """Return what is to be answered instead where a payload is too large, and the same otherwise."""
    if len(payload) <= wire.PAYLOAD_LIMIT:
        return error_type[:_TYPE_LIMIT], payload
    document = {"errorType": faults.TOO_LARGE, "errorMessage": _TOO_LARGE}
    return faults.TOO_LARGE, marshal_json.to_json(document).encode()


def _set_trace_id(trace_id: str | None) -> None:
    if trace_id is not None:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    elif "_X_AMZN_TRACE_ID" in os.environ:
        del os.environ["_X_AMZN_TRACE_ID"]


def flush() -> None:
    """Bring what the function printed into the log pipe, before the answer that makes the supervisor read it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S112 - closed, replaced or broken by the function: its output, its choice
            continue


def _reap() -> None:
    """Collect the orphans that fell to us; between invocations only, so that no wait of the function's fails."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _exit_status(leaving: SystemExit) -> int:
    """Return what the interpreter makes of sys.exit's argument."""
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    print(leaving.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return 1


def _show(error: BaseException) -> None:
    """Report an exception as the interpreter would, by the hook that the function may have set."""
    try:
        tb = faults.without_own_frames(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(tb), tb)
    except BaseException:  # noqa: S110 - an exception that cannot be shown still ends the process
        pass


def _leave(status: int) -> NoReturn:
    """End the process as the interpreter does: wait for threads, run exit handlers, flush."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - what the interpreter itself calls
        atexit._run_exitfuncs()  # noqa: SLF001
        flush()
    finally:
        os._exit(status)
