"""What the trainer costs a step: processor time of one thread, with and without a bar, a log and Lightning's checks.

    python benchmarks/loop_cost.py --out runs/loop_cost

A network of a few units makes the steps so short that their difference to a bare loop is the trainer's. Below are the
steps of the small model and of the digits preset, so that the cost can be read as a share. Processor time of a single
thread can also be measured on a busy machine.
"""

from __future__ import annotations

import json
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch

import models
import torch
import ways
from jsonargparse import auto_cli
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from machine import machine_line
from tables import table

from labelvae import ConditionalVAE, GuidedELBO, VAETraining
from labelvae.cli.parser import DashParser
from labelvae.runs.presets import DIGITS
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.process import environment
from labelvae.system.whole_files import write_whole
from labelvae.training.callbacks import Bar

CPU = torch.device("cpu")
COLUMNS = ["model", "way", "processor ms a step", "least", "over the loop, ms"]


def main(out: Path = Path("runs/loop_cost"), rounds: int = 5) -> None:
    """Measure, and write `loop_cost.md` and `loop_cost.json`.

    Args:
        out: Folder of the tables.
        rounds: Rounds of every comparison; medians and least count.
    """
    keep_freed_memory()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pixels, labels = torch.randint(256, (10_000, 1, 28, 28), dtype=torch.uint8), torch.randint(10, (10_000,))
    small, large = (
        ways.resident(pixels[..., :8, :8].contiguous(), labels, 64, CPU),
        ways.resident(pixels, labels, 128, CPU),
    )
    trainers = ("as shipped", "no bar", "no bar, no log", "barebones")
    todo: list[tuple[str, Any, Any, int, tuple[str, ...]]] = [
        ("a few units", tiny_task, small, 300, trainers),
        ("small fully connected", lambda: models.small_task(CPU), large, 60, trainers[:1]),
        ("digits preset", lambda: models._task(DIGITS, (1, 8, 8), CPU), small, 40, trainers[:1]),
    ]
    rows = []
    with environment(PYTORCH_NVML_BASED_CUDA_CHECK="0"), patch("ways.time.perf_counter", time.process_time):
        for name, make, loader, steps, kinds in todo:
            measured = {"bare loop": ways.loop(make(), loader, CPU)}
            measured |= {f"Trainer.fit, {kind}": fitted(make(), loader, kind) for kind in kinds}
            found: dict[str, list[float]] = {way: [] for way in measured}
            for turn in range(rounds + 1):
                for way, run in measured.items():
                    found[way] += [1e3 * run(steps) / steps] if turn else [run(3)][:0]
            base = statistics.median(found["bare loop"])
            for way, values in found.items():
                middle = statistics.median(values)
                row = {"model": name, "way": way, "processor ms a step": middle, "least": min(values)}
                rows.append(row | {"over the loop, ms": middle - base})
    text = f"{machine_line()}\n\n{table(rows, {name: name for name in COLUMNS})}\n"
    write_whole(out / "loop_cost.json", json.dumps({"head": machine_line(), "rows": rows}, indent=2) + "\n")
    write_whole(out / "loop_cost.md", text)
    print(text)


def tiny_task() -> VAETraining:
    """A fully connected model of a few units."""
    sizes: dict[str, Any] = {"latent_dim": 4, "encoder_widths": (), "decoder_widths": (), "hidden_dim": 8}
    return VAETraining(ConditionalVAE((1, 8, 8), 10, decoder_label="onehot", **sizes), GuidedELBO())


def fitted(task: VAETraining, loader: Any, kind: str) -> ways.Way:
    """`Trainer.fit` with less and less around the steps."""

    def run(steps: int) -> float:
        clock = ways.Clock(CPU)
        how: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "max_epochs": 1}
        with tempfile.TemporaryDirectory() as folder:
            if kind == "barebones":
                how |= {"barebones": True}
            else:
                how |= {"enable_checkpointing": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
                how |= {"logger": False if "no log" in kind else CSVLogger(folder)}
                how |= {"log_every_n_steps": 10**6 if "no log" in kind else 20}
                how |= {"enable_progress_bar": kind == "as shipped", "callbacks": [Bar()] * (kind == "as shipped")}
            trainer = Trainer(**how)
            trainer.callbacks.append(clock)  # type: ignore[attr-defined]  # barebones takes none
            trainer.fit(task, ways.Looped(loader, steps + ways.SKIPPED))
        return clock.seconds

    return run


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
