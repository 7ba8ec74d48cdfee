"""Runs of `labelvae train digits` in processes that are killed or run out of disk, and what they leave."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

DIGITS = ["-m", "labelvae", "train", "digits"]
MODELS = ("guide", "judge", "vae", "unguided")
WORDS = ["--out=out", "--accelerator=cpu", "--wandb=disabled", "--rounds=1", "--vae.optimization.epochs=6"]
WORDS += ["--guide.optimization.epochs=4", "--judge.optimization.epochs=4", "--data.test-share=0.05"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@dataclass
class Row:
    """A line of the table: faults of one kind, and what came of them."""

    kind: str
    injected: int = 0
    runs_lost: int = 0
    bytes_lost: int = 0
    silent_wrong_answers: int = 0
    refused: int = 0


class Example:
    """Processes of the run in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints: dict[str, tuple[int, int]] = {}

    def start(self, *words: str, file_size: int = 0) -> subprocess.Popen[bytes]:
        """A process; files larger than `file_size` cannot be written."""
        with (self.folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, *DIGITS, *WORDS, *words],
                cwd=self.folder,
                env=ENVIRONMENT,
                stdout=said,
                stderr=said,
            )
        if file_size:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file_size, file_size))
        return process

    def run(self, *words: str, file_size: int = 0) -> int:
        """The exit status of a process that nothing stops."""
        return self.start(*words, file_size=file_size).wait()

    def bytes_lost(self) -> int:
        """Bytes of checkpoints that no longer load, or are of an earlier epoch than one seen before."""
        lost = 0
        for name, (epoch, size) in list(self.checkpoints.items()):
            lost += 0 if (self._epoch(name) or (-1, 0))[0] >= epoch else size
        for name in MODELS:
            found = self._epoch(name)
            if found:
                self.checkpoints[name] = found
        return lost

    def weights(self) -> dict[str, torch.Tensor]:
        """Every weight that the run leaves."""
        return {
            f"{name}.{key}": value
            for name in MODELS
            for key, value in load_file(self.folder / "out" / name / "model.safetensors").items()
        }

    def _epoch(self, name: str) -> tuple[int, int] | None:
        path = self.folder / "out" / "checkpoints" / f"{name}.ckpt"
        try:
            return int(torch.load(path, map_location="cpu", weights_only=True)["epoch"]), path.stat().st_size
        except Exception:  # whatever a broken file makes the reader raise
            return None


def same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    """Whether all weights are equal, bit for bit."""
    return some.keys() == others.keys() and all(torch.equal(value, others[name]) for name, value in some.items())


def kills(work: Path, whole: dict[str, torch.Tensor], seconds: float, number: signal.Signals, count: int) -> Row:
    """Kills processes at random moments, each resuming what the one before left; anew when one gets through."""
    row, chance = Row(f"killed by {number.name}"), random.Random(number)
    example = Example(Path(tempfile.mkdtemp(dir=work)))
    while row.injected < count:
        process = example.start("--resume")
        try:
            process.wait(chance.uniform(0.0, 0.7 * seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            row.injected += 1
        status = process.wait()
        row.bytes_lost += example.bytes_lost()
        row.runs_lost += status not in (0, 128 + number, -number)
        if status == 0 or row.injected == count:
            row.runs_lost += example.run("--resume") != 0
            row.silent_wrong_answers += not same(example.weights(), whole)
            example = Example(Path(tempfile.mkdtemp(dir=work)))
    return row


def full_disk(work: Path, whole: dict[str, torch.Tensor], sizes: list[int], count: int) -> Row:
    """Runs on disks that take files up to some size, then on one with room."""
    row, chance = Row("disk full while writing"), random.Random(0)
    for _ in range(count):
        example = Example(Path(tempfile.mkdtemp(dir=work)))
        for _ in range(2):
            status = example.run("--resume", file_size=chance.randint(2_000, max(sizes)))
            row.injected += status != 0
            row.bytes_lost += example.bytes_lost()
            row.runs_lost += status not in (0, 2)
        row.runs_lost += example.run("--resume") != 0
        row.silent_wrong_answers += not same(example.weights(), whole)
    return row
