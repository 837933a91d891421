"""What an operator, or AWS, settled about the life of workers."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Times in seconds; 0 stands for no limit where a limit is a count or a size."""

    init_timeout_s: float = 10.0
    """AWS's rule: ten seconds; then init runs once more, within the function's timeout."""
    idle_ttl_s: float = 600.0
    """How long an idle worker is kept ..."""
    learn: bool = False
    """... and a function's last one, instead, for as long as ``keepalive.Learned`` says."""
    scale_out: int = 0
    """Workers that calls of one function may start within ten seconds."""
    isolation: str = "worker"
    """"invocation": each call gets a worker of its own, unless the function's tag says otherwise."""
    max_invocations: int = 0
    """Calls a worker serves before it is replaced."""
    max_memory_mb: int = 0
    """A worker that used so much is replaced when its call ends."""
    max_age_s: float = math.inf
    """A worker so old is replaced when its call ends: what it was given at its start is not good for ever."""
