"""Versions to log for."""

from runtime import model


def version(name="hello", *, group=None, json_logs=False):
    return model.Version(
        function_name=name,
        version="$LATEST",
        function_arn=f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
        runtime="python3.12",
        handler="app.handler",
        code_sha256="",
        code_path="/x",
        log_group=group or f"/aws/lambda/{name}",
        json_logs=json_logs,
        generation="1",
    )


class Clock:
    """A clock that a test sets."""

    def __init__(self, now=1795374000.123):
        self.now = now

    def __call__(self):
        return self.now
