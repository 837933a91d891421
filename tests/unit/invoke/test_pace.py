"""How many events run at once."""

import time

import pytest

from runtime.invoke import pace

USUAL = pace.Seen(starved=True, waiting=True, senders=0.0, running=0, received=0, ended=1, idle=0.5, used=0.0)
"""Events wait for room, few come in, and processors idle."""


def tick(speed, now=0.1, **seen):
    speed.tick(now, USUAL._replace(**seen))
    return speed.width


def test_it_begins_with_the_processors():
    assert pace.Pace(processors=8, limit=1000).width == 8
    assert pace.Pace(processors=1, limit=1000).width == 2
    assert pace.Pace(processors=8, limit=3).width == 3


def test_it_grows_while_processors_idle_and_events_wait_up_to_the_limit():
    speed = pace.Pace(processors=2, limit=100)
    widths = [tick(speed, running=speed.width) for _ in range(8)]
    assert widths == [5, 11, 23, 47, 95, 100, 100, 100]


@pytest.mark.parametrize(("running", "idle"), [(2, 0.05), (1, 0.9)])
def test_it_does_not_grow_where_that_would_not_help(running, idle):
    speed = pace.Pace(processors=2, limit=100)
    for ended in range(100):
        tick(speed, 0.1 * ended, running=running, ended=ended, idle=idle)
    assert speed.width == 2


def test_busy_processors_do_not_hold_up_events_that_only_wait():
    speed = pace.Pace(processors=2, limit=4)
    widths = [tick(speed, number / 10, running=speed.width, ended=0, idle=0.0) for number in range(40)]
    assert (widths[8], widths[9], widths[19], widths[39]) == (2, 3, 4, 4)


def flooded(speed, running, idle=0.0, used=0.9):
    """Tick through a flood of events; return the widths."""
    widths = []
    for number in range(1, 6):
        seen = {"senders": 50.0, "received": 500 * number, "ended": 50 * number, "idle": idle, "used": used}
        widths.append(tick(speed, number / 10, running=running, **seen))
    return widths


@pytest.mark.parametrize(("idle", "used"), [(0.0, 0.3), (0.4, 0.9)])
def test_in_a_flood_what_idles_is_left_to_those_who_send(idle, used):
    speed = pace.Pace(processors=2, limit=100)
    assert flooded(speed, running=2, idle=idle, used=used) == [2] * 5
    widths = [tick(speed, number / 10, running=2, received=2500, idle=0.4, used=used) for number in (6, 7)]
    assert widths == [2, 5]


def test_what_the_machine_can_do_is_no_flood():
    speed = pace.Pace(processors=2, limit=100)
    assert flooded(speed, running=100, idle=0.4, used=0.4)[-1] == 95


def test_a_flood_takes_nothing_from_events_that_only_wait():
    speed = pace.Pace(processors=2, limit=100)
    for number in range(2):
        tick(speed, number / 10, running=speed.width)
    assert flooded(speed, running=11) == [11] * 5
    assert speed.flood.now


def test_in_a_flood_events_that_take_long_get_more_room_all_the_same():
    speed = pace.Pace(processors=2, limit=4)
    widths = []
    for number in range(1, 40):
        seen = {"senders": 50.0, "received": 500 * number, "ended": 0, "idle": 0.0}
        widths.append(tick(speed, number / 10, starved=False, running=speed.width, **seen))
    assert speed.flood.now
    assert (widths[0], widths[-1]) == (2, 4)


def test_it_falls_back_when_nothing_waits():
    speed = pace.Pace(processors=2, limit=100)
    for _ in range(8):
        tick(speed, running=speed.width)
    for running in (40, 0):
        assert tick(speed, 1.0, starved=False, waiting=False, running=running) == max(2, running)


def test_the_share_of_idle_processors_is_a_share():
    processors = pace.Processors()
    assert processors.count >= 1
    processors.idle()
    assert 0 <= processors.idle() <= 1


def test_what_this_process_uses_is_counted_in_processors():
    processors = pace.Processors()
    processors.used()
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass
    assert 0 < processors.used() <= processors.count + 1
