import json

import pytest

from runtime import errors
from runtime.pool import diagnosis, isolation
from runtime.worker import sandbox

WORKER = ("pid", "mount", "mounts", "root", "proc", "ipc", "uts", "cgroup_view", "network", "identity", "privileges")
ALL = (*WORKER, "user", "landlock", "signals", "seccomp", "cgroup", "cgroup_memory", "cgroup_pids", "scratch", "egress")


def judged(mode="root", missing=()):
    controls = [
        diagnosis.Control(
            name=name, engaged=name not in missing, why="" if name not in missing else f"no {name}", cure="c"
        )
        for name in ALL
    ]
    return isolation.judge(mode, "v1", controls)


@pytest.mark.parametrize(
    ("mode", "missing", "level"),
    [
        ("root", (), 3),
        ("user", (), 3),
        ("root", ("user",), 3),
        ("root", ("scratch", "egress", "cgroup_view", "landlock"), 3),
        *(("root", (name,), 2) for name in ("ipc", "uts", "network", "cgroup_memory", "cgroup_pids")),
        ("user", ("cgroup_memory", "cgroup_pids"), 2),
        ("bare", (), 1),
        ("bare", ("landlock",), 0),
        ("root", ("seccomp",), 0),
        ("root", ("seccomp", "landlock"), 0),
    ],
)
def test_the_level_is_judged_by_what_is_engaged(mode, missing, level):
    assert judged(mode, missing).level == level


def test_an_order_leaves_out_what_it_may_and_nothing_else():
    report = judged("user", ("cgroup", "uts", "scratch", "egress"))
    assert report.skip == {"cgroup": "no cgroup", "uts": "no uts"}
    assert set(isolation.OPTIONAL) == sandbox.OPTIONAL


def test_strong_names_cause_and_cure_of_all_that_is_missing():
    with pytest.raises(errors.IsolationError) as caught:
        judged("user", ("cgroup_memory", "network", "scratch")).demand_strong()
    text = caught.value.message
    assert "cgroup_memory: no cgroup_memory -> c" in text
    assert "network: no network -> c" in text
    assert "scratch" not in text, "it is no part of level 3"
    judged().demand_strong()


def test_the_summary_is_one_line_that_names_what_is_missing():
    assert judged().summary() == "Isolation: level 3 of 3 (strong), mode root, cgroups v1."
    line = judged("root", ("egress", "uts")).summary()
    assert line.endswith("Not engaged: uts, egress (see hotfork doctor).")


def test_the_report_is_json():
    document = json.loads(json.dumps(judged().document()))
    assert (document["level"], document["mode"], document["cgroups"]) == (3, "root", "v1")
    assert document["controls"][0] == {"name": "pid", "engaged": True, "why": "", "cure": "c"}


def test_a_control_is_found_by_its_name():
    assert judged(missing=("uts",)).control("uts").why == "no uts"
    with pytest.raises(KeyError):
        judged().control("nonsense")
