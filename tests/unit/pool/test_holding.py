"""What a worker holds: here its share of the CPU, from a blank that nobody waits for to a worker that serves."""

import dataclasses

import pytest
import scripted

from runtime.pool import cgroups, holding, memory_class


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

    def acquire(self, limits):
        return Group(limits)

    def release(self, group, *, spent):
        """Take it back."""

    def recycle(self, _spare, _keep):
        return 0


class Ids:
    """One id is enough here."""

    def take(self, _name):
        return 1

    def give_back(self, _name):
        """Take it back."""


def holdings():
    sources = holding.Sources(groups=Groups(), cpu_mode=cgroups.CpuMode.QUOTA, ids=Ids(), network=None)
    return holding.Holdings(sources, lambda task: task.close())


def version(memory_mb):
    return dataclasses.replace(scripted.VERSION, memory_mb=memory_mb)


@pytest.mark.asyncio
async def test_neither_a_blank_nor_a_worker_that_starts_is_held_to_a_small_share():
    held = holdings().take_blank(256, 512)
    held.acquire()
    assert held.group.share == holding.STARTING_SHARE
    held.adopt(version(128))
    assert held.group.share == holding.STARTING_SHARE > memory_class.cpu_share(128)
    assert held.group.limits[-1].memory_bytes == 128 << 20
    assert not held.group.throttled


@pytest.mark.asyncio
@pytest.mark.parametrize("memory_mb", [128, 3008])
async def test_who_has_started_has_the_share_that_goes_with_its_memory(memory_mb):
    held = holdings().take(version(memory_mb))
    held.acquire()
    assert held.group.share >= memory_class.cpu_share(memory_mb)
    assert not held.group.throttled
    held.initialised()
    assert held.group.share == memory_class.cpu_share(memory_mb)
    assert held.group.throttled
