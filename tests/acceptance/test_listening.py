"""Where the server listens, and what it says when it cannot."""

import socket

import pytest
from conftest import Server, create


def refusal(tmp_path, *options):
    server = Server(tmp_path / "state", "--insecure", *options)
    with pytest.raises(AssertionError) as caught:
        server.start()
    assert server.process.returncode == 2
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def test_a_port_that_is_taken_is_named_with_the_cure(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal(tmp_path, "--port", str(port))
    assert f"cannot listen on port {port} of 127.0.0.1: another program listens there" in said
    assert "choose another port with --port" in said


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_of_another_machine(tmp_path, host):
    said = refusal(tmp_path, "--host", host)
    assert f"this machine has no address {host}; choose another with --host" in said


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_an_address_of_ipv6_is_announced_as_a_url_that_works(tmp_path):
    server = Server(tmp_path / "state", "--host", "::1").start()
    try:
        assert server.url.startswith("http://[::1]:")
        client = server.client()
        create(client, "six", "def handler(event, context):\n    return 6\n")
        assert client.invoke(FunctionName="six")["Payload"].read() == b"6"
    finally:
        assert server.stop() == 0
