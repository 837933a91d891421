"""Measures hotfork, and any server that answers the Invoke path: ``python -m bench``. Method: docs/performance.md."""
