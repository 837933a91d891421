"""Whose turn it is, how much is in memory, and what is begun when."""

import pytest
from queue_fakes import World

from runtime.invoke.queue import dispatcher


@pytest.fixture
def world():
    return World(window=64, window_size=64_000, width=4)


def lanes_of(world, numbers):
    return [world.running[number][0].name for number in numbers]


def test_rows_of_a_lane_run_in_the_order_in_which_they_came(world):
    world.most = 1
    for _ in range(300):
        world.accept("a")
    while world.disk.work or world.running:
        world.settle()
        for number in list(world.running):
            world.finish(number)
    assert world.started == list(range(1, 301))


def test_no_more_run_than_may(world):
    for _ in range(100):
        world.accept("a")
    world.settle()
    assert len(world.running) == 4
    world.finish(1)
    assert len(world.running) == 4


def test_a_single_row_does_not_wait_behind_a_backlog(world):
    for _ in range(100_000):
        world.accept("a")
    world.settle()
    single = world.accept("b")
    world.settle()
    # Although as many as may are running, and none of them has finished.
    assert single.id in world.running
    assert world.started[-1] == single.id


def test_lanes_take_turns(world):
    world.most = 1
    for name in "aaaaabbbbbccccc":
        world.accept(name)
    world.settle()
    order = []
    while world.running:
        number = next(iter(world.running))
        order.append(world.running[number][0].name)
        world.finish(number)
        world.settle()
    # All three run one row; then what finishes makes room for those that wait longest.
    for start in range(0, 15, 3):
        assert sorted(order[start : start + 3]) == ["a", "b", "c"]


def test_a_lane_that_ran_out_of_what_it_runs_goes_before_lanes_that_run_something(world):
    world.most = 2
    for name in "aaaab":
        world.accept(name)
    world.settle()
    assert [lane.name for lane, _ in world.running.values()].count("b") == 1
    world.accept("b")
    world.settle()
    (mine,) = [number for number, (lane, _) in world.running.items() if lane.name == "b"]
    world.most = 1
    world.finish(mine)
    assert "b" in [lane.name for lane, _ in world.running.values()]


def test_rows_that_may_not_begin_wait_and_it_is_told(world):
    world.turns = 2
    for name in "ababab":
        world.accept(name)
    world.settle()
    assert sorted(lanes_of(world, world.running)) == ["a", "b"]
    assert world.was_starved
    for number in list(world.running):
        world.finish(number)
    world.settle()
    assert not world.running
    world.turns = 10
    world.dispatcher.pump()
    assert len(world.running) == 4


def test_nobody_waits_where_nothing_may_begin_and_nothing_is_there_to(world):
    world.turns = 0
    world.dispatcher.pump()
    assert not world.was_starved


def test_where_few_may_begin_a_single_row_has_its_turn_before_a_backlog(world):
    world.most = 1
    world.turns = 0
    for name in "abcd" * 1000:
        world.accept(name)
    world.settle()
    single = world.accept("z")
    world.settle()
    for _ in range(10):
        world.turns = 1
        world.dispatcher.pump()
        for number in list(world.running):
            world.finish(number)
        world.settle()
    assert single.id in world.started


def test_a_lane_keeps_to_its_limit(world):
    world.limits["a"] = 2
    for name in "aaaab":
        world.accept(name)
    world.settle()
    assert sorted(lane.name for lane, _ in world.running.values()) == ["a", "a", "b"]
    world.finish(world.started[0])
    world.settle()
    assert [lane.name for lane, _ in world.running.values()].count("a") == 2


def test_a_lane_that_rests_delays_nobody(world):
    world.most = 1
    first = world.accept("a")
    world.settle()
    world.refuse(first.id, 300)
    other = world.accept("b")
    world.accept("a")
    world.settle()
    assert list(world.running) == [other.id]
    world.finish(other.id)
    world.now += 299
    world.loop.run()
    assert not world.running
    world.now += 2
    world.loop.run()
    # What was refused is the lane's first again.
    assert list(world.running) == [first.id]


def test_a_lane_that_can_run_again_need_not_rest_to_the_end(world):
    rows = [world.accept("a"), world.accept("a")]
    world.settle()
    world.refuse(rows[0].id, 300)
    lane, _ = world.running[rows[1].id]
    world.lanes.resume(lane)
    world.finish(rows[1].id)
    assert list(world.running) == [rows[0].id]


