"""The confinement of a worker: an ordered list of named steps, run in the freshly forked child.

A step that fails ends the worker: nothing ever falls through to a weaker sandbox. What is left out was named in the
order, with its reason, and is told in ``wire.Confined.missing``. Why this order:

    cgroup          first, so that all that follows is accounted to the worker
    namespaces      mount, ipc, uts, cgroup (the pid namespace is the zygote's doing: it forked us into it)
    network         needs privilege over the namespace that is joined
    proc            shows this pid namespace only; needs privilege over it
    group           kill(0) must not reach the zygote
    tmp             /tmp and /dev/shm: while we may still mount
    hostname
    rules           of Landlock: made, not applied yet
    --- up to here nothing depends on the function: a blank without a gate waits here ---
    mounts          code, layers: while we may still mount; with a gate this mount namespace goes through it, to the
                    mounter, who mounts them there as soon as the function is known (``mounter``)
    user            [mode "user"] a user namespace of the worker's own: RLIMIT_NPROC counts per user and namespace, so
                    it comes before the limits; it takes away every right over the namespaces above, so it comes last
    limits
    identity        groups, ids
    privileges      no capability, no new ones by exec, not dumpable
    landlock
    descriptors     0 /dev/null, 1 and 2 log, 3 requests, 4 responses, nothing else but the gate
    directory       /var/task
    seccomp         last: it forbids most of the above

A blank with a gate is confined then, tells so, and has all of it behind itself when somebody waits. What depends on its
function else is there ahead: it has a uid of its own, and where limits depend on the function there is no gate. It goes
on to the function's code only when the gate says that its folders are there, and the gate is closed before.

A template runs the same steps, but for Landlock and with a wider filter: it must be able to fork copies with
namespaces of their own. A copy is born into new user, pid, ipc and mount namespaces, without privilege outside of
them, and completes what it shares with its template (COPY):

* cgroup          of its own
* user            the ids of the template
* cgroup_view
* proc
* tmp             /tmp and /dev/shm of its own
* rules
* bounds          a new user namespace comes with a full bounding set
* privileges
* landlock
* descriptors     pipes of its own
* files           positions of its own in what init has open for reading
* seccomp         the worker's filter, on top of the template's
"""

import contextlib
import errno
import os
import select
from collections.abc import Callable
from typing import NoReturn

from runtime import wire
from runtime.worker import channel, rights, views
from runtime.worker.job import Job, StepFailed

REFUSED = 70
"""Exit status of a worker whose confinement failed (EX_SOFTWARE)."""

Serve = Callable[[int, int, Callable[[], None] | None], NoReturn]
"""Serves requests of one descriptor by another, once the function's folders are there: that is what it may wait for."""

Step = tuple[str, Callable[[Job], None]]

PREPARE: tuple[Step, ...] = (
    ("cgroup", views.cgroup),
    ("namespaces", views.namespaces),
    ("network", views.network),
    ("proc", views.proc),
    ("group", views.group),
    ("tmp", views.tmp),
    ("hostname", views.hostname),
    ("rules", rights.rules),
)
"""Steps that need nothing of the function."""

SEAL: tuple[Step, ...] = (
    ("mounts", views.mounts),
    ("user", rights.user),
    ("limits", rights.limits),
    ("identity", rights.identity),
    ("privileges", rights.privileges),
    ("landlock", rights.paths),
    ("descriptors", rights.descriptors),
    ("directory", views.directory),
    ("seccomp", rights.calls),
)
"""Steps that make the worker the function's, and close the door."""

COPY: tuple[Step, ...] = (
    ("cgroup", views.cgroup),
    ("user", rights.own_user),
    ("cgroup_view", views.cgroup_view),
    ("proc", views.own_proc),
    ("tmp", views.tmp),
    ("rules", rights.rules),
    ("bounds", lambda _job: rights.drop_bounding_set()),
    ("privileges", rights.privileges),
    ("landlock", rights.paths),
    ("descriptors", rights.redirect),
    ("files", rights.files),
    ("seccomp", rights.calls),
)
"""Steps of a copy of a template."""

