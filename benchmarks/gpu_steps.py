"""Steps one after the other, each in a process and under a time limit of its own; what one leaves, no other can take.

While a step works, the process of the next one is started, imports what it needs and reads its images. What a step
finds stands in `summary.json` a moment later, written whole, so that a kill at any time leaves what was done.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from gpu_job import note_file, ready_file

from labelvae.system.whole_files import write_whole

HEARTBEAT = 5.0
"""Seconds after which a line says that a silent step is still at work."""
EARLY = 5.0
"""Seconds after the start of a step at which the process of the next one is started."""
READY = 90.0
"""Seconds that a step may take to import and read what it needs, before its limit counts."""
GRACE = 1.1
"""A step plans with its limit and is stopped at this many times it."""


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: what `--only` and `--then` call it.
        seconds: its limit; what it leaves of it falls to the last steps.
        work: "module:function", called with a `Job`.
        before: a function called with the same job before the step's time begins; it reads images.
    """

    name: str
    seconds: float
    work: str
    before: str = ""


class _Running:
    """The process of a step."""

    def __init__(self, step: Step, told: dict[str, Any], say: Callable[[str, str], None]) -> None:
        argument = json.dumps(told | {name: asdict(step)[name] for name in ("name", "work", "before")})
        command = [sys.executable, str(Path(__file__).with_name("gpu_job.py").resolve()), argument]
        self.step, self.say = step, say
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.last: list[str] = []
        self.heard = self.started = time.monotonic()
        self.limit = 0.0
        self.begun = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text := line.rstrip():
                self.heard = time.monotonic()
                self.last = [*self.last[-19:], text]
                self.say(self.step.name, text)

    def go(self, seconds: float) -> None:
        self.begun = True
        self.started = self.heard = time.monotonic()
        self.limit = seconds
        self.say(self.step.name, f"begins, {seconds:.0f} s")
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it ended before its turn; the exit status says how
            self.process.stdin.write(f"{seconds}\n")
            self.process.stdin.close()

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def stop(self) -> None:
        for how, wait in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(wait)
                break
        self.reader.join(1.0)

    def ended(self) -> dict[str, Any] | None:
        """How it ended, or None."""
        if not self.begun:
            return None
        code = self.process.poll()
        late = self.seconds() > GRACE * self.limit
        if code is None and not late:
            return None
        self.stop()  # also what it has started
        self.reader.join(2.0)
        ends = {"seconds": round(self.seconds(), 1)}
        if code is None:
            return ends | {"status": "stopped at its limit", "error": f"more than {self.limit:.0f} s"}
        if code == 0:
            return ends | {"status": "done"}
        return ends | {"status": "failed", "error": "\n".join([f"exit status {code}", *self.last])}


class Runner:
    """Runs steps and keeps `summary.json` and `log.txt`.

    Args:
        out: folder of everything that is kept.
        scratch: folder of what is not.
        told: `data_dir` and `rehearse`, for the steps.
        minutes: the time for everything.
        facts: what else stands in the summary.
    """

    def __init__(
        self, out: Path, scratch: Path, told: dict[str, Any], minutes: float, facts: dict[str, Any] | None = None
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.scratch = out, scratch
        self.told = told | {"out": str(out), "scratch": str(scratch)}
        self.began, self.total = time.monotonic(), 60.0 * minutes
        self.summary: dict[str, Any] = {**(facts or {}), "minutes": minutes, "steps": {}}
        self.running: list[_Running] = []
        self.waiting: _Running | None = None
        self.log: TextIO = (out / "log.txt").open("w")
        self.written = ""

    def left(self) -> float:
        """Seconds to the end of everything."""
        return self.total - (time.monotonic() - self.began)

    def say(self, name: str, text: str) -> None:
        """Prints a line with the seconds gone and left, and keeps it."""
        line = f"[{self.total - self.left():5.0f} s, {self.left():4.0f} left] {name}: {text}"
        print(line, flush=True)
        self.log.write(line + "\n")
        self.log.flush()

    def run(self, steps: Sequence[Step], then: Sequence[Step] = ()) -> dict[str, Any]:
        """Runs `steps` in their order, and `then` in what is left of the time; returns the summary."""
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, _stop)
        for step in (*steps, *then):
            self.summary["steps"][step.name] = {"status": "not reached"}
        self._write()
        try:
            for place, step in enumerate(steps):
                self._one(step, [*steps[place + 1 :], *then][:1])
            for place, step in enumerate(then):
                share = replace(step, seconds=self.left() / GRACE / (len(then) - place))
                self._one(share, then[place + 1 : place + 2])
            while self.running:
                self._look()
        finally:
            if self.waiting:
                self.waiting.stop()
            while self.running:
                each = self.running.pop()
                each.stop()
                self._end(each, {"status": "stopped with the run", "seconds": round(each.seconds(), 1)})
            self.summary["seconds"] = round(self.total - self.left(), 1)
            self._write()
        return self.summary

    def _start(self, step: Step) -> _Running | None:
        if self.left() < 1.0:
            return None
        mine = self.waiting if self.waiting and self.waiting.step.name == step.name else self._made(step)
        mine.step, self.waiting = step, None
        self.running.append(mine)
        return mine

    def _made(self, step: Step) -> _Running:
        ready_file(self.scratch, step.name).unlink(missing_ok=True)
        return _Running(step, self.told, self.say)

    def _one(self, step: Step, following: Sequence[Step]) -> None:
        mine = self._start(step)
        while mine in self.running:
            if following and not self.waiting and mine is not None and mine.begun and mine.seconds() > EARLY:
                self.waiting = self._made(following[0])
            self._look()

    def _look(self) -> None:
        time.sleep(0.2)
        for each in list(self.running):
            ended = each.ended()
            if ended is not None:
                self.running.remove(each)
                self._end(each, ended)
            elif not each.begun and (
                each.seconds() > READY or each.process.poll() is not None or self._ready(each) or self.left() < 1
            ):
                each.go(max(0.5, min(each.step.seconds, self.left() / GRACE)))
            elif time.monotonic() - each.heard > HEARTBEAT:
                each.heard = time.monotonic()
                self.say(each.step.name, f"at work for {each.seconds():.0f} s of {each.limit:.0f} s")
        self._write()

    def _ready(self, each: _Running) -> bool:
        return ready_file(self.scratch, each.step.name).is_file()

    def _end(self, each: _Running, ended: dict[str, Any]) -> None:
        self.summary["steps"][each.step.name] = ended
        self._write()
        why = f": {ended['error'].splitlines()[-1]}" if "error" in ended else ""
        self.say(each.step.name, f"{ended['status']} after {ended['seconds']} s{why}")

    def _write(self) -> None:
        for each in self.running:
            self.summary["steps"][each.step.name] = {"status": "at work"}
        for name, step in self.summary["steps"].items():
            path = note_file(self.scratch, name)
            if step["status"] != "not reached" and path.is_file():
                step["result"] = json.loads(path.read_text())
        text = json.dumps(self.summary, indent=1) + "\n"
        if text != self.written:
            write_whole(self.out / "summary.json", text)
            self.written = text


def _stop(sign: int, _: FrameType | None) -> None:
    raise SystemExit(128 + sign)
