"""The stock of groups, which is filled in a thread while the event loop takes from it."""

from runtime.pool import cgroups
from runtime.pool.cgroups import stock


def limits(megabytes):
    return cgroups.Limits(memory_bytes=megabytes << 20, pids=1024, cpu_share=0.25, cpu_mode=cgroups.CpuMode.WEIGHT)


class Group:
    """Knows its limits, and tells when they are set."""

    def __init__(self, name, on_limit):
        self.name = name
        self.limits = []
        self.on_limit = on_limit
        self.removed = False

    def limit(self, wanted):
        self.on_limit(self)
        self.limits.append(wanted)

    def empty(self):
        return True

    def clean(self):
        return True

    def remove(self):
        self.removed = True


def a_stock(tmp_path, on_limit):
    return stock.Stock("fake", {}, {"": tmp_path}, lambda name, _: Group(name, on_limit))


def test_a_spare_is_taken_only_once_its_limits_are_set(tmp_path):
    taken = []

    def take_once(_group):
        if filling and not taken:
            taken.append(None)
            taken[0] = groups.acquire(limits(512))

    filling = False
    groups = a_stock(tmp_path, take_once)
    groups.acquire(limits(128))
    filling = True
    assert groups.recycle(1) == 0
    # Whoever came meanwhile got one that nobody else writes to.
    assert taken[0].limits == [limits(512)]
    spare = groups.acquire(limits(256))
    assert spare is not taken[0]
    assert spare.limits == [limits(128), limits(256)]


def test_of_the_used_more_are_kept_than_are_made_ahead(tmp_path):
    groups = a_stock(tmp_path, lambda _group: None)
    used = [groups.acquire(limits(128)) for _ in range(8)]
    for one in used:
        groups.release(one)
    assert groups.recycle(2, 5) == 0
    assert sum(one.removed for one in used) == 3
    kept = [groups.acquire(limits(128)) for _ in range(5)]
    assert {id(one) for one in kept} == {id(one) for one in used if not one.removed}
    assert groups.recycle(2, 5) == 0
    assert [groups.acquire(limits(128)).name for _ in range(3)] == ["000010", "000009", "000011"]
