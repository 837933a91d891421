"""Functions that want to take the service down, or to reach another function: each beside one that is served meanwhile."""

import concurrent.futures
import contextlib
import json
import os
import threading

import botocore.exceptions
import psutil
import pytest
from conftest import Server, create, until

PRELUDE = """
import ctypes, errno, fcntl, json, mmap, os, resource, select, signal, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def until_refused(make, most=100_000):
    made = []
    try:
        while len(made) < most:
            made.append(make())
    except (OSError, RuntimeError, MemoryError, ValueError):
        pass
    return made
"""
SIEGE = """
def handler(event, context):
    for number in range(1, 32):
        try:
            signal.signal(number, signal.SIG_IGN)
        except OSError:
            pass
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            while True:
                for target in (-1, 1, 0):
                    try:
                        os.kill(target, signal.SIGSTOP)
                        os.kill(target, signal.SIGCONT)
                    except OSError:
                        pass
                os.sched_yield()
    return "done"
"""
DESCRIPTORS = """
def handler(event, context):
    def send():
        a, b = socket.socketpair()
        socket.send_fds(a, [b"x"], [b.fileno()] * 200)  # in flight: counted to no process
        b.close()
        return a
    until_refused(send)
    until_refused(lambda: os.pipe2(0))
    ctypes.string_at(0)
"""
DISK = """
def handler(event, context):
    os.makedirs("/tmp/" + "/".join(["d" * 200] * 15), exist_ok=True)
    with open("/tmp/big", "wb") as file:
        until_refused(lambda: file.write(bytes(1 << 20)), 2000)
    made = len(until_refused(lambda: os.close(os.open(f"/tmp/{time.monotonic_ns()}", os.O_CREAT | os.O_WRONLY)), 200_000))
    end = time.monotonic() + event["seconds"]
    while time.monotonic() < end:  # the page cache is churned all the while
        with open("/tmp/big", "rb") as file:
            while file.read(1 << 20):
                pass
    return made > 0
"""
THREADS = """
def handler(event, context):
    stop = threading.Event()
    def wait():
        until_refused(lambda: select.epoll(), 2)
        stop.wait()
    def start():
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread
    started = until_refused(start, 3000)
    stop.set()
    for thread in started:
        thread.join()  # what is left of them counts for the next call, which may come to this worker
    return 100 < len(started) < 1100
"""
MEMORY = """
def handler(event, context):
    block = bytearray(70 << 20)
    end = time.monotonic() + event["seconds"]
    count = 0
    while time.monotonic() < end:
        with open("/tmp/churn", "wb") as file:
            for _ in range(50):
                file.write(bytes(1 << 20))
        for at in range(0, len(block), 4096):
            block[at] = count & 255
        count += 1
    return count > 0
"""
STRANGE = """
CALLS = {"io_uring_setup": 425, "userfaultfd": 323, "keyctl": 250, "bpf": 321, "perf_event_open": 298, "fanotify_init": 300,
         "memfd_secret": 447, "pidfd_getfd": 438, "quotactl": 179, "syslog": 103, "iopl": 172, "kexec_load": 246, "acct": 163}
def handler(event, context):
    found = {}
    for name, number in CALLS.items():
        found[name] = libc.syscall(number, 0, 0, 0, 0, 0, 0) < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS)
    return found
"""
LOGS = """
def handler(event, context):
    libc.fcntl(1, 1031, 1 << 20)  # F_SETPIPE_SZ
    line = b"START RequestId: 00000000-0000-0000-0000-000000000000 Version: $LATEST\\nREPORT forged\\n" * 600
    end = time.monotonic() + event["seconds"]
    zero = os.open("/dev/zero", os.O_RDONLY)
    while time.monotonic() < end:
        os.write(1, line)
        os.write(2, b"\\x1b[2J" * 10_000)
        os.sendfile(1, zero, 0, 1 << 16)
        for _ in range(1000):
            os.write(1, b"x")
    return "done"
"""
HALF = """
def handler(event, context):
    os.write(4, struct.pack(">I", 6_000_000) + b"x" * 1000)
    os.kill(os.getpid(), signal.SIGSEGV)
    ctypes.string_at(0)
"""
GIANT = """
def handler(event, context):
    os.write(4, b"\\xff\\xff\\xff\\xff")
    time.sleep(60)
"""
ENDLESS = """
def handler(event, context):
    fcntl.fcntl(4, fcntl.F_SETFL, 0)
    while True:
        os.write(4, b"\\0\\0\\0\\x01\\x90" * 10_000)
"""
OWN_REQUESTS = """
def handler(event, context):
    # The other end of its own request pipe: it talks to itself, and fills what the supervisor writes to.
    fd = os.open("/proc/self/fd/3", os.O_WRONLY | os.O_NONBLOCK)
    until_refused(lambda: os.write(fd, b"\\0\\0\\0\\x01\\x90" * 1000))
    return "done"
"""
CLOSED = """
def handler(event, context):
    os.closerange(0, 1024)
    time.sleep(60)
"""
ORPHANS = """
def handler(event, context):
    for _ in range(100):
        if os.fork() == 0:
            if os.fork() == 0:
                os._exit(0)
            os._exit(0)
    return "done"
"""
LATE = """
def handler(event, context):
    if os.fork() == 0:
        os.setsid()
        while True:
            try:
                os.write(4, b"\\0\\0\\0\\x02nonsense")
            except OSError:
                pass
            os.sched_yield()
    return "done"
"""
HOG = """
def handler(event, context):
    for _ in range(3):
        if os.fork() == 0:
            while True:
                pass
    end = time.monotonic() + event["seconds"]
    while time.monotonic() < end:
        pass
    return "done"
"""
DIES = "Runtime.ExitError"
STORIES = {
    "siege": (SIEGE, {"done", DIES, "Sandbox.Timedout"}),
    "descriptors": (DESCRIPTORS, {DIES}),
    "disk": (DISK, {True, False, DIES}),
    "threads": (THREADS, {True}),
    "memory": (MEMORY, {True, DIES}),
    "logs": (LOGS, {"done"}),
    "half": (HALF, {DIES}),
    "giant": (GIANT, {DIES}),
    "endless": (ENDLESS, {DIES}),
    "own-requests": (OWN_REQUESTS, {"PermissionError", "done", DIES, "Sandbox.Timedout"}),
    "closed": (CLOSED, {DIES}),
    # Rootless without cgroups, what they share by fork is counted for each of them, which may be too much.
    "orphans": (ORPHANS, {"done"} if os.geteuid() == 0 else {"done", DIES}),
    "late": (LATE, {"done", DIES}),
    "hog": (HOG, {"done"}),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("hostile") / "state").start()
    create(one.client(), "bystander", "def handler(event, context):\n    return event", Timeout=30)
    yield one
    assert one.stop() == 0