def test_memory_holds_a_window_and_the_file_the_rest(world):
    world.most = 1
    for _ in range(10_000):
        world.accept("a")
    world.settle()
    lane = world.lanes.get("a")
    assert len(lane.window) <= 64
    assert len(lane.known) <= 65
    assert lane.depth == 10_000
    assert lane.size == 100_000


def test_memory_is_shared_by_many_lanes():
    world = World(window=64, window_size=64_000, width=1)
    for number in range(1000):
        for _ in range(10):
            world.accept(f"f{number}")
    world.settle()
    assert sum(len(lane.window) for lane in world.lanes) <= 64 + 1000
    assert len(world.running) == 1000  # one each


def test_large_rows_fill_the_window_sooner():
    world = World(window=64, window_size=1000, width=1)
    for _ in range(100):
        world.accept("a", size=300)
    world.settle()
    assert len(world.lanes.get("a").window) <= 4


def test_nothing_is_begun_while_the_ends_of_many_are_not_on_disk():
    world = World(window=4096, window_size=10**6, width=4)
    for number in range(1000):
        world.accept(f"f{number % 100}")
    world.settle()
    while world.running:
        world.finish(next(iter(world.running)))
    # Those that ran when it was too many could still finish.
    assert dispatcher.UNWRITTEN <= len(world.done) <= dispatcher.UNWRITTEN + 100
    begun = len(world.started)
    assert world.dispatcher.held_up
    world.settle()
    assert len(world.started) > begun


def test_what_is_not_due_wakes_up_by_one_timer(world):
    rows = [world.accept("a"), world.accept("b"), world.accept("c")]
    world.settle()
    for row, delay in zip(rows, (30, 10, 20), strict=True):
        world.retry(row.id, delay)
    world.settle()
    assert [timer.at for timer in world.loop.timers if not timer.cancelled] == [1010]
    for now, expected in ((1010, 1), (1020, 2), (1030, 3)):
        world.now = now
        world.loop.run()
        world.settle()
        assert len(world.running) == expected
    assert not world.loop.timers


def test_nothing_is_begun_after_stop(world):
    row = world.accept("a")
    world.settle()
    world.accept("a")
    world.dispatcher.stop()
    world.settle()
    world.finish(row.id)
    world.settle()
    assert world.started == [row.id]
    assert world.lanes.depth == 1
    assert not [timer for timer in world.loop.timers if not timer.cancelled]


def test_a_row_that_cannot_be_written_never_was(world):
    world.accept("a")
    world.disk.step(OSError())
    assert len(world.lanes) == 0
    assert world.lanes.depth == 0


def test_rows_that_cannot_be_read_are_read_later(world):
    for _ in range(200):
        world.accept("a")
    world.settle()
    while not (world.disk.work and isinstance(world.disk.work[0], tuple)):
        if world.disk.work:
            world.disk.step()
        else:
            world.finish(next(iter(world.running)))
    world.disk.step(OSError("cannot read"))
    for _ in range(500):
        world.settle()
        for number in list(world.running):
            world.finish(number)
        world.now += 0.5
        world.loop.run()
    assert len(world.done) == 200


def test_after_a_crash_everything_is_taken_up_again():
    world = World()
    rows = [world.accept(name) for name in "aabbc"]
    world.settle()
    world.retry(rows[4].id, 500)
    world.settle()
    again = world.restart()
    again.settle()
    assert sorted(again.running) == [row.id for row in rows[:4]]
    again.now += 500
    again.loop.run()
    again.settle()
    assert rows[4].id in again.running
    assert again.running[rows[4].id][1].tries == 1
    # How much there was is known only later.
    for number in list(again.running):
        again.finish(number)
    again.settle()
    assert len(again.lanes) == 3
    again.count()
    assert len(again.lanes) == again.lanes.depth == again.lanes.size == 0


def test_how_far_behind_a_lane_is(world):
    world.most = 1
    world.accept("a")
    world.accept("a")
    world.settle()
    world.now += 10
    assert world.lanes.get("a").lag(world.now) == 10
    world.finish(1)
    world.settle()
    assert world.lanes.get("a").lag(world.now) == 0
