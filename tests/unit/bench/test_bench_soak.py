"""What a soak says of what it saw."""

import pytest

from bench import plan
from bench.scenarios import soak


def test_what_stays_is_flat_and_what_grows_is_named():
    looks = {
        "supervisor": [100.0, 120.0, 119.0, 121.0],
        "mounts": [5.0, 5.0, 5.0, 5.0],
        "cgroups": [0.0, 0.0, 0.0, 0.0],
    }
    assert soak.verdict(looks).startswith("Flat: nothing grew by more than 10%")
    looks["workers"] = [4.0, 5.0, 7.0, 5.0]  # more of them were busy at once
    assert soak.verdict(looks).startswith("Flat")
    looks["descriptors"] = [300.0, 330.0, 380.0, 390.0]  # those of such workers
    assert soak.verdict(looks).startswith("Flat")
    looks["descriptors"] = [290.0, 300.0, 380.0, 420.0]
    assert soak.verdict(looks) == "GREW from the first half of the run to the second: descriptors 1.40-fold."
    assert soak.growth(looks["descriptors"]) == pytest.approx(1.4)
    looks["supervisor"] = [50e6, 50e6, 50e6, 60e6]
    assert "supervisor 1.20-fold" in soak.verdict(looks)


def test_of_each_kind_of_call_a_soak_knows_how_many_there_are_and_what_they_come_to():
    mix = soak._mix()
    assert sum(call.weight for call, _ in mix) == pytest.approx(1)
    load = plan.Plan(host="", port=1, calls=[call for call, _ in mix], count=20_000, order="weighted", seed=3)
    wanted = soak._wanted(load, [outcome for _, outcome in mix])
    assert wanted.total() == 20_000
    assert wanted["left"] == pytest.approx(0.002 * 20_000, rel=0.5)
    assert wanted["function-error"] == pytest.approx(0.0445 * 20_000, rel=0.2)
    assert set(wanted) == {"200", "function-error", "left"}
    # Who leaves is gone before there can be an answer, the generator's tick included.
    slow = [call for call, outcome in mix if outcome == "left"]
    assert len(slow) == 2
    assert all(call.leave_s + 0.05 < 0.2 for call in slow)
