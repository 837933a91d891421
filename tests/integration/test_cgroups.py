"""Cgroups with real processes: v1 with its controllers, v2 for kill and freeze on a mount without controllers."""

import contextlib
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from runtime.pool import cgroups
from runtime.pool.cgroups import place, v1, v2

MB = 1 << 20
DEADLINE_S = 20.0
FORK = "import os, sys, time\nfor fd in map(int, sys.argv[1].split(',')): os.write(fd, b'0')\n"
"""Joins the group, as a worker does."""

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="cgroups need root here"),
]


def until(condition):
    """Return the first true answer of a condition; fail after a generous deadline."""
    for _ in itertools.takewhile(lambda end: time.monotonic() < end, itertools.repeat(time.monotonic() + DEADLINE_S)):
        if answer := condition():
            return answer
        os.sched_yield()
    pytest.fail("the condition did not come true")


def ours():
    """Return every parent of a hotfork supervisor in any hierarchy."""
    here = place.read()
    return {path / name for path in set(here.own.values()) for name in os.listdir(path) if name.startswith("hotfork-")}


@pytest.fixture(autouse=True)
def nothing_left():
    before = ours()
    yield
    mine = {path for path in ours() - before if path.name.startswith(f"hotfork-{os.getpid()}-")}
    assert not mine


@pytest.fixture
def backend():
    try:
        backend = v1.open_backend(place.read())
    except cgroups.Unavailable as error:
        pytest.skip(str(error))
    yield backend
    backend.close()


def limits(memory_mb=64, pids=64, share=0.5, mode=cgroups.CpuMode.WEIGHT, *, counted=False):
    return cgroups.Limits(memory_bytes=memory_mb * MB, pids=pids, cpu_share=share, cpu_mode=mode, counted=counted)


@contextlib.contextmanager
def member(group, body, **named):
    """Run a Python program as a member of a group; its standard output is a pipe."""
    fds = ",".join(map(str, group.join_fds))
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", FORK + body, fds],
        pass_fds=group.join_fds,
        stdout=subprocess.PIPE,
        start_new_session=True,
        **named,
    )
    try:
        yield process
    finally:
        group.thaw()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def run(group, body):
    with member(group, body) as process:
        output, _ = process.communicate(timeout=DEADLINE_S)
        return process.returncode, output


HUNGRY = "b = bytearray(100 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1\nprint('ate')\n"


def test_memory_over_the_limit_kills_and_is_counted(backend):
    group, sibling = backend.acquire(limits(64)), backend.acquire(limits(64))
    assert run(group, HUNGRY) == (-signal.SIGKILL, b"")
    assert group.oom_kills() == 1
    assert sibling.oom_kills() == 0
    assert group.peak_bytes() > 60 * MB
    backend.release(group)
    backend.release(sibling)


def test_memory_within_the_limit_does_not(backend):
    group = backend.acquire(limits(200))
    assert run(group, HUNGRY) == (0, b"ate\n")
    assert group.oom_kills() == 0
    assert 100 * MB < group.peak_bytes() < 130 * MB
    backend.release(group)


def test_a_killed_child_of_the_worker_is_told(backend):
    group = backend.acquire(limits(64))
    body = (
        "pid = os.fork()\nif not pid:\n "
        + HUNGRY.replace("\n", "\n ")
        + "\n os._exit(0)\nprint(os.waitpid(pid, 0)[1])\n"
    )
    assert run(group, body) == (0, b"9\n")
    assert group.oom_kills() == 1
    backend.release(group)