OPTIONAL = frozenset({"cgroup", "ipc", "uts", "cgroup_view", "network", "landlock", "seccomp"})
"""What an order may leave out; all else either works or there is no worker."""


def confine(job: Job, serve: Serve, rest: Callable[[], None]) -> NoReturn:
    """Confine this process and let it serve, or tell what stood in the way and exit; never returns.

    A process whose function is not known yet does ``rest``, which is for later's sake; without a gate it waits for
    wire.Seal then, and with one it is confined, and waits for its function's folders.
    """
    try:
        check(job)
        run(PREPARE, job)
        if job.is_blank:
            if not _is_asked_for(job):
                rest()
            if not job.has_gate:
                _complete(job)
        run(SEAL, job)
    except StepFailed as failed:
        _refuse(job, failed)
    os.write(rights.RESPONSE_FD, wire.encode(wire.Confined(job.missing)))
    serve(rights.REQUEST_FD, rights.RESPONSE_FD, await_folders if job.has_gate else None)


def _is_asked_for(job: Job) -> bool:
    """Return whether a blank is known already for which function: then there is somebody who waits for it."""
    poll = select.poll()
    poll.register(job.fds["request"], select.POLLIN)
    return bool(poll.poll(0))


def attempt(steps: tuple[Step, ...], job: Job) -> None:
    """Run steps, or tell which one failed and exit."""
    try:
        run(steps, job)
    except StepFailed as failed:
        _refuse(job, failed)


def _refuse(job: Job, failed: StepFailed) -> NoReturn:
    os.write(job.fds["response"], wire.encode(wire.Refused(failed.step, failed.errno, failed.reason)))
    os._exit(REFUSED)


def _complete(job: Job) -> None:
    """Complete the order of a blank as soon as it is known; exit where it is not wanted any more."""
    try:
        tag, *fields = channel.Channel(job.fds["request"], job.fds["response"]).receive()
    except channel.Closed:
        os._exit(0)
    if tag != wire.Seal.TAG:
        raise StepFailed("order", errno.EBADMSG, f"a blank was sent message {tag}")
    seal, order = wire.Seal(*fields), job.order
    order.uid, order.gid, order.folders, order.limits = seal.uid, seal.gid, seal.folders, seal.limits


def await_folders() -> None:
    """Wait until the folders of a function are there; exit where none are to come.

    What came of it is left in the gate, for whoever looks. Nobody is woken by that, as by an answer: who is might get
    this processor at once, and just now somebody waits for us.
    """
    answer = b""
    with contextlib.suppress(OSError):  # shut, because the mounter is gone, or with the supervisor
        answer = os.read(rights.GATE_FD, wire.GATE_LIMIT)
        os.write(rights.GATE_FD, answer)
    os.close(rights.GATE_FD)
    if answer != wire.PLACED:
        os._exit(REFUSED)


def check(job: Job) -> None:
    """Raise StepFailed where an order leaves out what it may not, or wants what cannot be."""
    for name in job.order.skip:
        if name not in OPTIONAL:
            raise StepFailed("order", errno.EINVAL, f"cannot be left out: {name}")
    if job.has_gate and (job.setting.mode == "bare" or not job.is_blank or job.is_template):
        raise StepFailed("order", errno.EINVAL, "nobody mounts anything for this one")
    if job.is_template and job.setting.mode == "bare":
        raise StepFailed("order", errno.EINVAL, "copies of a template need namespaces")


def run(steps: tuple[Step, ...], job: Job) -> None:
    """Run the steps that are not left out, in order; raise StepFailed at the first that fails."""
    for name, step in steps:
        if name in job.missing:
            continue
        try:
            step(job)
        except OSError as error:
            raise StepFailed(name, error.errno or 0, str(error)) from error
        except Exception as error:
            raise StepFailed(name, 0, f"{type(error).__name__}: {error}") from error
