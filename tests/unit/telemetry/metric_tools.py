"""Invocations to count, and what a scrape says of them."""

import log_tools
from prometheus_client import parser

from runtime import model
from runtime.telemetry import exposition

WARM = model.Outcome(status=model.Status.SUCCESS, payload=b"1", duration_s=0.0012, billed_ms=2, max_memory_mb=38)
COLD = model.Outcome(
    status=model.Status.SUCCESS,
    payload=b"1",
    duration_s=0.02,
    billed_ms=121,
    init_s=0.1,
    max_memory_mb=38,
    start=model.StartKind.PLAIN,
    phases=model.Phases(queue=0.0004, fork=0.001, sandbox=0.0007, assign=0.0003, init=0.1),
)
RAISED = model.Outcome(status=model.Status.ERROR, payload=b"", error_type="KeyError", duration_s=0.5, billed_ms=500)
TIMEOUT = model.Outcome(
    status=model.Status.TIMEOUT, payload=b"", error_type="Sandbox.Timedout", duration_s=3, billed_ms=3000
)


def invocation(name="hello"):
    return model.Invocation(request_id="1", version=log_tools.version(name), payload=b"{}", invoked_arn="arn")


def run(metrics, name, *outcomes):
    for outcome in outcomes:
        metrics.invocation_started(invocation(name))
        metrics.invocation_finished(invocation(name), outcome)


def plain_text(metrics):
    return "".join(exposition.text(metrics.families(), is_open=False))


class Scrape:
    """Samples of a text, by name and labels."""

    def __init__(self, text, parse=parser.text_string_to_metric_families):
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parse(text)
            for sample in family.samples
        }

    def __call__(self, name, **labels):
        return self.samples.get((f"hotfork_{name}", frozenset(labels.items())))

    def functions(self):
        return {value for _, labels in self.samples for label, value in labels if label == "function"}


def scrape(metrics):
    return Scrape(plain_text(metrics))
