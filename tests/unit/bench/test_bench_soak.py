"""What a soak says of what it saw."""

import pytest

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
    looks["descriptors"] = [90.0, 100.0, 120.0, 140.0]
    assert soak.verdict(looks) == "GREW from the first half of the run to the second: descriptors 1.40-fold."
    assert soak.growth(looks["descriptors"]) == pytest.approx(1.4)
    looks["supervisor"] = [50e6, 50e6, 50e6, 60e6]
    assert "supervisor 1.20-fold" in soak.verdict(looks)
