"""What a scenario is given: the options of the command line, and where to get a server."""

import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import harness, machine, result


class Unsuitable(Exception):
    """The options do not allow this scenario; says why, and what would."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Options, and how to report progress."""

    duration_s: float = 5.0
    """Of one run; a scenario makes several."""
    repeat: int = 3
    """Runs of each load, interleaved with the others."""
    isolation: str = "auto"
    target: str | None = None
    """URL of a server that runs already."""
    function: str | None = None
    """A function that exists there, to measure instead of our own."""
    body: str | None = None
    """What to send it."""
    count: int | None = None
    """How many, where a scenario has a number of its own: workers, functions, invocations."""
    trace: Path | None = None
    """Folder of the Azure trace."""
    install_peers: bool = False
    """Whether peers may be installed from PyPI and npm."""
    peers: tuple[tuple[str, str], ...] = ()
    """Names and URLs of servers to measure beside ours."""
    say: Callable[[str], None] = lambda _text: None
    between: Callable[[], None] = lambda: None
    """Called between two repetitions of a scenario's loads."""

    def turns(self) -> Iterator[int]:
        """Yield the number of each repetition."""
        for turn in range(self.repeat):
            if turn:
                self.between()
            yield turn

    @contextlib.contextmanager
    def server(self, settings: str = "", state_dir: Path | None = None) -> Iterator[harness.Server]:
        """Start a server with these settings (TOML), or use the one that was given; raise NotReady."""
        with contextlib.ExitStack() as stack:
            if self.target is not None:
                yield stack.enter_context(harness.attach(self.target))
                return
            self.say("starting hotfork")
            yield stack.enter_context(harness.serve(self.isolation, settings, state_dir))

    def demand_own_server(self, reason: str) -> None:
        """Raise Unsuitable where a server was given."""
        if self.target is not None or self.function is not None:
            raise Unsuitable(f"needs a server of its own ({reason}): leave out --target and --function")

    def result(
        self, scenario: str, title: str, server: harness.Server | None, environment: machine.Environment, **found: Any
    ) -> result.Result:
        """Return a result document; ``environment`` as it was at the start."""
        notes = list(found.pop("notes", ()))
        if environment.busy:
            notes.insert(0, f"The machine was busy at the start: load average {environment.load_average}.")
        return result.Result(
            scenario=scenario,
            title=title,
            command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
            environment=environment,
            isolation=server.confinement if server is not None else "none",
            notes=notes,
            **found,
        )
