"""AWS's own runtime client behind our wire, so that one test can drive both.

``serve`` has the contract of runtime.worker.bootstrap.serve, and leaves everything between the pipes to
awslambdaric: its bootstrap.run gets a runtime client that takes invocations from one pipe and writes what would
be posted to the Runtime API into the other.
"""

import importlib
import os
import sys
import time

from runtime import wire


def prepare() -> None:
    pass


def serve(request_fd: int, response_fd: int) -> None:
    pipe = _Pipe(request_fd, response_fd)
    assign = pipe.receive()
    os.environ.clear()
    os.environ.update(assign.environment)
    time.tzset()
    os.chdir(assign.task_root)
    sys.path[:0] = [assign.task_root]
    # Imported now, because these modules read the environment when they are imported.
    bootstrap = importlib.import_module("awslambdaric.bootstrap")
    client = importlib.import_module("awslambdaric.lambda_runtime_client")

    class Client(client.LambdaRuntimeClient):
        ready = False

        def wait_next_invocation(self):
            if not self.ready:
                self.ready = True
                pipe.send(wire.Ready())
            invoke = pipe.receive()
            return client.InvocationRequest(
                invoke_id=invoke.request_id,
                x_amzn_trace_id=invoke.trace_id,
                invoked_function_arn=invoke.invoked_arn,
                deadline_time_in_ms=invoke.deadline_ms,
                client_context=invoke.client_context and invoke.client_context.decode(),
                cognito_identity=invoke.cognito_identity and invoke.cognito_identity.decode(),
                tenant_id=invoke.tenant_id,
                content_type="application/json",
                event_body=invoke.payload,
                invocation_id=None,
            )

        def post_invocation_result(self, invoke_id, result_data, content_type, invocation_id=None):
            data = result_data if isinstance(result_data, bytes) else result_data.encode("utf-8")
            pipe.send(wire.Response(invoke_id, content_type, data))

        def post_invocation_error(self, invoke_id, error_response_data, xray_fault, invocation_id=None):
            xray_fault.encode()
            error_type = bootstrap.json.loads(error_response_data)["errorType"]
            pipe.send(wire.HandlerError(invoke_id, error_type, error_response_data.encode()))

        def post_init_error(self, error_response_data, error_type_override=None):
            data = client.to_json(error_response_data).encode()
            pipe.send(wire.InitError(error_response_data["errorType"], data))

    status = 0
    try:
        bootstrap.run(assign.handler, Client("localhost:1"))
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else bool(leaving.code)
        if isinstance(leaving.code, str):
            sys.stderr.write(leaving.code + "\n")
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        status = 130
    except BaseException:  # noqa: BLE001
        sys.excepthook(*sys.exc_info())
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)


class _Pipe:
    def __init__(self, request_fd: int, response_fd: int) -> None:
        self._fds = request_fd, response_fd
        self._decoder = wire.Decoder(wire.SUPERVISOR_MESSAGES)
        self._messages = []

    def receive(self):
        while not self._messages:
            data = os.read(self._fds[0], 1 << 16)
            if not data:
                sys.stdout.flush()
                os._exit(0)
            self._messages += self._decoder.feed(data)
        return self._messages.pop(0)

    def send(self, message) -> None:
        rest = memoryview(wire.encode(message))
        while rest:
            rest = rest[os.write(self._fds[1], rest) :]
