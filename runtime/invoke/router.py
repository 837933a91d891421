"""Which version serves a call: a qualifier's version, or one of an alias's two by weight. Pure."""

import dataclasses

from runtime import model


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where the calls of one qualifier go."""

    primary: model.Version
    additional: model.Version | None = None
    weight: float = 0.0
    """The share of calls, 0.0 to 1.0, that ``additional`` takes."""

    def choose(self, sample: float) -> model.Version:
        """Return the version for one call; ``sample`` is uniform in [0, 1)."""
        if self.additional is not None and sample < self.weight:
            return self.additional
        return self.primary
