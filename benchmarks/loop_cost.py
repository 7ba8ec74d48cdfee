"""What the trainer costs a step: processor time of one thread, with and without a bar, a log and Lightning's checks.

    python benchmarks/loop_cost.py --out runs/loop_cost
    python benchmarks/loop_cost.py --out runs/loop_cost --models '[small fully connected]' --clock wall

A network of a few units makes the steps so short that their difference to a bare loop is the trainer's. Below are the
steps of the small model and of the digits preset, so that the cost can be read as a share. Processor time of a single
thread can also be measured on a busy machine. All ways of a model are run in turn, round after round; a ratio is to the
bare loop of the same round, and above 1 is faster. pythae's row needs `pip install pythae`.

"k at once" are k optimizer steps in one step of Lightning, on batches that the loader gives one by one, or cut from a
large one. It is a trial, and not in the library.
"""

from __future__ import annotations

import json
import logging
import statistics
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
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
COLUMNS = ["model", "way", "ms a step", "least", "over the loop, ms", "ratio", "ratio, least", "ratio, most"]
Model = Literal["a few units", "small fully connected", "digits preset"]
AT_ONCE = {"a few units": 32, "small fully connected": 5, "digits preset": 2}
"""Optimizer steps that together last about 50 ms."""


def main(
    out: Path = Path("runs/loop_cost"),
    rounds: int = 5,
    models: list[Model] = ["a few units", "small fully connected", "digits preset"],  # noqa: B006  read only
    clock: Literal["processor", "wall"] = "processor",
) -> None:
    """Measure, and write `loop_cost.md` and `loop_cost.json`.

    Args:
        out: folder of the tables.
        rounds: rounds of every comparison; medians and least count.
        models: the models whose steps are timed.
        clock: processor time, or seconds on the wall, for a machine that does nothing else.
    """
    keep_freed_memory()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pixels, labels = torch.randint(256, (10_000, 1, 28, 28), dtype=torch.uint8), torch.randint(10, (10_000,))
    made = {size: pixels[..., :size, :size].contiguous() for size in (8, 28)}
    rows = []
    timer = time.process_time if clock == "processor" else time.perf_counter
    with environment(PYTORCH_NVML_BASED_CUDA_CHECK="0"), patch("ways.time.perf_counter", timer):
        for name in models:
            make, size, batch_size, steps, kinds = COMPARED[name]
            count = AT_ONCE[name]
            loader = ways.resident(made[size], labels, batch_size, CPU)
            larger = ways.resident(made[size], labels, batch_size * count, CPU)
            grouped = {"": ways.Grouped(loader, count), ", cut": ways.Grouped(larger, count, batch_size)}
            measured = {"bare loop": ways.loop(make(VAETraining), loader, CPU)}
            measured |= {f"Trainer.fit, {kind}": fitted(make(VAETraining), loader, kind) for kind in kinds}
            for how, lists in grouped.items():
                way = f"Trainer.fit, {count} at once{how}"
                measured[way] = fitted(make(ways.Several), lists, "as shipped", count)
            if name == "small fully connected":
                measured["bare loop, default Adam"] = ways.loop(make(VAETraining), loader, CPU, fused=False)
                measured["Trainer.fit, default Adam"] = fitted(make(ways.SameAdam), loader, "as shipped")
                with suppress(ImportError):
                    theirs = ways.pythae_trainer(make(VAETraining), made[size], labels, batch_size, steps)
                    measured["pythae's trainer"] = theirs
            found: dict[str, list[float]] = {way: [] for way in measured}
            for turn in range(rounds + 1):
                for way, run in measured.items():
                    found[way] += [1e3 * run(steps) / steps] if turn else [run(3)][:0]
            base = statistics.median(found["bare loop"])
            for way, values in found.items():
                ratios = sorted(bare / own for bare, own in zip(found["bare loop"], values, strict=True))
                middle = statistics.median(values)
                row = {"model": name, "way": way, "ms a step": middle, "least": min(values)}
                row |= {"over the loop, ms": middle - base, "ratio": statistics.median(ratios)}
                rows.append(row | {"ratio, least": ratios[0], "ratio, most": ratios[-1]})
            print(table(rows, {column: column for column in COLUMNS}), flush=True)
    head = f"{machine_line('pythae')}; {clock} time, {rounds} rounds"
    write_whole(out / "loop_cost.json", json.dumps({"head": head, "rows": rows}, indent=2) + "\n")
    write_whole(out / "loop_cost.md", f"{head}\n\n{table(rows, {name: name for name in COLUMNS})}\n")


def tiny_task(kind: type[VAETraining]) -> VAETraining:
    """A fully connected model of a few units."""
    sizes: dict[str, Any] = {"latent_dim": 4, "encoder_widths": (), "decoder_widths": (), "hidden_dim": 8}
    return kind(ConditionalVAE((1, 8, 8), 10, decoder_label="onehot", **sizes), GuidedELBO())


def small_task(kind: type[VAETraining]) -> VAETraining:
    """The small fully connected model."""
    return kind(models.small_task(CPU).vae, GuidedELBO())


def digits_task(kind: type[VAETraining]) -> VAETraining:
    """The model of the digits preset, with every term of its objective."""
    task = models._task(DIGITS, (1, 8, 8), CPU)
    return kind(task.vae, task.loss)


TRAINERS = ("as shipped", "no bar", "no bar, no log", "barebones")
COMPARED: dict[str, tuple[Any, int, int, int, tuple[str, ...]]] = {
    "a few units": (tiny_task, 8, 64, 320, TRAINERS),
    "small fully connected": (small_task, 28, 128, 60, TRAINERS[:1]),
    "digits preset": (digits_task, 8, 64, 40, TRAINERS[:1]),
}
"""The task, the images' size, images a step, steps of a round, and the ways to run `Trainer.fit`."""


def fitted(task: VAETraining, loader: Any, kind: str, at_once: int = 1) -> ways.Way:
    """`Trainer.fit` with less and less around the steps, `at_once` of which are one step of Lightning's."""

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
            trainer.fit(task, ways.Looped(loader, -(-steps // at_once) + ways.SKIPPED))
        return clock.seconds

    return run


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
