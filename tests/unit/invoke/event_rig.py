"""Events on a real file, with functions and targets that the test plays."""

import asyncio
import collections
import contextlib
import itertools
import json

from runtime import errors, model, observer
from runtime.invoke import admission, dead_letters, endings, events
from runtime.invoke.destinations import aws, record
from runtime.invoke.queue import bounds, letters, sqlite

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
TOPIC = "arn:aws:sns:us-east-1:000000000000:t"
BASE_S = 0.03
DEADLINE_S = 20


def version(name, number="$LATEST"):
    return model.Version(
        function_name=name,
        version=number,
        function_arn=ARN + name,
        runtime="python3.11",
        handler="h.f",
        code_sha256="",
        code_path="/",
        log_group=f"/aws/lambda/{name}",
        generation="1",
    )


def returned(payload=b"1"):
    return model.Outcome(status=model.Status.SUCCESS, payload=payload)


def raised(kind="ValueError", message="no"):
    document = json.dumps({"errorMessage": message, "errorType": kind}).encode()
    return model.Outcome(status=model.Status.ERROR, payload=document, error_type=kind, log_tail=b"the log")


class Calls:
    """Plays the invoker. A function is a callable: from the invocation to an outcome, an error, or None to hold it."""

    def __init__(self, loop):
        self.loop = loop
        self.places = admission.Admission(1000)
        self.functions = {}
        self.seen = []
        self.held = []
        self.running = collections.Counter()
        self.most = collections.Counter()

    def resolve(self, name, qualifier):
        if name not in self.functions:
            raise errors.ResourceNotFound(f"Function not found: {name}")
        return version(name, qualifier if qualifier and qualifier.isdigit() else "$LATEST")

    def submit(self, invocation, on_outcome, on_refused):
        name = invocation.version.function_name
        reason = self.places.admit(name)
        if reason is not None:
            raise errors.TooManyRequests(reason)
        self.seen.append(invocation)
        self.running[name] += 1
        self.most[name] = max(self.most[name], self.running[name])

        def end(result):
            self.places.release(name)
            self.running[name] -= 1
            (on_refused if isinstance(result, errors.HotforkError) else on_outcome)(result)

        result = self.functions[name](invocation)
        if result is None:
            self.held.append(end)
        else:
            self.loop.call_soon(end, result)

    def runs(self, name):
        return [one for one in self.seen if one.version.function_name == name]


class Functions:
    """Plays the registry."""

    def __init__(self):
        self.configs = {}
        self.queues = {}
        self.known = set()
        self.looping = set()

    def may_loop(self, name):
        return name in self.looping

    def event_config(self, name, qualifier):
        return self.configs.get((name, qualifier or "$LATEST"))

    def dead_letter_queue(self, name, _qualifier):
        return self.queues.get(name)

    def function_arn(self, name, qualifier):
        return ARN + name + (f":{qualifier}" if qualifier else "")

    def target(self, arn):
        name, _, qualifier = arn.removeprefix(ARN).partition(":")
        if name not in self.known:
            raise errors.ResourceNotFound(f"Function not found: {arn}")
        return name, qualifier or None

    def send(self, name, *, success=None, failure=None, qualifier="$LATEST", **config):
        destinations = {"OnSuccess": success, "OnFailure": failure}
        self.configs[name, qualifier] = {
            **config,
            "DestinationConfig": {key: {"Destination": arn} for key, arn in destinations.items() if arn},
        }


class Sender:
    """Plays AWS: ``faults`` are raised one after the other, for as long as there are any, by target."""

    def __init__(self):
        self.sent = []
        self.faults = collections.defaultdict(list)
        self.away = set()
        self.tried = collections.Counter()

    def send(self, ending, payload):
        self.tried[ending.target] += 1
        if ending.target in self.away:
            raise aws.Undelivered("connection refused")
        if self.faults[ending.target]:
            raise self.faults[ending.target].pop(0)
        self.sent.append((ending, payload))

    def to(self, target):
        return [(ending, payload) for ending, payload in self.sent if ending.target == target]


class Counting(observer.Silent):
    def __init__(self):
        self.counts = collections.Counter()
        self.ages = []

    def invocation_throttled(self, name, reason):
        self.counts["throttled", name, reason] += 1

    def event_received(self, name):
        self.counts["received", name] += 1

    def event_tried(self, name, age_s):
        self.counts["tried", name] += 1
        self.ages.append(age_s)

    def event_retried(self, name, cause):
        self.counts["retried", name, cause] += 1

    def event_ended(self, name, condition):
        self.counts["ended", name, condition] += 1

    def event_undelivered(self, name, *, queue):
        self.counts["undelivered", name, queue] += 1

    def event_buried(self, name):
        self.counts["buried", name] += 1


class Rig:
    """One life of the queue on the file in ``folder``."""

    def __init__(self, folder, *, queue=None, letters_kept=1000, **limits):
        self.loop = asyncio.get_running_loop()
        self.store = sqlite.SqliteQueue(folder / "events.db", letters=letters_kept, letters_size=10**9)
        self.calls = Calls(self.loop)
        self.functions = Functions()
        self.sender = Sender()
        self.listener = Counting()
        self.requests = itertools.count(1)
        self.events = events.Events(
            self.store,
            self.calls,
            self.functions,
            self.sender,
            self.listener,
            events.Limits(queue=queue or bounds.Bounds(), **{"base_delay_s": BASE_S, **limits}),
            new_request_id=lambda: f"new-{next(self.requests)}",
        )
        self.dead = dead_letters.DeadLetters(self.events)

    def function(self, name, behaviour=lambda _invocation: returned(), **places):
        self.calls.functions[name] = behaviour
        self.functions.known.add(name)
        if places:
            self.calls.places.reserve(name, places["reserved"])

    async def accept(self, name="f", payload=b"{}", **about):
        """Hand an event in and wait until it is on disk; return its request id."""
        done = self.loop.create_future()
        about = endings.About(**{"request_id": f"request-{next(self.requests)}", **about})
        self.events.accept(
            name,
            about,
            payload,
            on_accepted=lambda: done.set_result(about.request_id),
            on_refused=done.set_exception,
        )
        return await done

    async def accept_many(self, count, name="f"):
        for _ in range(count):
            await self.accept(name)

    async def let_go(self):
        """Let all that is held return, until nothing is left."""

        def empty():
            while self.calls.held:
                self.calls.held.pop()(returned())
            return self.events.depth == 0

        await self.until(empty)

    async def quiet(self):
        """Wait until nothing waits, runs or is to be delivered."""
        await self.until(lambda: not self.events.backlogs())

    async def until(self, condition):
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.002)

    async def letters(self):
        """Return all letters, oldest first."""
        found = await self.dead.newest(letters.Filter(), 1000)
        return [await self.dead.get(one.id) for one in reversed(found)]

    def deliver(self, ending, payload):
        """Return what a destination gets."""
        return json.loads(record.invocation_record(ending, payload))


@contextlib.asynccontextmanager
async def running(folder, **options):
    rig = Rig(folder, **options)
    await rig.events.start()
    try:
        yield rig
    finally:
        await rig.events.close()