def test_the_peak_starts_anew_when_it_is_reset(backend):
    group = backend.acquire(limits(200))
    with member(
        group, HUNGRY + "b = None\nprint('freed', flush=True)\nsys.stdin.read(1)\n", stdin=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ate\n"
        assert process.stdout.readline() == b"freed\n"
        assert group.peak_bytes() > 100 * MB
        group.reset_peak()
        assert group.peak_bytes() < 50 * MB
    backend.release(group)


def test_files_written_to_disk_do_not_count_as_memory_used(backend, tmp_path):
    group = backend.acquire(limits(64))
    path = tmp_path / "big"
    body = f"f = open({str(path)!r}, 'wb')\nfor _ in range(40): f.write(bytes(1 << 20))\nf.flush()\nprint('wrote')\n"
    assert run(group, body) == (0, b"wrote\n")
    assert group.memory_bytes() > 30 * MB, "the page cache of the file is charged"
    assert group.peak_bytes() < 30 * MB
    backend.release(group)


def test_writing_more_to_disk_than_the_limit_is_no_reason_to_die(backend, tmp_path):
    group = backend.acquire(limits(64))
    body = f"f = open({str(tmp_path / 'big')!r}, 'wb')\nfor _ in range(200): f.write(bytes(1 << 20))\nprint('wrote')\n"
    assert run(group, body) == (0, b"wrote\n")
    assert group.oom_kills() == 0
    backend.release(group)


BOMB = """
born = 0
try:
    while born < 200:
        if not os.fork():
            time.sleep(600)
        born += 1
except BlockingIOError:
    pass
print(born, flush=True)
"""


@pytest.mark.parametrize(("pids", "born"), [(16, 15), (500, 200)])
def test_a_fork_bomb_stops_at_the_limit_and_not_before(backend, pids, born):
    group = backend.acquire(limits(512, pids=pids))
    with member(group, BOMB) as process:
        assert int(process.stdout.readline()) == born
    until(group.empty)
    backend.release(group)


def throttled(group):
    path = group._path("cpu", "cpu.stat")
    return int(pathlib.Path(path).read_text().split("nr_throttled ")[1].split()[0])


BURN = "print('started', flush=True)\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"


def test_a_quota_holds_only_once_it_is_started(backend):
    group = backend.acquire(limits(share=0.1, mode=cgroups.CpuMode.QUOTA))
    assert run(group, BURN)[0] == 0
    assert throttled(group) == 0, "a worker is not throttled during its init"
    group.throttle()
    assert run(group, BURN)[0] == 0
    assert throttled(group) > 0
    backend.release(group)


def test_processor_time_is_counted_where_it_is_asked_for(backend):
    plain, group = backend.acquire(limits()), backend.acquire(limits(counted=True))
    for one in (plain, group):
        assert run(one, BURN)[0] == 0
    assert group.cpu_us() > 200_000
    backend.recycle(1)
    ahead = backend.acquire(limits())
    if backend.later:
        assert (len(group.join_fds), plain.cpu_us()) == (len(plain.join_fds) + 1, 0)
        assert len(ahead.join_fds) == len(plain.join_fds), "what is made ahead is as most are"
    backend.release(ahead)
    for one in (plain, group):
        backend.release(one)
    assert backend.recycle(0) == 0
    assert not any(path.exists() for path in (*plain._paths, *group._paths))


def test_a_used_group_forgets_its_quota_and_its_counters(backend):
    group = backend.acquire(limits(share=0.1, mode=cgroups.CpuMode.QUOTA, counted=True))
    group.throttle()
    assert run(group, HUNGRY)[0] == -signal.SIGKILL
    backend.release(group)
    assert backend.recycle(1) == 0
    again = backend.acquire(limits(share=0.1, mode=cgroups.CpuMode.QUOTA))
    assert again is group
    assert (again.oom_kills(), again.cpu_us()) == (0, 0)
    assert again.peak_bytes() < 2 * MB
    before = throttled(again)
    assert run(again, BURN)[0] == 0
    assert throttled(again) == before
    backend.release(again)


def test_a_group_is_used_again_only_when_it_is_empty(backend):
    group = backend.acquire(limits())
    with member(group, "print('in', flush=True)\ntime.sleep(600)\n") as process:
        process.stdout.readline()
        backend.release(group)
        assert backend.recycle(1) == 1
        other = backend.acquire(limits())
        assert other is not group
    until(lambda: backend.recycle(5) == 0)
    taken = [backend.acquire(limits()) for _ in range(5)]
    assert group in taken
    for one in [*taken, other]:
        backend.release(one)


TICK = "print('in', flush=True)\nwhile True: pass\n"


def cpu_used(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.fixture
def bare():
    """A v2 group on the mount as it is here: without controllers, but with freeze and kill."""
    here = place.read()
    own = here.own.get(place.UNIFIED)
    if own is None:
        pytest.skip("no cgroup2 file system is mounted")
    parent = own / here.name()
    directory = parent / "000001"
    directory.mkdir(parents=True)
    group = v2.Group("000001", {place.UNIFIED: directory})
    yield group
    group.kill_members()
    until(group.empty)
    group.remove()
    parent.rmdir()


@pytest.fixture(params=["v1", "v2"])
def freezable(request):
    if request.param == "v2":
        yield request.getfixturevalue("bare")
        return
    backend = request.getfixturevalue("backend")
    group = backend.acquire(limits())
    yield group
    backend.release(group)


def frozen(group):
    if isinstance(group, v2.Group):
        return "frozen 1" in (group.directory / "cgroup.events").read_text()
    pids = pathlib.Path(group._path("memory", "cgroup.procs")).read_text().split()
    return all(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T" for pid in pids)


def test_a_frozen_worker_stands_still_until_it_is_thawed(freezable):
    with member(freezable, TICK) as process:
        process.stdout.readline()
        until(freezable.freeze)
        until(lambda: frozen(freezable))
        before = cpu_used(process)
        end = time.process_time() + 0.1
        while time.process_time() < end:  # the machine has time to run it, were it not frozen
            pass
        assert cpu_used(process) == before
        freezable.thaw()
        until(lambda: cpu_used(process) > before)


def test_a_frozen_worker_dies_of_a_kill(freezable):
    with member(freezable, TICK) as process:
        process.stdout.readline()
        until(freezable.freeze)
        until(lambda: frozen(freezable))
        if not freezable.kill():
            process.kill()
            freezable.kill()
        assert process.wait(DEADLINE_S) == -signal.SIGKILL
    until(freezable.empty)


def test_v2_kills_the_whole_group_at_once_even_those_who_left_the_session(bare):
    body = "for _ in range(3):\n if not os.fork():\n  os.setsid()\n  time.sleep(600)\nprint('in', flush=True)\ntime.sleep(600)\n"
    with member(bare, body) as process:
        process.stdout.readline()
        assert len((bare.directory / "cgroup.procs").read_text().split()) == 4
        assert bare.kill()
        assert process.wait(DEADLINE_S) == -signal.SIGKILL
        until(bare.empty)


CRASHING = """
import subprocess, sys, time
from runtime.pool import cgroups
backend = cgroups.open_backend(only="v1")
group = backend.acquire(cgroups.Limits(memory_bytes=1 << 26, pids=10, cpu_share=1.0))
program = "import os, sys, time\\nfor fd in map(int, sys.argv[1:]): os.write(fd, b'0')\\nprint(os.getpid(), flush=True)\\ntime.sleep(600)"
command = [sys.executable, "-c", program, *map(str, group.join_fds)]
child = subprocess.Popen(command, pass_fds=group.join_fds, start_new_session=True, stdout=subprocess.PIPE)
pid = child.stdout.readline()
if sys.argv[1] == "frozen":
    group.freeze()
print(int(pid), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("condition", ["running", "frozen"])
def test_what_a_killed_supervisor_left_is_collected_at_the_next_start(backend, condition):
    supervisor = subprocess.Popen([sys.executable, "-c", CRASHING, condition], stdout=subprocess.PIPE)
    orphaned = int(supervisor.stdout.readline())
    left = {path for path in ours() if path.name.startswith(f"hotfork-{supervisor.pid}-")}
    assert left
    alive = v1.open_backend(place.read())
    assert all(path.exists() for path in left), "a living supervisor's groups are not touched"
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    v1.open_backend(place.read())
    assert not any(path.exists() for path in left)
    assert not pathlib.Path(f"/proc/{orphaned}").exists() or state(orphaned) == "Z"
    alive.close()


PRECEDING = """
import subprocess, sys, time
from runtime.pool import cgroups
from runtime.pool.cgroups import place
home = place.read().own["cpu"]
leave = cgroups.take_precedence()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
cgroups.leave_out(other.pid)
assert place.read().own["cpu"] == home
print(child.pid, other.pid, flush=True)
sys.stdin.readline()
leave()
print(flush=True)
time.sleep(600)
"""


def cpu_group(pid):
    """Return the path of a process in the hierarchy of the cpu controller."""
    return place.parse_cgroup(pathlib.Path(f"/proc/{pid}/cgroup").read_text())["cpu"]


@pytest.mark.parametrize("ending", ["undone", "killed"])
def test_a_supervisor_runs_before_its_workers_in_a_group_of_its_own(backend, ending):
    home = cpu_group(os.getpid())
    supervisor = subprocess.Popen(
        [sys.executable, "-c", PRECEDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child, other = map(int, supervisor.stdout.readline().split())
    try:
        group = backend.parents["cpu"].parent / pathlib.Path(cpu_group(supervisor.pid)).name
        assert group.name.endswith("-supervisor")
        assert cpu_group(child) == cpu_group(supervisor.pid) != home
        assert cpu_group(other) == home
        workers = int((backend.parents["cpu"] / "cpu.shares").read_text())
        assert int((group / "cpu.shares").read_text()) == 8 * workers
        if ending == "undone":
            supervisor.stdin.write("\n")
            supervisor.stdin.flush()
            supervisor.stdout.readline()
            assert cpu_group(supervisor.pid) == home
        else:
            supervisor.kill()
            supervisor.wait()
            cgroups.take_precedence()()
            assert pathlib.Path(f"/proc/{child}").exists()
        assert not group.exists()
        assert cpu_group(child) == home
    finally:
        os.kill(child, signal.SIGKILL)
        supervisor.kill()
        supervisor.communicate()


def state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


HOLD = "print('in', flush=True)\ntime.sleep(600)\n"
MOVE = """
b = bytearray(20 << 20)
for i in range(0, len(b), 4096): b[i] = 1
for fd in os.environ["OTHER"].split(","): os.write(int(fd), b"0")
print('moved', flush=True)
time.sleep(600)
"""


def test_a_group_knows_who_is_in_it(backend):
    group = backend.acquire(limits())
    with member(group, HOLD) as process:
        process.stdout.readline()
        pid = next(pid for pid in cgroups.stock.members(group._paths[0]))
        assert group.holds(pid)
        assert not group.holds(os.getpid())
    backend.release(group)


def test_whoever_stays_in_a_group_that_others_can_join_is_killed(backend):
    group, told = backend.acquire(limits()), []
    with member(group, HOLD) as process:
        process.stdout.readline()
        backend.release(group, spent=told.append)
        assert backend.recycle(0) == 1
        process.wait(DEADLINE_S)  # else as many rounds might pass as make a process that stays suspicious
        until(lambda: backend.recycle(0) == 0)
    assert told == [], "it was dying, as it should"
    assert not any(path.exists() for path in group._paths)


def test_memory_that_is_left_in_a_group_that_others_can_join_is_told(backend):
    group, other, told = backend.acquire(limits()), backend.acquire(limits()), []
    names = ",".join(map(str, other.join_fds))
    fds = (*group.join_fds, *other.join_fds)
    program = [sys.executable, "-I", "-S", "-c", FORK + MOVE, ",".join(map(str, group.join_fds))]
    with subprocess.Popen(program, pass_fds=fds, stdout=subprocess.PIPE, env={"OTHER": names}) as process:
        assert process.stdout.readline() == b"moved\n"
        backend.release(group, spent=told.append)
        until(lambda: backend.recycle(0) and told)
        assert told == ["it holds on to the cgroup of a copy that is gone"]
        for path in other._paths:
            for pid in cgroups.stock.members(path):
                os.kill(pid, signal.SIGKILL)
        process.wait(DEADLINE_S)
    backend.release(other)
    until(lambda: backend.recycle(0) == 0)
    assert not any(path.exists() for path in group._paths)
