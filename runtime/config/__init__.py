"""The settings: one frozen value, read once at start."""

from runtime.config.interpreters import find as find_interpreters
from runtime.config.sources import default_state_dir, known_keys, load, resolve
from runtime.config.values import AsyncInvoke, Auth, Aws, Code, Logs, Pool, Sandbox, Settings

__all__ = [
    "AsyncInvoke",
    "Auth",
    "Aws",
    "Code",
    "Logs",
    "Pool",
    "Sandbox",
    "Settings",
    "default_state_dir",
    "find_interpreters",
    "known_keys",
    "load",
    "resolve",
]
