"""What runs the same function elsewhere: started where it is there, and told where it is not."""

import contextlib

import pytest

from bench import client, histogram, peers
from bench.peers import peer
from bench.scenarios import cold


@pytest.fixture
def folder(tmp_path):
    for name, content in client.bench_function("hello").items():
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_peer_that_is_not_installed_is_left_out_and_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    notes = []
    with contextlib.ExitStack() as stack:
        assert peer.started(peers.MINISTACK, stack, notes, lambda _: None, may_install=False) is None
    [note] = notes
    assert note.startswith("Left out: ministack is not installed: --peers installs it")


def test_a_peer_that_cannot_be_installed_is_left_out(tmp_path, monkeypatch):
    def fails(*_given):
        raise OSError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(peer, "install", fails)
    notes = []
    with contextlib.ExitStack() as stack:
        assert peer.started(peers.MINISTACK, stack, notes, lambda _: None, may_install=True) is None
    assert notes == ["Left out: no network"]


def test_a_pool_is_called_warm_and_cold(folder):
    assert peers.EXECUTOR.measure(folder, 5).count == 5
    cpu_s, taken = peers.EXECUTOR.measure_cold(folder, 20)
    assert taken.count == 20
    # Each is a process of its own: a fork, which no round trip over a pipe holds. The kernel counts in ticks of 4 ms,
    # and a few may fall between two of them.
    assert cpu_s > 0


def test_what_others_took_becomes_measures_and_nothing_none():
    assert cold.Other("pool", "a pool").measures() == []
    found = cold.Other("pool", "a pool", [histogram.of([1000])], [0.5]).measures()
    assert [each.name for each in found] == ["cold.pool.latency", "cold.pool.cpu.all"]
