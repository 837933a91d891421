"""The queue under any order of events: nothing is lost, nothing runs twice at once, and memory is bounded.

Long runs are needed to bring the disk, the clock and the rows into every order, and many of them: each is a seed.
"""

import random

import pytest
from queue_fakes import World

STEPS = 300
WINDOW = 16
WIDTH = 3
NAMES = "abc"
DELAYS = (0.0, 0.0, 0.5, 60.0)


class Run:
    """A queue to which everything happens that can."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.world = World(window=WINDOW, window_size=300, width=WIDTH)
        self.accepted = set()
        self.finished = set()
        # Some runs are full, some nearly empty.
        self.burst = self.random.choice([1, 3, 30])
        self.patience = self.random.choice([0.3, 0.6])
        kinds = [
            self.accept,
            self.work,
            self.settle,
            self.fail,
            self.end,
            self.wait,
            self.limit,
            self.crash,
            self.count,
        ]
        self.kinds, self.weights = kinds, [10, 30, 5, 1, 40, 8, 1, 0.3, 1]

    def step(self):
        self.random.choices(self.kinds, self.weights)[0]()
        self.check()

    def accept(self):
        for _ in range(self.random.randint(1, self.burst)):
            self.accepted.add(self.world.accept(self.random.choice(NAMES), self.random.randint(1, 60)).id)

    def work(self):
        for _ in range(min(self.random.randint(1, 4), len(self.world.disk.work))):
            self.world.disk.step()
        self.world.loop.run()

    def settle(self):
        self.world.settle()

    def fail(self):
        if self.world.disk.work:
            for row in getattr(self.world.disk.work[0], "put", ()):
                self.accepted.discard(row.id)
            self.world.disk.step(OSError("no space left"))

    def end(self):
        if self.world.running:
            number = self.random.choice(sorted(self.world.running))
            if self.random.random() < self.patience:
                self.finished.add(number)
                self.world.finish(number)
            else:
                kind = self.random.choice([self.world.retry, self.world.refuse])
                kind(number, self.random.choice(DELAYS))

    def wait(self):
        self.world.now += self.random.choice([0.1, 1.0, 100.0])
        self.world.loop.run()

    def limit(self):
        self.world.limits[self.random.choice(NAMES)] = self.random.randint(1, 3)

    def crash(self):
        # Neither what waits to be written nor what is running is known afterwards.
        self.world = self.world.restart()
        self.accepted = set(self.world.disk.rows)
        self.finished = set()

    def count(self):
        self.world.count()

    def check(self):
        lanes = self.world.lanes
        held = sum(len(lane.window) for lane in lanes)
        assert held + sum(lane.loading for lane in lanes) == lanes._held
        # What was refused goes back into its window, and each lane may load one row whatever the others hold.
        assert lanes._held <= WINDOW + WIDTH + len(NAMES)
        for lane in lanes:
            assert {row.id for row in lane.window} <= lane.known
        assert lanes.running == len(self.world.running) == sum(lane.running for lane in lanes)
        assert lanes.depth == sum(lane.depth for lane in lanes)
        if not self.world.uncounted:
            assert lanes.depth >= len(self.world.disk.rows)

    def drain(self):
        world = self.world
        world.count()
        for _ in range(10_000):
            world.settle()
            for number in list(world.running):
                self.finished.add(number)
                world.finish(number)
            if not world.running and not world.disk.work:
                if not world.disk.rows:
                    break
                world.now += 60
                world.loop.run()
        assert not world.disk.rows
        assert self.accepted <= self.finished
        assert len(world.lanes) == 0
        assert world.lanes.depth == world.lanes.size == world.lanes._held == world.lanes._held_size == 0
        assert not world.lanes.waiting


@pytest.mark.parametrize("start", range(0, 300, 20))
def test_nothing_is_lost_whatever_happens(start):
    for seed in range(start, start + 20):
        run = Run(seed)
        try:
            for _ in range(STEPS):
                run.step()
            run.drain()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