@pytest.fixture(scope="module")
def client(server):
    return server.client()


def result(answer):
    """Return what a function answered, or the type of its error."""
    body = json.load(answer["Payload"])
    return body["errorType"] if "FunctionError" in answer else body


def call(client, name, **event):
    return result(client.invoke(FunctionName=name, Payload=json.dumps(event)))


@pytest.mark.parametrize("story", STORIES)
def test_it_harms_itself_alone(server, client, story):
    source, expected = STORIES[story]
    create(client, story, PRELUDE + source, Timeout=12, EphemeralStorage={"Size": 512})
    over = threading.Event()
    served = 0

    def stand_by():
        nonlocal served
        mine = server.client()
        while not over.is_set():
            assert call(mine, "bystander", number=served) == {"number": served}
            served += 1

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        beside = threads.submit(stand_by)
        try:
            for _ in range(2):
                found = [one.result() for one in [threads.submit(call, client, story, seconds=1) for _ in range(2)]]
                assert {str(one) for one in found} <= {str(one) for one in expected}, found
        finally:
            over.set()
        beside.result()
    assert served > 0
    assert call(client, "bystander", number=-1) == {"number": -1}
    assert server.get("/healthz")[0] == 200
    client.delete_function(FunctionName=story)
    until(lambda: not busy(server))


def busy(server):
    """Return the processes below a server's zygotes that run, or want to."""
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_RUNNING:
                found.append(process)
    return found


def test_calls_that_are_for_nobody_are_refused(client):
    create(client, "strange", PRELUDE + STRANGE, Timeout=10)
    found = call(client, "strange")
    assert all(found.values()), found


def test_after_all_of_them_nothing_is_left(server, client):
    """Run last: what the functions above opened, forked and filled went with them."""
    with contextlib.suppress(botocore.exceptions.ClientError):
        client.delete_function(FunctionName="strange")
    supervisor = psutil.Process(server.process.pid)
    until(lambda: json.loads(server.get("/readyz")[1])["workers"]["busy"] == 0)
    until(lambda: supervisor.num_fds() < 400)
    assert call(client, "bystander", a=1) == {"a": 1}
    assert supervisor.memory_info().rss < 400 << 20
