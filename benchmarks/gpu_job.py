"""The process of one step: it imports and reads what the step needs, waits for its turn, and works."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from labelvae.system.whole_files import write_whole


@dataclass
class Job:
    """What a step is given.

    Attributes:
        name: of the step.
        data_dir: folder of the images.
        out: where pictures and weights go.
        scratch: folder of what the steps share and nobody keeps.
        rehearse: two batches of everything, on made-up images.
        seconds: the limit.
        end: when the limit is reached, by `time.time()`.
        result: what was found so far.
    """

    name: str
    data_dir: Path
    out: Path
    scratch: Path
    rehearse: bool
    seconds: float = 0.0
    end: float = 0.0
    result: dict[str, Any] = field(default_factory=dict)

    def left(self) -> float:
        """Seconds to the limit."""
        return self.end - time.time()

    def say(self, text: str) -> None:
        """Prints a line at once."""
        print(text, flush=True)

    def note(self, **found: Any) -> None:
        """Writes what was found down at once, beside what was found before."""
        self.result |= found
        write_whole(note_file(self.scratch, self.name), json.dumps(self.result) + "\n")


def note_file(scratch: Path, name: str) -> Path:
    """Where a step writes what it finds."""
    return scratch / f"{name}.json"


def ready_file(scratch: Path, name: str) -> Path:
    """What a step makes when it has imported and read all it needs."""
    return scratch / f"{name}.ready"


def work(argument: str) -> None:
    """A step's process: imports and reads, waits for a line on its standard input, and works."""
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    told = json.loads(argument)
    job = Job(told["name"], Path(told["data_dir"]), Path(told["out"]), Path(told["scratch"]), told["rehearse"])
    function = _function(told["work"])
    if told["before"]:
        _function(told["before"])(job)
    ready_file(job.scratch, job.name).touch()
    line = sys.stdin.readline()
    if not line:  # it is not its turn any more
        return
    job.seconds = float(line)
    job.end = time.time() + job.seconds
    job.note()
    function(job)
    sys.stdout.flush()
    os._exit(0)  # tearing everything down takes seconds, for nothing


def _function(name: str) -> Callable[[Job], None]:
    module, _, function = name.partition(":")
    found: Callable[[Job], None] = getattr(import_module(module), function)
    return found


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    work(sys.argv[1])
