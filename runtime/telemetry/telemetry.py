"""All that listens, as the one Observer that the composition root hands to the core."""

import asyncio
import time
from collections.abc import Callable

from runtime import __version__ as version_number
from runtime import config, model
from runtime.telemetry import exposition, families, files, lag, logs, metrics


class Telemetry:
    """Metrics and logs as one Observer."""

    def __init__(self, settings: config.Settings, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives Unix time in seconds."""
        disk = files.Limits(file_bytes=settings.logs.file_mb * 1024 * 1024, files=settings.logs.files)
        self.metrics = metrics.Metrics()
        self.logs = logs.LogStore(settings.log_dir, logs.Limits(disk=disk), clock)
        self._exposition = exposition.Exposition(self.metrics)
        self._lag = lag.LoopLag(self.metrics.loop_lag)
        self.metrics.watch(families.BUILD, lambda: {version_number: 1})
        self.metrics.watch(families.ACCOUNT_LIMIT, lambda: settings.pool.account_concurrency)
        self.metrics.watch(families.LOG_DROPPED, self.logs.dropped_bytes)

    def start(self) -> None:
        """Begin to write logs and to sample the running event loop."""
        self.logs.start()
        self._lag.start(asyncio.get_running_loop())

    def close(self) -> None:
        """Stop; returns once every log line is on disk."""
        self._lag.stop()
        self.logs.close()

    def forget(self, function_name: str, log_group: str) -> None:
        """Let go of a deleted function: its series go, its log files stay, as they do on AWS."""
        self.metrics.forget(function_name)
        self.logs.forget(log_group)

    async def exposition(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body of a scrape with that Accept header."""
        return await self._exposition.scrape(accept)

    def invocation_started(self, invocation: model.Invocation) -> None:
        """See Observer."""
        self.metrics.invocation_started(invocation)

    def invocation_finished(self, invocation: model.Invocation, outcome: model.Outcome) -> None:
        """See Observer."""
        self.metrics.invocation_finished(invocation, outcome)

    def invocation_throttled(self, function_name: str, reason: str) -> None:
        """See Observer."""
        self.metrics.invocation_throttled(function_name, reason)

    def worker_moved(self, version: model.Version | None, old: str, new: str) -> None:
        """See Observer."""
        self.metrics.worker_moved(version, old, new)

    def worker_started(self, version: model.Version, kind: model.StartKind, phases: model.Phases) -> None:
        """See Observer."""
        self.metrics.worker_started(version, kind, phases)

    def worker_failed(self, version: model.Version, cause: str) -> None:
        """See Observer."""
        self.metrics.worker_failed(version, cause)

    def log_written(self, version: model.Version, stream: str, data: bytes, *, platform: bool = False) -> None:
        """See Observer."""
        self.logs.log_written(version, stream, data, platform=platform)

    def log_closed(self, version: model.Version, stream: str) -> None:
        """See Observer."""
        self.logs.log_closed(version, stream)

    def event_received(self, function_name: str) -> None:
        """See Observer."""
        self.metrics.event_received(function_name)

    def event_tried(self, function_name: str, age_s: float) -> None:
        """See Observer."""
        self.metrics.event_tried(function_name, age_s)

    def event_retried(self, function_name: str, cause: str) -> None:
        """See Observer."""
        self.metrics.event_retried(function_name, cause)

    def event_ended(self, function_name: str, condition: str) -> None:
        """See Observer."""
        self.metrics.event_ended(function_name, condition)

    def event_undelivered(self, function_name: str, *, queue: bool) -> None:
        """See Observer."""
        self.metrics.event_undelivered(function_name, queue=queue)

    def event_buried(self, function_name: str) -> None:
        """See Observer."""
        self.metrics.event_buried(function_name)
