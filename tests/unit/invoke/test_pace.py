"""How many events run at once."""

import pytest

from runtime.invoke import pace


def test_it_begins_with_the_processors():
    assert pace.Pace(processors=8, limit=1000).width == 8
    assert pace.Pace(processors=1, limit=1000).width == 2
    assert pace.Pace(processors=8, limit=3).width == 3


def test_it_grows_while_processors_idle_and_events_wait_up_to_the_limit():
    speed = pace.Pace(processors=2, limit=100)
    widths = []
    for _ in range(8):
        speed.tick(starved=True, running=speed.width, ended=1, depth=0, idle=0.5)
        widths.append(speed.width)
    assert widths == [5, 11, 23, 47, 95, 100, 100, 100]


@pytest.mark.parametrize(("running", "idle"), [(2, 0.05), (1, 0.9)])
def test_it_does_not_grow_where_that_would_not_help(running, idle):
    speed = pace.Pace(processors=2, limit=100)
    for ended in range(100):
        speed.tick(starved=True, running=running, ended=ended, depth=0, idle=idle)
    assert speed.width == 2


def test_busy_processors_do_not_hold_up_events_that_only_wait():
    speed = pace.Pace(processors=2, limit=4)
    widths = []
    for _ in range(40):
        speed.tick(starved=True, running=speed.width, ended=0, depth=0, idle=0.0)
        widths.append(speed.width)
    assert (widths[8], widths[9], widths[19], widths[39]) == (2, 3, 4, 4)


def test_those_who_send_go_first_as_long_as_more_comes_in_than_ends():
    speed = pace.Pace(processors=2, limit=100)
    widths = []
    for ended, depth in enumerate([500, 1000, 1000, 900, 1000, 0], start=1):
        speed.tick(starved=True, running=speed.width, ended=ended, depth=depth, idle=0.0)
        widths.append(speed.width)
    assert widths == [1, 1, 2, 2, 1, 2]


def test_a_flood_takes_nothing_from_events_that_only_wait():
    speed = pace.Pace(processors=2, limit=100)
    for _ in range(2):
        speed.tick(starved=True, running=speed.width, ended=1, depth=0, idle=0.5)
    speed.tick(starved=True, running=11, ended=2, depth=500, idle=0.0)
    assert speed.width == 11


def test_it_falls_back_when_nothing_waits():
    speed = pace.Pace(processors=2, limit=100)
    for _ in range(8):
        speed.tick(starved=True, running=speed.width, ended=1, depth=0, idle=0.5)
    speed.tick(starved=False, running=40, ended=1, depth=0, idle=0.5)
    assert speed.width == 40
    speed.tick(starved=False, running=0, ended=1, depth=0, idle=0.5)
    assert speed.width == 2


def test_the_share_of_idle_processors_is_a_share():
    processors = pace.Processors()
    assert processors.count >= 1
    processors.idle()
    assert 0 <= processors.idle() <= 1
