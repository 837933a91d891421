"""A blank as the supervisor has it: how it becomes a function's, with the test as zygote, mounter and process."""

import gc
import os
import socket
import types

import pytest
import scripted

from runtime import model, wire
from runtime.pool import forked

pytestmark = pytest.mark.usefixtures("no_leaks")

KILLED, REFUSED, ENDED = 9, 70 << 8, 0


class Held:
    """What it holds."""

    def __init__(self, rlimits):
        self.rlimits = rlimits
        self.acquired = True
        self.uid = 7
        self.tmp_mb = 512
        self.folder = self.image = self.netns_fd = None
        self.group = types.SimpleNamespace(clone_fd=None, join_fds=())
        self.adopted = None

    def furnish(self, then):
        then()

    def adopt(self, version):
        self.adopted = version

    def nothing(self):
        """Do nothing."""

    settle = made = give_back = kill = initialised = nothing


class Mounter:
    """Takes orders."""

    def __init__(self):
        self.orders = []
        self.forgotten = []

    def mount(self, folders, gate):
        self.orders.append((folders, gate))

    def forget(self, gate):
        self.forgotten.append(gate)


class Forks:
    """Makes processes: of each it has what the process would have."""

    def __init__(self, mounter):
        self.one = mounter
        self.order = None
        self.gate = None

    def mounter(self, _runtime):
        return self.one

    def place(self, _runtime, ordered):
        self.order = ordered.order()
        self.requests, self.responses, self.log = (
            os.dup(fd) for fd in (self.order.request_fd, self.order.response_fd, self.order.log_fd)
        )
        if self.order.gate_fd is not None:
            self.gate = socket.socket(fileno=os.dup(self.order.gate_fd))
        ordered.placed()

    def kill(self, _runtime, _number):
        """Kill nobody."""

    def close(self):
        for fd in (self.requests, self.responses, self.log):
            os.close(fd)
        if self.gate is not None:
            self.gate.close()


class Listener:
    def __init__(self):
        self.heard = []

    def process_exited(self, status):
        self.heard.append(("exited", status))

    def process_failed(self, step, reason):
        self.heard.append((step, reason))


@pytest.fixture
def make():
    """Return what makes a blank, and ends it after the test."""
    made = []

    def one(mounter, rlimits=None):
        forks = Forks(mounter)
        blank = forked.Forked(1, forks, "python3.11", Held(rlimits or {}), Listener(), skip={})
        blank.furnish()
        made.append((blank, forks))
        return blank, forks

    yield one
    for blank, forks in made:
        blank.release()
        forks.close()
        for fd in blank.fds:
            os.close(fd)


def test_who_heard_of_it_is_not_kept_once_it_is_released(make):
    blank, _ = make(None)
    listener = Listener()
    blank.adopt(scripted.VERSION, listener)
    assert any(one is listener for one in gc.get_referents(blank))
    blank.release()
    assert not any(one is listener for one in gc.get_referents(blank))


def test_where_there_is_a_mounter_it_is_sealed_and_gets_its_folders_from_that(make):
    mounter = Mounter()
    blank, forks = make(mounter)
    assert blank.is_sealed
    assert (forks.order.uid, forks.order.code) == (7, None)
    blank.adopt(scripted.VERSION, Listener())
    ((folders, _gate),) = mounter.orders
    assert folders == {"code": scripted.VERSION.code_path}
    assert blank._held.adopted is scripted.VERSION
    assert blank.kind is model.StartKind.BLANK
    os.set_blocking(forks.requests, False)
    with pytest.raises(BlockingIOError):
        os.read(forks.requests, 1)
    blank.initialised()
    assert not blank.is_sealed
    assert len(mounter.forgotten) == 1


@pytest.mark.parametrize(("mounter", "rlimits"), [(None, {}), (Mounter(), {"AS": 1 << 30})])
def test_without_one_or_where_limits_depend_on_the_function_it_is_told_what_it_lacks(make, mounter, rlimits):
    blank, forks = make(mounter, rlimits)
    assert not blank.is_sealed
    blank.adopt(scripted.VERSION, Listener())
    (seal,) = wire.Decoder(wire.SUPERVISOR_MESSAGES).feed(os.read(forks.requests, 1 << 16))
    assert (seal.uid, seal.folders) == (7, {"code": scripted.VERSION.code_path})
    assert mounter is None or mounter.orders == []


@pytest.mark.parametrize(
    ("word", "status", "heard"),
    [
        (wire.PLACED, ENDED, ("exited", ENDED)),
        (wire.PLACED, REFUSED, ("exited", REFUSED)),
        (b"OSError: no such folder", REFUSED, ("mounts", "OSError: no such folder")),
        (None, REFUSED, ("mounts", "the mounter is gone")),
        (None, KILLED, ("exited", KILLED)),
    ],
)
def test_who_exits_without_its_folders_was_never_started(make, word, status, heard):
    blank, forks = make(Mounter())
    listener = Listener()
    blank.adopt(scripted.VERSION, listener)
    if word is not None:
        forks.gate.send(word)
    blank.on_exit(status)
    assert listener.heard == [heard]


def test_once_it_serves_its_exit_is_its_own(make):
    blank, forks = make(Mounter())
    listener = Listener()
    blank.adopt(scripted.VERSION, listener)
    forks.gate.send(wire.PLACED)
    blank.initialised()
    blank.on_exit(REFUSED)
    assert listener.heard == [("exited", REFUSED)]


def test_one_whose_mounter_is_gone_is_nobodys(make):
    blank, forks = make(Mounter())
    forks.one = None
    with pytest.raises(BrokenPipeError):
        blank.adopt(scripted.VERSION, Listener())
    assert blank._held.adopted is None


def test_one_that_is_gone_is_nobodys(make):
    mounter = Mounter()
    blank, forks = make(mounter)
    os.close(forks.requests)
    forks.requests = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(BrokenPipeError):
        blank.adopt(scripted.VERSION, Listener())
    assert mounter.orders == []


def test_no_folders_are_ordered_twice(make):
    mounter = Mounter()
    blank, _ = make(mounter)
    blank.adopt(scripted.VERSION, Listener())
    with pytest.raises(BrokenPipeError):
        blank.adopt(scripted.VERSION, Listener())
    assert len(mounter.orders) == 1
