"""A rig whose sandbox fails or hangs where the ordered hostname says so: "fail.STEP", "hang.STEP"."""

import contextlib
import shutil

import sandbox_rig

from runtime.worker import sandbox

STEPS = [name for name, _ in sandbox.PREPARE + sandbox.SEAL if name != "cgroup"]
COPY_STEPS = [name for name, _ in sandbox.COPY if name != "cgroup"]

_SABOTAGE = """

def _sabotaged(name, step):
    def run(job):
        if job.order.hostname == f"fail.{name}":
            raise OSError(1, "sabotage")
        if job.order.hostname == f"hang.{name}":
            os.write(job.fds.get("log", 1), b"here")
            os.read(job.fds.get("request", 3), 1)
        step(job)
    return name, run

PREPARE = tuple(_sabotaged(*step) for step in PREPARE)
SEAL = tuple(_sabotaged(*step) for step in SEAL)
COPY = tuple(_sabotaged(*step) for step in COPY)
"""


@contextlib.asynccontextmanager
async def rig(folder, mode):
    """A rig as sandbox_rig's, on a copy of our packages with the sabotage at the end of the sandbox."""
    library = folder / "library"
    shutil.copytree(sandbox_rig.library(), library)
    with (library / "runtime/worker/sandbox.py").open("a") as file:
        file.write(_SABOTAGE)
    sandbox_rig.open_to_all(folder)
    async with sandbox_rig.rig(folder, mode, library=str(library)) as one:
        yield one
