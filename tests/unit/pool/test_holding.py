"""What a worker holds: here its share of the CPU, from a blank that nobody waits for to a worker that serves."""

import dataclasses

import pytest
import scripted

from runtime import errors
from runtime.pool import cgroups, holding, holdings, memory_class


class Group:
    """Remembers what it was limited to."""

    name = "group"

    def __init__(self, limits):
        self.limits = [limits]
        self.throttled = False

    def limit(self, limits):
        self.limits.append(limits)

    def throttle(self):
        self.throttled = True

    @property
    def share(self):
        return self.limits[-1].cpu_share


class Groups:
    """Hands them out."""

    kind = "v1"

    def __init__(self):
        self.error = None
        self.acquired = 0

    def acquire(self, limits):
        if self.error is not None:
            raise self.error
        self.acquired += 1
        return Group(limits)

    def release(self, group, *, spent):
        """Take it back."""

    def recycle(self, _spare, _keep):
        return 0


class Ids:
    """An id for each name."""

    def __init__(self):
        self.error = None
        self.taken = []
        self.numbers = {}

    def take(self, name):
        if self.error is not None:
            raise self.error
        self.taken.append(name)
        return self.numbers.setdefault(name, len(self.numbers) + 1)

    take_ahead = take

    def give_back(self, name):
        self.taken.remove(name)


def supplies():
    sources = holding.Sources(groups=Groups(), cpu_mode=cgroups.CpuMode.QUOTA, ids=Ids(), network=None)
    return holdings.Holdings(sources, lambda task: task.close())


def version(memory_mb):
    return dataclasses.replace(scripted.VERSION, memory_mb=memory_mb)


@pytest.mark.asyncio
async def test_neither_a_blank_nor_a_worker_that_starts_is_held_to_a_small_share():
    held = supplies().take_blank(256, 512)
    held.acquire()
    assert held.group.share == holding.STARTING_SHARE
    held.adopt(version(128))
    assert held.group.share == holding.STARTING_SHARE > memory_class.cpu_share(128)
    assert held.group.limits[-1].memory_bytes == 128 << 20
    assert not held.group.throttled


@pytest.mark.asyncio
@pytest.mark.parametrize("memory_mb", [128, 3008])
async def test_who_has_started_has_the_share_that_goes_with_its_memory(memory_mb):
    held = supplies().take(version(memory_mb))
    held.acquire()
    assert held.group.share >= memory_class.cpu_share(memory_mb)
    assert not held.group.throttled
    held.initialised()
    assert held.group.share == memory_class.cpu_share(memory_mb)
    assert held.group.throttled


@pytest.mark.asyncio
async def test_without_a_uid_no_cgroup_is_taken():
    stores = supplies()
    stores.sources.ids.error = errors.WorkerLost("no uid is free")
    held = stores.take(version(128))
    with pytest.raises(errors.WorkerLost):
        held.acquire()
    held.give_back()
    assert stores.sources.groups.acquired == 0
    assert not held.acquired


@pytest.mark.asyncio
async def test_without_a_cgroup_the_uid_is_given_back():
    stores = supplies()
    stores.sources.groups.error = OSError("no cgroup")
    held = stores.take(version(128))
    with pytest.raises(OSError, match="no cgroup"):
        held.acquire()
    assert stores.sources.ids.taken == ["f"]
    held.give_back()
    assert stores.sources.ids.taken == []


@pytest.mark.asyncio
async def test_a_template_has_memory_for_its_copies_beside_its_own():
    held = supplies().take(version(128))
    held.acquire()
    held.make_room(64 << 20, 1 << 30)
    assert held.group.limits[-1].memory_bytes == (128 + 64) << 20


@pytest.mark.asyncio
async def test_a_copy_has_what_it_does_not_share_and_never_too_little():
    shares = [supplies().take(version(512), shared=(size << 20, print)) for size in (100, 500)]
    for held in shares:
        held.acquire()
    assert [held.group.limits[-1].memory_bytes >> 20 for held in shares] == [412, 32]


@pytest.mark.asyncio
async def test_those_that_start_at_the_same_time_share_what_one_has():
    stores = supplies()

    def start():
        held = stores.take(version(128))
        held.acquire()
        return held

    made = [start() for _ in range(8)]
    assert [held.group.share for held in made[:3]] == [holding.STARTING_SHARE / number for number in (1, 2, 3)]
    assert made[-1].group.share == memory_class.cpu_share(128), "but never less than its own"
    for held in made[:3]:
        held.started()
        held.started()
    for held in made[3:7]:
        held.initialised()
    assert start().group.share == holding.STARTING_SHARE / 2
    made[-1].give_back()
    assert start().group.share == holding.STARTING_SHARE / 2
    assert stores.starting == 2


@pytest.mark.asyncio
async def test_blanks_do_not_count_among_those_that_are_made():
    stores = supplies()
    blanks = [stores.take_blank(256, 512) for _ in range(3)]
    for held in blanks:
        held.acquire()
    assert {held.group.share for held in blanks} == {holding.STARTING_SHARE}


@pytest.mark.asyncio
async def test_a_blank_has_a_uid_before_its_function_is_known_and_keeps_it():
    stores = supplies()
    blanks = [stores.take_blank(256, 512) for _ in range(2)]
    for held in blanks:
        held.acquire()
    uids = [held.uid for held in blanks]
    assert len({0, *uids}) == 3
    for held in blanks:
        held.adopt(version(128))
    assert [held.uid for held in blanks] == uids
    worker = stores.take(version(128))
    worker.acquire()
    assert worker.uid not in uids
    for held in (*blanks, worker):
        held.give_back()
    assert stores.sources.ids.taken == []
