"""Attacks as source code that runs in a worker, and where it must succeed: without the defence."""

import json
import os
import subprocess
import sys
import textwrap

PRELUDE = """
import ctypes, errno, os, signal, socket, struct, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def syscall(*arguments):
    result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
def in_child(function):
    pid = os.fork()
    if not pid:
        try:
            function()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]
"""


def source(text):
    """Return an attack's source with the helpers it may use."""
    return PRELUDE + textwrap.dedent(text)


def _maps():
    texts = {"setgroups": "deny", "uid_map": f"0 {os.getuid()} 1", "gid_map": f"0 {os.getgid()} 1"}
    return "\n".join(f"open('/proc/self/{name}', 'w').write({text!r})" for name, text in texts.items())


def on_the_host(text, *, privileged=False):
    """Run an attack in a process of its own that nothing confines; return what a worker's ``attempt`` would.

    ``privileged``: with all rights over mount, ipc, uts and network namespaces of its own, so that it harms nobody.
    """
    program = source(text)
    if privileged:
        flags = 0x20000 | 0x8000000 | 0x4000000 | 0x40000000
        if os.geteuid() == 0:
            program = f"{PRELUDE}\nassert libc.unshare({flags}) == 0\n{program}"
        else:
            program = f"{PRELUDE}\nassert libc.unshare({flags | 0x10000000}) == 0\n{_maps()}\n{program}"
    runner = (
        "import json, sys\n"
        "scope = {}\n"
        "try:\n"
        "    exec(sys.stdin.read(), scope)\n"
        "    print(json.dumps({'result': scope.get('result')}))\n"
        "except OSError as error:\n"
        "    print(json.dumps({'error': type(error).__name__, 'errno': error.errno}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", runner], input=program, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
