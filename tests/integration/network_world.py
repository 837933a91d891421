"""A world of two network namespaces: a host with a worker on it, and an outside with servers on many addresses."""

import json
import os
import subprocess
import sys
from pathlib import Path

OUTSIDE = (
    "93.184.215.14",
    "10.9.9.9",
    "100.64.1.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.20.0.1",
    "192.168.7.7",
    "2a00:1450::5",
    "2001:db8::5",
    "fd00:ec2::254",
    "64:ff9b::5db8:d70e",
    "64:ff9b::a09:909",
)
LOCAL = ("127.0.0.1", "127.8.8.8", "::1", "51.15.0.2", "2a01:4f8::2")
"""Addresses of the host."""
NEIGHBOUR_4 = "51.15.0.1"
"""In the network that the host is on, with a public address."""
NEIGHBOUR_6 = "2a01:4f8::1"
HOST_4, HOST_6 = LOCAL[-2:]
PORT = 80

SERVE = """
import json, select, socket, sys
sockets = []
for address in json.loads(sys.argv[1]):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in map(int, sys.argv[2:]):
        tcp, udp = socket.socket(family), socket.socket(family, socket.SOCK_DGRAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for one in (tcp, udp):
            one.bind((address, port))
        tcp.listen()
        sockets += [tcp, udp]
print("serving", flush=True)
while True:
    for one in select.select(sockets, [], [])[0]:
        if one.type == socket.SOCK_STREAM:
            one.accept()[0].close()
        else:
            data, sender = one.recvfrom(100)
            one.sendto(data, sender)
"""

ATTEMPT = """
import errno, json, os, socket, sys
uid, targets = int(sys.argv[1]), json.loads(sys.argv[2])
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
def attempt(protocol, address, port):
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as one:
        one.settimeout(2)
        try:
            one.connect((address, port))
            if protocol == "udp":
                one.send(b"ping")
                one.recv(10)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, type(error).__name__)
        return "reached"
print(json.dumps([attempt(*target) for target in targets]))
"""


class World:
    """Both namespaces, as long as they are needed; everything goes with their processes."""

    def __init__(self):
        self.processes = []
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self):
        self.host = self._namespace()
        self.outside = self._namespace()
        self.ip(self.host, f"link add wire type veth peer name wire netns {self.outside}")
        for where, four, six in ((self.host, HOST_4, HOST_6), (self.outside, NEIGHBOUR_4, NEIGHBOUR_6)):
            self.ip(where, "link set lo up")
            self.ip(where, f"addr add {four}/24 dev wire")
            self.ip(where, f"addr add {six}/64 dev wire nodad")
            self.ip(where, "link set wire up")
        self.ip(self.host, f"route add default via {NEIGHBOUR_4}")
        self.ip(self.host, f"-6 route add default via {NEIGHBOUR_6}")
        for address in OUTSIDE:
            self.ip(self.outside, f"addr add {address}/{128 if ':' in address else 32} dev lo nodad")
        self.serve(self.outside, (*OUTSIDE, NEIGHBOUR_4, NEIGHBOUR_6), PORT, 53)

    def _namespace(self):
        process = subprocess.Popen(
            ["unshare", "-n", sys.executable, "-I", "-S", "-c", "print(flush=True); import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        process.stdout.readline()
        self.processes.append(process)
        return process.pid

    def command(self, where, *arguments):
        return ["nsenter", f"--net=/proc/{where}/ns/net", *arguments]

    def ip(self, where, line):
        done = subprocess.run(self.command(where, "ip", *line.split()), check=False, capture_output=True, text=True)
        assert not done.returncode, f"ip {line}: {done.stderr}"

    def serve(self, where, addresses, *ports):
        program = [sys.executable, "-I", "-S", "-c", SERVE, json.dumps(addresses), *map(str, ports)]
        process = subprocess.Popen(self.command(where, *program), stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"serving\n"
        self.processes.append(process)

    def python(self, where, program, *arguments, own_mounts=False):
        """Run a program of ours in a namespace; return the process, when it has said its first line."""
        process = subprocess.Popen(
            [
                *(["unshare", "-m"] if own_mounts else []),
                *self.command(where, sys.executable, "-c", program, *arguments),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
        self.processes.append(process)
        return process

    def attempt(self, uid, targets):
        """Return what came of each (protocol, address, port) for a process of a uid on the host."""
        command = self.command(self.host, sys.executable, "-I", "-S", "-c", ATTEMPT, str(uid), json.dumps(targets))
        done = subprocess.run(command, check=True, capture_output=True, timeout=60)
        return dict(zip(map(tuple, targets), json.loads(done.stdout), strict=True))

    def close(self):
        for process in reversed(self.processes):
            process.kill()
            process.communicate()
