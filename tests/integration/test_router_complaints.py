"""What pasta says when it cannot start: the cause that an operator is told, and nothing on the terminal."""

import os
import socket

import pytest

from runtime.pool.network import router


def started(program, tmp_path):
    """Start a program in the place of pasta; return its pid, and what it complains into."""
    (tmp_path / "pasta").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "pasta").chmod(0o755)
    complaints, stderr = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if not pid:
            router._become_pasta(str(tmp_path / "pasta"), theirs, stderr)
        os.close(stderr)
        socket.send_fds(ours, [b"go"], [complaints])
    return pid, complaints


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("echo first >&2; echo 'Failed to open() /dev/net/tun: No such device; really' >&2; exit 1",
         "pasta ended with 1: Failed to open() /dev/net/tun: No such device, really"),
        ("exit 3", "pasta ended with 3: without a word"),
        ("kill -9 $$", "pasta ended with -9: without a word"),
        ("yes complaint | head -c 1000000 >&2; exit 2", "pasta ended with 2: "),
    ],
)  # fmt: skip
def test_its_last_words_are_the_cause(program, told, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(router, "has_way_out", lambda: False)
    pid, complaints = started(program, tmp_path)
    with pytest.raises(OSError, match="pasta ended") as caught:
        router._wait_for_way_out(pid, complaints)
    assert str(caught.value).startswith(told)
    assert len(str(caught.value)) < 200
    os.close(complaints)
    assert capfd.readouterr().err == ""
