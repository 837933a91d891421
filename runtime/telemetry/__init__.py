"""Listens to the core and tells people and machines: log files and metrics. Nothing below imports it."""
