"""All that listens, as the one Observer that the composition root hands to the core."""

import asyncio
import time
from collections.abc import Callable

from runtime import __version__ as version_number
from runtime import config
from runtime.telemetry import exposition, families, files, lag, logs, metrics


class Telemetry:
    """Metrics and logs as one Observer."""

    def __init__(self, settings: config.Settings, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives Unix time in seconds."""
        disk = files.Limits(file_bytes=settings.logs.file_mb * 1024 * 1024, files=settings.logs.files)
        self.metrics = metrics.Metrics()
        self.logs = logs.LogStore(settings.log_dir, logs.Limits(disk=disk), clock)
        self._exposition = exposition.Exposition(self.metrics)
        # The listeners' own methods are the Observer's: on the warm path each call less counts.
        self.invocation_started = self.metrics.invocation_started
        self.invocation_finished = self.metrics.invocation_finished
        self.invocation_throttled = self.metrics.invocation_throttled
        self.worker_moved = self.metrics.worker_moved
        self.worker_started = self.metrics.worker_started
        self.worker_failed = self.metrics.worker_failed
        self.event_received = self.metrics.event_received
        self.event_tried = self.metrics.event_tried
        self.event_retried = self.metrics.event_retried
        self.event_ended = self.metrics.event_ended
        self.event_undelivered = self.metrics.event_undelivered
        self.event_buried = self.metrics.event_buried
        self.log_written = self.logs.log_written
        self.log_closed = self.logs.log_closed
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
