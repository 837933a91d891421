"""A queue's surroundings that do nothing by themselves: the test plays the disk, the clock and what rows run on."""

import collections
import itertools

from runtime.invoke.queue import dispatcher, lanes, rows


class Loop:
    """Holds what is to be called later."""

    def __init__(self, clock):
        self.clock = clock
        self.soon = collections.deque()
        self.timers = []

    def call_soon(self, callback):
        self.soon.append(callback)

    def call_later(self, delay, callback):
        timer = Timer(self.clock() + delay, callback)
        self.timers.append(timer)
        return timer

    def run(self):
        """Call what is due."""
        while self.soon:
            self.soon.popleft()()
        for timer in sorted(self.timers, key=lambda each: each.at):
            if not timer.cancelled and timer.at <= self.clock():
                self.timers.remove(timer)
                timer.callback()
        self.timers = [timer for timer in self.timers if not timer.cancelled]


class Timer:
    def __init__(self, at, callback):
        self.at = at
        self.callback = callback
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


class Disk:
    """The store: works only when it is told to, one piece after the other."""

    def __init__(self):
        self.rows = {}
        self.letters = {}
        self.work = collections.deque()

    def apply(self, change):
        self.work.append(change)

    def load(self, lane, now, known, *, limit, size, then):
        self.work.append((lane, now, known, limit, size, then))

    def step(self, error=None):
        """Do one piece of work."""
        work = self.work.popleft()
        if isinstance(work, rows.Change):
            if error is not None and not work.keep:
                work.then(error)
                return
            for row in work.put:
                assert row.id not in self.rows
                self.rows[row.id] = row
            for number in work.drop:
                del self.rows[number]
            for due, tries, about, number in work.move:
                self.rows[number] = self.rows[number]._replace(due=due, tries=tries, about=about)
            for letter in work.bury:
                self.letters[letter.id] = letter
            work.then(None)
            return
        lane, now, known, limit, size, then = work
        if error is not None:
            then(None)
            return
        mine = sorted((row for row in self.rows.values() if row.lane == lane), key=lambda row: (row.due, row.id))
        due = [row for row in mine if row.due <= now and row.id not in known]
        chosen, taken = [], 0
        for row in due[:limit]:
            if chosen and taken + row.size > size:
                break
            chosen.append(row)
            taken += row.size
        later = [row.due for row in mine if row.due > now]
        then(rows.Loaded(lane=lane, rows=chosen, more=len(chosen) < len(due), next_due=min(later) if later else None))


class World:
    """A dispatcher among all this; implements ``dispatcher.Runner``."""

    def __init__(self, *, window=64, window_size=6400, width=4, disk=None):
        self.now = 1000.0
        self.ids = itertools.count(1)
        self.loop = Loop(lambda: self.now)
        self.disk = disk or Disk()
        self.lanes = lanes.Lanes(window=window, window_size=window_size)
        self.dispatcher = dispatcher.Dispatcher(self.lanes, self.disk, self, lambda: self.now, self.loop)
        self.limits = {}
        self.most = width
        self.turns = float("inf")
        self.was_starved = False
        self.running = {}
        self.started = []
        self.done = []
        self.uncounted = []

    # dispatcher.Runner

    def start(self, lane, row):
        assert row.id not in self.running
        assert row.id not in self.done
        assert row.due <= self.now
        assert lane.paused_until <= self.now
        self.turns -= 1
        self.running[row.id] = (lane, row)
        self.started.append(row.id)

    def limit(self, lane):
        return self.limits.get(lane.name, 10**6)

    def width(self):
        return self.most

    def may_begin(self):
        return self.turns > 0

    def starved(self):
        self.was_starved = True
        assert (
            self.turns <= 0
            or self.lanes.running >= self.most
            or self.dispatcher._unwritten >= dispatcher.UNWRITTEN
            or self.loop.soon
        )

    # what the test does

    def accept(self, name, size=10):
        """Begin to write a row; return it."""
        row = rows.Row(next(self.ids), name, self.now, size, self.now, 0, b"", b"x" * size)
        self.lanes.announce(row)

        def then(error):
            if error is None:
                self.lanes.add(row)
            else:
                self.lanes.withdraw(row)
            self.dispatcher.pump()

        self.disk.apply(rows.Change(then, put=(row,)))
        return row

    def finish(self, number):
        """Let a row be done."""
        lane, row = self.running.pop(number)
        self.done.append(number)
        self.dispatcher.finished(
            lane, rows.Change(self.pumping(lambda: self.lanes.forget(row)), drop=(row.id,), keep=True)
        )
        self.dispatcher.pump()

    def retry(self, number, delay):
        """Let a row fail that is to be tried again."""
        lane, row = self.running.pop(number)
        due = self.now + delay
        change = rows.Change(
            self.pumping(lambda: self.lanes.defer(row, due)), move=((due, row.tries + 1, b"", row.id),), keep=True
        )
        self.dispatcher.finished(lane, change)
        self.dispatcher.pump()

    def refuse(self, number, delay):
        """Let a row find no room."""
        lane, row = self.running.pop(number)
        self.lanes.refused(lane, row, self.now + delay)
        self.dispatcher.pump()

    def pumping(self, then):
        def called(_error):
            then()
            self.dispatcher.pump()

        return called

    def count(self):
        """Learn how much there was at the last start."""
        for backlog in self.uncounted:
            self.lanes.counted(backlog)
        self.uncounted = []

    def settle(self):
        """Let the disk do all its work."""
        while self.disk.work or self.loop.soon:
            if self.disk.work:
                self.disk.step()
            self.loop.run()

    def restart(self):
        """Come back after a crash: only the disk is left."""
        world = World(window=self.lanes._window, window_size=self.lanes._window_size, width=self.most, disk=Disk())
        world.now, world.ids, world.disk.rows, world.done = self.now, self.ids, self.disk.rows, []
        names = {row.lane for row in self.disk.rows.values()}
        for name in names:
            mine = [row for row in self.disk.rows.values() if row.lane == name]
            world.lanes.restore(name, min(row.due for row in mine))
            world.uncounted.append(rows.Backlog(name, len(mine), sum(row.size for row in mine)))
        world.dispatcher.pump()
        return world
