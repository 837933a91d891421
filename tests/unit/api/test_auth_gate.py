"""The gates without a socket: what passes, when, and what a bug behind them does."""

import base64
import json

import pytest
import signers

from runtime import config
from runtime.api import heads, http
from runtime.api.auth import access, gate, keys, pages, policy, sigv4
from runtime.registry import names

SITE = names.Site()
GROUPS = {"hello": "/aws/lambda/hello", "other": "/shared"}
EVERYTHING = policy.parse(
    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}, "test"
)
ALICE = keys.Principal(arn="arn:aws:iam::000000000000:user/alice", name="alice", policies=(EVERYTHING,))
BOB = keys.Principal(arn="arn:aws:iam::000000000000:user/bob", name="bob", policies=())


class Channel(http.Channel):
    def __init__(self):
        super().__init__(heads.Dates(lambda: 0))
        self.sent = b""
        self.peer = "192.0.2.7"

    def send(self, exchange, data, last):
        self.sent += data


class Ring:
    def __init__(self):
        self.keys = {"AKIAALICE": keys.Key("AKIAALICE", "a" * 40, ALICE), "AKIABOB": keys.Key("AKIABOB", "b" * 40, BOB)}

    def find(self, access_key_id, token):
        return self.keys.get(access_key_id) if token is None else None


class World:
    """A signed gate, and what came through."""

    def __init__(self, **switches):
        self.passed = []
        self.tasks = []
        self.statements = None
        ring = Ring()
        verifier = sigv4.Verifier(ring, region=signers.REGION, clock=lambda: signers.NOW)
        authority = access.Authority(SITE, lambda _: self.statements, lambda: signers.NOW)
        rules = pages.Rules(config.Auth(**switches), SITE, GROUPS.__getitem__, signed=True)
        self.gate = gate.Signed(verifier, ring, authority, rules, self.tasks.append)

    def exchange(self, **changes):
        method, path, query, headers, body = signers.wire(**{"key_id": "AKIAALICE", "secret": "a" * 40, **changes})
        made = http.Exchange(Channel(), method, path, query, headers, True, False)
        made.body = body
        return made

    def admit(self, exchange):
        self.gate.admit(exchange, lambda *passed: self.passed.append(passed))
        return status(exchange)

    def page(self, path, method="GET", **changes):
        exchange = self.exchange(method=method, path=path, body=b"", **changes)
        self.gate.admit_page(exchange, lambda: self.passed.append(path))
        return status(exchange)


def status(exchange):
    return int(exchange._channel.sent.split()[1]) if exchange._channel.sent else None


def test_a_caller_that_passed_is_known():
    world = World()
    assert world.admit(world.exchange()) is None
    exchange, caller = world.passed.pop()
    assert caller.principal is ALICE
    caller.demand("lambda:InvokeFunction", "arn:aws:lambda:us-east-1:000000000000:function:hello")
    assert exchange.untouched


def test_who_does_not_pass_is_answered():
    world = World()
    assert world.admit(world.exchange(secret="x" * 40)) == 403
    assert not world.passed


async def test_a_large_body_is_hashed_beside_the_loop():
    world = World()
    body = bytes(gate.INLINE + 1)
    exchange = world.exchange(body=body)
    assert world.admit(exchange) is None
    assert not world.passed
    await world.tasks.pop()
    assert world.passed.pop()[1].principal is ALICE
    exchange = world.exchange(body=body)
    exchange.body = bytes(gate.INLINE) + b"x"
    world.admit(exchange)
    await world.tasks.pop()
    assert status(exchange) == 403
    assert not world.passed


async def test_a_caller_that_left_while_its_body_was_hashed_is_not_served():
    world = World()
    exchange = world.exchange(body=bytes(gate.INLINE + 1))
    world.admit(exchange)
    exchange.disconnected = True
    await world.tasks.pop()
    assert not world.passed


async def test_a_large_body_of_nobody_is_not_even_hashed():
    world = World()
    assert world.admit(world.exchange(key_id="AKIANOBODY", body=bytes(gate.INLINE + 1))) == 403
    assert not world.tasks


async def test_a_bug_behind_the_gate_is_one_requests_bug():
    world = World()
    exchange = world.exchange(body=bytes(gate.INLINE + 1))

    def fail(*_):
        raise ZeroDivisionError

    world.gate.admit(exchange, fail)
    await world.tasks.pop()
    assert status(exchange) == 500


@pytest.mark.parametrize(
    ("switches", "path", "expected"),
    [
        ({}, "/metrics", None),
        ({}, "/healthz", None),
        ({"metrics": "off"}, "/metrics", 404),
        ({"health": "signed"}, "/readyz", None),
        ({}, "/_hotfork/logs/hello", None),
        ({}, "/_hotfork/events/queue", None),
        ({"console": "off"}, "/console", 404),
        ({"console": "off"}, "/_hotfork/anything/new", 404),
    ],
)
def test_who_signs_sees_the_pages_that_there_are(switches, path, expected):
    assert World(**switches).page(path) == expected


