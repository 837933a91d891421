"""A server without its sandbox, for measuring what that costs: it says so, and is refused where others could reach it."""

import json
import os
import subprocess

import pytest
import sandbox_rig
from conftest import HOTFORK, Server, create

SEEN = "import os\ndef handler(event, context):\n    return [os.getppid() > 1, open('/proc/self/status').read()]"


@pytest.mark.skipif(
    os.geteuid() != 0, reason="an ordinary user's needs credentials: functions share the host's network"
)
def test_it_serves_and_says_that_nothing_is_confined():
    # Workers see the host's paths, under uids of their own: all folders above must let them pass.
    one = Server(sandbox_rig.public() / "state", "--isolation", "none").start()
    try:
        assert "ISOLATION: NONE" in one.process.stdout.readline()
        report = json.loads(one.get("/readyz")[1])["isolation"]
        assert (report["level"], report["mode"]) == (0, "bare")
        client = one.client()
        create(client, "f", SEEN)
        in_hosts_namespace, status = json.load(client.invoke(FunctionName="f")["Payload"])
        assert in_hosts_namespace
        assert "Seccomp:\t0" in status
    finally:
        assert one.stop() == 0


def test_it_is_refused_on_an_address_that_others_reach(tmp_path):
    command = [str(HOTFORK), "serve", "--port", "0", "--isolation", "none", "--host", "0.0.0.0", "--insecure"]
    done = subprocess.run(
        [*command, "--state-dir", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "isolation none is for a loopback address" in done.stderr
