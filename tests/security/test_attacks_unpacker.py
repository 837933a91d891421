"""The process that unpacks zips, as if a zip had taken it over: what its cell still keeps it from."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
import sandbox_rig

from runtime.worker import kernel

LIMIT = 1_000_000
BOOT = """
import errno, json, os, signal, socket, sys
sys.path.insert(0, sys.argv.pop(1))
from runtime.worker import cell, kernel, seccomp, unpack
def absent(*_arguments):
    raise OSError(errno.EPERM, "not on this machine")
def attack(_zip_fd, root, _limit):
    scope = {"ROOT": root}
    try:
        exec(EVIL, scope)
    except OSError as error:
        raise ValueError(f"refused {error.errno}")
    raise ValueError(f"done {scope.get('result')}")
EVIL = sys.argv.pop(1)
if EVIL:
    unpack.unpack = attack
"""
AS_USER = f"""
os.setgroups([])
os.setresgid({sandbox_rig.ORDINARY}, {sandbox_rig.ORDINARY}, {sandbox_rig.ORDINARY})
os.setresuid({sandbox_rig.ORDINARY}, {sandbox_rig.ORDINARY}, {sandbox_rig.ORDINARY})
kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
"""
# What is taken away, so that each wall is seen to hold by itself.
LESS = {
    "all": "",
    "no namespaces": "cell._leave_namespaces = absent",
    "no landlock": "kernel.landlock_abi = absent",
    "no seccomp": "kernel.load_filter = absent",
}
NO_CELL = "cell.separate = lambda: False\ncell.enter = lambda folder, limits, separated: folder"
RUN = "\nsys.exit(unpack.main(sys.argv[1:]))\n"


def has_landlock():
    try:
        return kernel.landlock_abi() >= 1
    except OSError:
        return False


class Unpacker:
    def __init__(self, folder, user):
        self.folder = folder
        self.user = user
        self.root = folder / "tree"
        self.root.mkdir()
        self.canary = folder / "canary"
        self.canary.write_text("secret")
        self.canary.chmod(0o600)
        self.outside = folder / "outside"
        self.outside.mkdir()
        if user and sandbox_rig.ROOT:
            for path in (self.root, self.canary, self.outside):
                os.chown(path, sandbox_rig.ORDINARY, sandbox_rig.ORDINARY)
        self.zip = folder / "code.zip"
        with zipfile.ZipFile(self.zip, "w") as archive:
            archive.writestr("package/handler.py", "x = 1\n")
            archive.writestr(zipfile.ZipInfo("caf\u00e9.txt"), "y")

    def command(self, evil, setting=""):
        program = BOOT + (AS_USER if self.user and sandbox_rig.ROOT else "") + setting + RUN
        return [sys.executable, "-I", "-S", "-c", program, str(sandbox_rig.library()), textwrap.dedent(evil)]

    def run(self, evil, setting=""):
        command = self.command(evil, setting)
        with self.zip.open("rb") as zip_file:
            done = subprocess.run(
                [*command, str(self.root), str(LIMIT)], stdin=zip_file, capture_output=True, check=False, timeout=60
            )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def attempt(self, evil, setting=""):
        """Return what an attack came to: "done ..." or "refused <errno>"."""
        answer = self.run(evil, setting)
        assert answer["error"] == "bad", answer
        return answer["detail"].removeprefix("ValueError: ")


@pytest.fixture(
    params=[pytest.param(False, id="root", marks=sandbox_rig.ROOT_MODE.marks), pytest.param(True, id="user")]
)
def unpacker(request):
    return Unpacker(sandbox_rig.public(), request.param)


@pytest.fixture(params=LESS)
def less(request):
    if request.param == "no namespaces" and not has_landlock():
        pytest.skip("without both, a file of one's own can be read")
    return LESS[request.param]


def test_it_unpacks_with_every_set_of_walls(unpacker, less):
    assert unpacker.run("", less) == {"total_bytes": 7, "entries": 2}
    found = {str(path.relative_to(unpacker.root)): path.stat() for path in unpacker.root.rglob("*")}
    assert {name: oct(status.st_mode & 0o7777) for name, status in found.items()} == {
        "package": "0o755",
        "package/handler.py": "0o644",
        "caf\u00e9.txt": "0o644",
    }
    owner = unpacker.root.stat().st_uid
    assert {status.st_uid for status in found.values()} == {owner}


def test_other_files_cannot_be_read(unpacker, less):
    evil = f"result = open({str(unpacker.canary)!r}).read()"
    assert unpacker.attempt(evil, NO_CELL) == "done secret"
    assert unpacker.attempt(evil, less).startswith("refused")


def test_the_system_cannot_be_looked_at(unpacker, less):
    evil = "import os\nresult = 'self' in os.listdir('/proc')"
    assert unpacker.attempt(evil, NO_CELL) == "done True"
    assert unpacker.attempt(evil, less).startswith("refused")


def test_nothing_can_be_written_elsewhere(unpacker, less):
    written = unpacker.outside / "file"
    evil = f"result = open({str(written)!r}, 'w').write('x')"
    assert unpacker.attempt(evil, NO_CELL) == "done 1"
    written.unlink()
    assert unpacker.attempt(evil, less).startswith("refused")
    assert list(unpacker.outside.iterdir()) == []


def test_nobody_can_be_called(unpacker, less):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        evil = f"import socket\nsocket.socket().connect(('127.0.0.1', {port}))"
        assert unpacker.attempt(evil, NO_CELL) == "done None"
        refusal = unpacker.attempt(evil, less)
        assert refusal.startswith("refused") if less == LESS["no seccomp"] else refusal == f"refused {errno.EPERM}"


def test_no_process_can_be_started_or_hurt(unpacker):
    with subprocess.Popen(["sleep", "60"], user=unpacker.root.stat().st_uid) as bystander:
        kill = f"import os; os.kill({bystander.pid}, 0)"
        assert unpacker.attempt(kill, NO_CELL) == "done None"
        for less in LESS.values():
            assert unpacker.attempt(kill, less).startswith("refused")
        bystander.send_signal(signal.SIGKILL)
    fork = "import os\npid = os.fork()\nif not pid:\n    os._exit(0)\nos.waitpid(pid, 0)"
    assert unpacker.attempt(fork, NO_CELL) == "done None"
    assert unpacker.attempt(fork) == f"refused {errno.EPERM}"
    execute = "import os\nos.execv('/bin/true', ['true'])"
    assert unpacker.attempt(execute) == f"refused {errno.EPERM}"


@pytest.mark.root
@pytest.mark.skipif(not sandbox_rig.ROOT, reason="needs root")
def test_roots_rights_are_gone():
    unpacker = Unpacker(sandbox_rig.public(), user=False)
    evil = "import os\nos.mknod(ROOT / 'null', 0o20666, os.makedev(1, 3))"
    assert unpacker.attempt(evil, NO_CELL) == "done None"
    (unpacker.root / "null").unlink()
    for less in LESS.values():
        assert unpacker.attempt(evil, less).startswith("refused")
        assert unpacker.attempt("import os\nos.chown(ROOT, 1, 1)", less).startswith("refused")


def test_a_control_that_breaks_is_an_error_not_a_gap(unpacker):
    broken = "def broken(*_): raise OSError(errno.EIO, 'broken')\ncell.landlock.confine = broken\nkernel.landlock_abi = lambda: 6"
    assert unpacker.run("", broken) == {"error": "cell", "detail": "OSError: [Errno 5] broken"}
    assert list(unpacker.root.iterdir()) == []


def test_one_that_waits_for_its_order_is_apart_already_and_is_confined_when_it_comes(unpacker):
    evil = f"result = open({str(unpacker.canary)!r}).read()"
    with subprocess.Popen(unpacker.command(evil), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waiting:
        children = Path(f"/proc/{waiting.pid}/task/{waiting.pid}/children")
        while not (child := children.read_text().strip()):
            assert waiting.poll() is None
        for namespace in ("mnt", "net", "ipc", "uts", "pid"):
            assert (Path("/proc") / child / "ns" / namespace).readlink() != Path(
                f"/proc/self/ns/{namespace}"
            ).readlink()
        order = "\0".join([str(unpacker.zip), str(unpacker.root), str(LIMIT)]) + "\n"
        said, _ = waiting.communicate(order.encode(), timeout=60)
    assert json.loads(said)["detail"].startswith("ValueError: refused")
