"""Functions that use their snapshot against the server: init takes over the process that forks their workers."""

import json
import re
from pathlib import Path

import pytest
from conftest import Server, create, until

TAKE_OVER = """
import os, socket, struct, sys, time
frame = sys._getframe()
while frame is not None and "_Template" not in frame.f_globals:
    frame = frame.f_back
own = frame.f_globals if frame else None  # None: in a worker that is no copy
template = own["_Template"] if own else None
def handler(event, context):
    return os.getpid()
"""
FLOOD = """
if own:
    def run(self):
        door = socket.socket(fileno=5)
        packet = own["wire"].encode(own["wire"].Exited(4711, 0))
        for _ in range(3):
            os.fork()
        while True:
            door.send(packet)
    template.run = run
"""
FLOOD_EARLY = """
if own:
    door = socket.socket(fileno=os.dup(5))
    while True:
        door.send(b"x" * 1000)
"""
NO_NAMESPACES = """
if own:
    template._clone = lambda self: os.fork()
"""
NOT_SEALED = """
if own:
    own["sandbox"].COPY = tuple(step for step in own["sandbox"].COPY if step[0] != "seccomp")
"""
PRIVILEGED = """
if own:
    own["sandbox"].COPY = tuple(step for step in own["sandbox"].COPY if step[0] not in ("privileges", "bounds", "landlock"))
"""
OUTSIDE = """
if own:
    own["sandbox"].COPY = tuple(step for step in own["sandbox"].COPY if step[0] != "cgroup")
"""
HELPER = """
if own:
    confine = own["sandbox"].attempt
    def attempt(steps, job):
        if os.fork() == 0:
            time.sleep(1000)
        confine(steps, job)
    own["sandbox"].attempt = attempt
"""
FORGED = """
if own:
    take = template._take_order
    def lie(self):
        taken = take(self)
        for number in self.copies.values():
            self._say(own["wire"].Spawned(number))
        return taken
    template._take_order = lie
"""
RUNS_ON = """
if own:
    def run(self):
        if os.fork() == 0:
            while True:
                pass
        os.wait()
    template.run = run
"""
STORIES = {
    "flood": (FLOOD, "more than there is to say"),
    "flood-early": (FLOOD_EARLY, "more than there is to say|too large a packet"),
    "no-namespaces": (NO_NAMESPACES, "what it calls a copy is none|could not be started|confined"),
    "not-sealed": (NOT_SEALED, "did not seal itself"),
    "privileged": (PRIVILEGED, "has capabilities"),
    "outside": (OUTSIDE, "not in its cgroup"),
    "helper": (HELPER, "has capabilities|did not seal itself|not in its cgroup"),
    "forged": (FORGED, "born twice|what it calls a copy is none|more than there is to say"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    # Each worker serves one call: so there are many copies, and their ends.
    one = Server(tmp_path_factory.mktemp("hostile") / "state", env={"HOTFORK_POOL_MAX_INVOCATIONS": "1"}).start()
    create(one.client(), "bystander", "def handler(event, context):\n    return 'served'")
    yield one
    assert one.stop() == 0


@pytest.fixture(scope="module")
def client(server):
    return server.client()


def publish(client, name, source):
    create(client, name, TAKE_OVER + source, SnapStart={"ApplyOn": "PublishedVersions"}, Timeout=20)
    return client.publish_version(FunctionName=name)["Version"]


def call(client, name, version=None):
    answer = client.invoke(FunctionName=name, **({"Qualifier": version} if version else {}))
    body = json.load(answer["Payload"])
    assert "FunctionError" not in answer, body
    return body


def said(server):
    return Path(server.log.name).read_text()


def restored(server, name):
    found = re.search(
        rf'^hotfork_cold_starts_total{{function="{name}",kind="snapshot"}} (\S+)$',
        server.get("/metrics")[1].decode(),
        re.MULTILINE,
    )
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("story", STORIES)
def test_a_template_that_cheats_is_let_go_and_its_function_served_without(server, client, story):
    source, reason = STORIES[story]
    if story == "outside" and cgroup_kind(server) == "none":
        pytest.skip("there are no cgroups to stay out of")
    version = publish(client, story, source)

    def told():
        # A call that a copy serves ends with its template: that is the function's own doing.
        client.invoke(FunctionName=story, Qualifier=version)
        assert call(client, "bystander") == "served"
        return re.search(rf"{story}:{version} .*({reason})", said(server))

    assert until(told), said(server)
    assert restored(server, story) == 0 or story == "forged", "which a copy may serve before it is told"
    assert call(client, story, version) == 1


def cgroup_kind(server):
    return json.loads(server.get("/readyz")[1])["isolation"]["cgroups"]


def test_a_template_that_runs_on_by_itself_is_let_go(server, client):
    if cgroup_kind(server) == "none":
        pytest.skip("nothing counts its processor time")
    version = publish(client, "runs-on", RUNS_ON)
    until(lambda: re.search(f"runs-on:{version} .*runs although nothing is asked of it", said(server)))
    assert call(client, "runs-on", version) == 1
    assert call(client, "bystander") == "served"


RUNS_AHEAD = """
import select
if own:
    def renew():
        while os.getpid() == 1 and not select.select([3], [], [], 0)[0]:
            pass
    own["renewal"].renew = renew
"""


def test_a_template_whose_copy_runs_while_it_waits_is_let_go(server, client):
    if cgroup_kind(server) == "none":
        pytest.skip("nothing counts its processor time")
    version = publish(client, "runs-ahead", RUNS_AHEAD)
    until(lambda: call(client, "runs-ahead", version) and restored(server, "runs-ahead"))
    until(lambda: re.search(f"runs-ahead:{version} .*a copy of it runs although nothing is asked of it", said(server)))
    assert call(client, "runs-ahead", version) == 1
    assert call(client, "bystander") == "served"


NOT_SEALED_AHEAD = """
import select
if own:
    confine = own["sandbox"].attempt
    def attempt(steps, job):
        if "request" in job.fds and not select.select([job.fds["request"]], [], [], 0)[0]:
            steps = tuple(step for step in steps if step[0] != "seccomp")
        confine(steps, job)
    own["sandbox"].attempt = attempt
"""


def test_a_copy_that_is_not_sealed_while_it_waits_is_noticed_before_anybody_takes_it(server, client):
    version = publish(client, "waits-unsealed", NOT_SEALED_AHEAD)
    until(lambda: call(client, "waits-unsealed", version) and restored(server, "waits-unsealed"))
    until(lambda: re.search(f"waits-unsealed:{version} .*did not seal itself", said(server)))
    assert call(client, "waits-unsealed", version) == 1


def test_one_that_does_not_cheat_is_copied(server, client):
    """The control: what is done to the others is not done to it."""
    version = publish(client, "honest", "")
    until(lambda: call(client, "honest", version) and restored(server, "honest") >= 3)
    assert "honest:" not in said(server)


KEEPER = """
if own:
    kept = []
    receive = own["socket"].recv_fds
    class Keeping:
        def __getattr__(self, name):
            return getattr(socket, name)
        def recv_fds(self, *arguments):
            packet, fds, *rest = receive(*arguments)
            kept.extend(map(os.dup, fds))
            return (packet, fds, *rest)
    own["socket"] = Keeping()
    own["sandbox"].COPY = tuple(step for step in own["sandbox"].COPY if step[0] != "files")
"""


def test_a_template_keeps_nothing_of_its_copies(server, client):
    controls = {one["name"]: one for one in json.loads(server.get("/readyz")[1])["isolation"]["controls"]}
    if not controls["scratch"]["engaged"]:
        pytest.skip("there are no images to keep")
    version = publish(client, "keeper", KEEPER)

    def told():
        client.invoke(FunctionName="keeper", Qualifier=version)  # which may end with its template
        return re.search(f"keeper:{version} .*/tmp of a copy", said(server))

    until(told)
    assert call(client, "keeper", version) == 1
    assert call(client, "bystander") == "served"
