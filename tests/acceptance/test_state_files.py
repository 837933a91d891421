"""What a server leaves on disk is for nobody else to read."""

import json
import stat

import pytest
from conftest import Server, create, until

READABLE = ("code", "sdk")
"""What workers see, under uids of their own: below a folder that nobody else can enter."""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)
    one = Server(tmp_path / "state").start()
    yield one
    assert one.stop() == 0


def test_nobody_else_can_read_the_state(own):
    client = own.client()
    create(client, "f", "def handler(event, context):\n    print('private')\n    return 1", Timeout=10)
    assert json.load(client.invoke(FunctionName="f")["Payload"]) == 1
    client.invoke(FunctionName="f", InvocationType="Event")
    until(lambda: list((own.state_dir / "logs").rglob("*.log")))
    bare = "mode bare" in own.get("/readyz")[1].decode()
    assert stat.S_IMODE(own.state_dir.stat().st_mode) == (0o711 if bare else 0o700), "it was open before"
    files = [path for path in own.state_dir.rglob("*") if path.relative_to(own.state_dir).parts[0] not in READABLE]
    names = {path.name for path in files}
    assert {"hotfork.db", "events.db", "lock"} <= names
    exposed = {str(path): oct(path.stat().st_mode) for path in files if path.stat().st_mode & 0o077 and path.is_file()}
    assert exposed == {}