def test_nobody_learns_by_a_page_which_functions_there_are():
    world = World()
    for function in ("hello", "absent"):
        assert world.page(f"/_hotfork/logs/{function}", secret="x" * 40) == 403
        exchange = world.exchange(method="GET", path=f"/_hotfork/logs/{function}", body=b"")
        del exchange.headers["authorization"]
        world.gate.admit_page(exchange, lambda: world.passed.append("page"))
        assert status(exchange) == 401
    assert not world.passed


@pytest.mark.parametrize("path", ["/metrics", "/_hotfork/logs/hello", "/_hotfork/events/queue", "/console", "/new"])
def test_who_may_not_see_a_page_does_not(path):
    world = World()
    bob = {"key_id": "AKIABOB", "secret": "b" * 40}
    assert world.page(path, **bob) == 403
    assert world.page("/_hotfork/events/purge", "POST", **bob) == 403
    assert not world.passed
    assert world.page("/healthz", **bob) is None


def test_a_password_is_good_for_reading_only():
    world = World()
    for method, expected in (("GET", None), ("HEAD", None), ("POST", 401)):
        exchange = world.exchange(method=method, path="/_hotfork/events/purge", body=b"")
        exchange.headers["authorization"] = "Basic " + _basic("AKIAALICE", "a" * 40)
        world.gate.admit_page(exchange, lambda: world.passed.append("page"))
        assert status(exchange) == expected, method


def _basic(name, password):
    return base64.b64encode(f"{name}:{password}".encode()).decode()


def test_a_log_is_that_of_its_group_whatever_the_function_is_called():
    rules = pages.Rules(config.Auth(), SITE, GROUPS.__getitem__, signed=True)
    for function, group in GROUPS.items():
        rule = rules.of("GET", f"/_hotfork/logs/{function}")
        arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:log-stream:"
        assert (rule.mode, rule.action, rule.resource()) == ("signed", "logs:FilterLogEvents", arn)


def test_the_policy_of_a_resource_is_read_once_while_it_stays():
    world = World()
    resource = "arn:aws:lambda:us-east-1:000000000000:function:hello"
    statement = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": resource, "Principal": "*"}
    world.statements = {"s": statement}
    authority = world.gate._authority
    first = authority.on(resource)
    assert authority.on(resource) is first
    world.statements = {"s": statement}
    assert authority.on(resource) is not first
    world.statements = {}
    assert authority.on(resource) is None


class Opened:
    def __init__(self, *, loopback=True, **switches):
        rules = pages.Rules(config.Auth(**switches), SITE, GROUPS.__getitem__, signed=False)
        self.gate = gate.Open(rules, loopback=loopback)

    def admit(self, **headers):
        exchange = http.Exchange(Channel(), "POST", "/2015-03-31/functions/", "", headers, True, False)
        passed = []
        self.gate.admit(exchange, lambda *given: passed.append(given))
        if passed:
            assert passed == [(exchange, None)]
            return True
        assert status(exchange) == 403
        assert "Message" in json.loads(exchange._channel.sent.rpartition(b"\r\n\r\n")[2])
        return False


@pytest.mark.parametrize(
    "host", ["127.0.0.1:3001", "127.0.0.2", "localhost:1", "LocalHost.", "a.b.localhost:9", "[::1]:3001"]
)
def test_an_open_gate_knows_this_machines_names(host):
    opened = Opened()
    assert opened.admit(host=host)
    assert opened.admit(host=host, origin=f"http://{host}")
    assert not opened.admit(host=host, origin="http://evil.example")
    assert opened.admit()


@pytest.mark.parametrize("host", ["evil.example", "10.0.0.1:3001", "localhost.evil.example", "[::2]", "", "localhostx"])
def test_an_open_gate_knows_no_other_name_while_it_is_this_machines(host):
    assert not Opened().admit(host=host)
    elsewhere = Opened(loopback=False)
    assert elsewhere.admit(host=host)
    assert not elsewhere.admit(host=host, origin="http://other.example")


def test_hosts_that_are_remembered_are_bounded():
    opened = Opened()
    for number in range(200):
        assert opened.admit(host=f"x{number}.localhost")
    assert len(opened.gate._local) <= 64


def test_an_open_gate_shows_pages_that_are_open():
    for switches, path, expected in (
        ({}, "/metrics", None),
        ({"metrics": "off"}, "/metrics", 404),
        ({"console": "off"}, "/console", 404),
    ):
        exchange = http.Exchange(Channel(), "GET", path, "", {"host": "localhost"}, True, False)
        Opened(**switches).gate.admit_page(exchange, lambda: None)
        assert status(exchange) == expected
