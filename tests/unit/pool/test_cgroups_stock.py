"""The stock of groups, which is filled in a thread while the event loop takes from it."""

import errno

import pytest

from runtime.pool import cgroups
from runtime.pool.cgroups import stock


def limits(megabytes):
    return cgroups.Limits(memory_bytes=megabytes << 20, pids=1024, cpu_share=0.25, cpu_mode=cgroups.CpuMode.WEIGHT)


class Group:
    """Knows its limits, and tells when they are set."""

    def __init__(self, name, on_limit, directory=None):
        self.name = name
        self.directory = directory
        self.limits = []
        self.on_limit = on_limit
        self.removed = False
        self.broken = set()
        """What of it the kernel refuses."""

    def refuse(self, what):
        if what in self.broken:
            raise OSError(errno.EIO, "refused")

    def limit(self, wanted):
        self.refuse("limit")
        self.on_limit(self)
        self.limits.append(wanted)

    def empty(self):
        self.refuse("empty")
        return True

    def clean(self):
        self.refuse("clean")
        return True

    def held_bytes(self):
        return 0

    def remove(self):
        self.refuse("remove")
        self.removed = True
        if self.directory is not None:
            self.directory.rmdir()


def a_stock(tmp_path, on_limit):
    return stock.Stock("fake", {}, {"": tmp_path}, lambda name, places: Group(name, on_limit, places[""]))


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


@pytest.mark.parametrize("refused", ["empty", "clean", "remove"])
def test_a_group_that_the_kernel_will_not_clean_is_given_up_and_the_others_go_on(tmp_path, caplog, refused):
    groups = a_stock(tmp_path, lambda _group: None)
    broken, whole = [groups.acquire(limits(128)) for _ in range(2)]
    broken.broken.add(refused)
    groups.release(broken)
    groups.release(whole)
    assert groups.recycle(0, 0 if refused == "remove" else 2) == 0
    assert f"the cgroup {broken.name} is given up: [Errno 5] refused" in caplog.messages
    assert broken not in [groups.acquire(limits(128)) for _ in range(3)]
    assert groups.recycle(0, 2) == 0
    assert len(caplog.messages) == 1, "it is not tried again"
    broken.broken.clear()
    groups.close()
    assert broken.removed, "until the end"


def test_a_copys_group_that_cannot_be_removed_is_its_templates_fault(tmp_path):
    groups = a_stock(tmp_path, lambda _group: None)
    one = groups.acquire(limits(128))
    one.broken.add("remove")
    told = []
    groups.release(one, spent=told.append)
    assert groups.recycle(0) == 0
    assert told == ["the cgroup of a copy that is gone cannot be removed"]
    assert groups.recycle(0) == 0
    assert len(told) == 1


def test_where_no_groups_can_be_made_ahead_it_is_said_once_and_tried_again(tmp_path, caplog):
    parent = tmp_path / "parent"
    groups = stock.Stock("fake", {}, {"": parent}, lambda name, _: Group(name, lambda _group: None))
    assert groups.recycle(2) == 0
    assert groups.recycle(2) == 0
    assert len([text for text in caplog.messages if "no cgroups can be made ahead" in text]) == 1
    parent.mkdir()
    assert groups.recycle(2) == 0
    assert len(list(parent.iterdir())) == 2


def test_a_group_that_is_half_made_is_removed(tmp_path):
    for name in ("first", "third"):
        (tmp_path / name).mkdir()
    parents = {name: tmp_path / name for name in ("first", "second", "third")}
    groups = stock.Stock("fake", {}, parents, lambda name, _: Group(name, lambda _group: None))
    with pytest.raises(FileNotFoundError):
        groups.acquire(limits(128))
    assert not list((tmp_path / "first").iterdir())
    (tmp_path / "second").mkdir()
    assert groups.acquire(limits(128)).name == "000002"


def test_a_group_whose_limits_are_refused_is_not_handed_out_unlimited(tmp_path):
    made = []

    def make(name, _):
        made.append(Group(name, lambda _group: None))
        if len(made) == 2:
            made[-1].broken.add("limit")
        return made[-1]

    groups = stock.Stock("fake", {}, {"": tmp_path}, make)
    groups.acquire(limits(128))
    assert groups.recycle(2) == 0
    made[1].broken.clear()
    assert groups.recycle(2) == 0
    taken = [groups.acquire(limits(128)) for _ in range(2)]
    assert all(one.limits for one in taken)
