"""Which version serves a call: a qualifier's version, or one of an alias's two by weight. Pure."""

from runtime import model
from runtime.registry import registry


def choose(route: registry.Route, sample: float) -> model.Version:
    """Return the version for one call; ``sample`` is uniform in [0, 1)."""
    if route.additional is not None and sample < route.weight:
        return route.additional
    return route.version
