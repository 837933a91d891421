"""The places that are a function's by provisioned concurrency, and the calls in them. Pure."""

from collections.abc import Mapping


class Own:
    """Of one function: places of some of its versions, which no other calls may take."""

    __slots__ = ("_places", "_running", "total", "used")

    def __init__(self) -> None:
        self._places: Mapping[str, int] = {}
        self._running: dict[str, int] = {}
        """Calls by version, since there are places."""
        self.total = 0
        self.used = 0
        """Places that are taken."""

    def change(self, places: Mapping[str, int]) -> None:
        """Have these places by version; calls that run take them or lose them."""
        self._places = places
        self.total = sum(places.values())
        self.used = sum(min(self._running.get(version, 0), count) for version, count in places.items())

    def has_place(self, version: str) -> bool:
        """Return whether one of a version's places is free."""
        return self._running.get(version, 0) < self._places.get(version, 0)

    def enter(self, version: str) -> None:
        """Note a call, in one of these places if one is free."""
        self.used += self.has_place(version)
        self._running[version] = self._running.get(version, 0) + 1

    def leave(self, version: str) -> bool:
        """Note that a call ended; return whether that freed one of these places."""
        running = self._running.get(version, 0)
        if not running:
            return False  # it began before there were any
        if running == 1:
            del self._running[version]
        else:
            self._running[version] = running - 1
        freed = running <= self._places.get(version, 0)
        self.used -= freed
        return freed
