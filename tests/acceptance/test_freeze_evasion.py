"""A function that tries to run on after its answer: it is stopped, or its worker is killed."""

import json

import psutil
from conftest import create, until

EVADER = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)

def handler(event, context):
    for _ in range(4):
        if os.fork() == 0:
            os.setsid()
            while True:
                if os.fork() == 0:
                    try: os.kill(-1, signal.SIGCONT)
                    except OSError: pass
                    time.sleep(0.0005)
                else:
                    time.sleep(0.0005)
                    try: os.kill(-1, signal.SIGCONT)
                    except OSError: pass
                    os._exit(0)
    return os.getpid()
"""


def moving(server):
    """Return the processes below the server's zygotes that are not stopped."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        if "zygote" not in " ".join(child.cmdline()):
            continue
        for guard in child.children():
            for one in guard.children(recursive=True):
                try:
                    if one.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE) and one.cpu_times().user > 0:
                        found.append(one)
                except psutil.NoSuchProcess:
                    continue
    return found


def test_a_function_that_wakes_itself_does_not_go_on(server, client):
    create(client, "evader", EVADER, Timeout=10)
    assert json.load(client.invoke(FunctionName="evader", Payload=b"{}")["Payload"])
    quiet = 0

    def still():
        nonlocal quiet
        quiet = quiet + 1 if not [one for one in moving(server) if one.status() == psutil.STATUS_RUNNING] else 0
        return quiet >= 15

    until(still, timeout_s=60)
    client.delete_function(FunctionName="evader")
