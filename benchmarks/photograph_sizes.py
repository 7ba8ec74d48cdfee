"""What `labelvae train folder` takes for photographs of several sizes: seconds a step, minutes in all, memory.

    python benchmarks/photograph_sizes.py --out runs/photograph_sizes
    python benchmarks/photograph_sizes.py --sizes '[64]' --count 6480 --classes 6 --out runs/photograph_sizes

Guide, judge, model and reference each make some steps as a run makes them on this machine (precision, memory layout,
threads, batch size), on images of noise, in a process of its own for each size. The reference is the model without its
guide. If one thread trains the model, the reference trains beside it, and its minutes are not added. Reading, scores
and pictures are left out. Minutes follow from the median step. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from machine import machine_line
from speed import peak_kilobytes
from tables import table
from torch import Tensor
from ways import optimizer_of

from labelvae.cli.parser import DashParser
from labelvae.runs.building import classifier_task, new_classifier, new_vae, vae_task, without_label_loss
from labelvae.runs.machine import choose, machine_of
from labelvae.runs.photographs import photograph_settings
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.whole_files import write_whole
from labelvae.training.optimizers import clip_gradients
from labelvae.training.options import Optimization

PARTS = ("guide", "judge", "model", "reference")
HEADS = {
    "size": "image size",
    "threads": "threads",
    "parameters": "model's parameters",
    **{f"{part}, s": f"{part}, s a step" for part in PARTS},
    "steps": "model's steps",
    "minutes": "minutes in all",
    "memory, MB": "peak memory, MB",
}


def main(
    sizes: list[int] = [32, 64, 96],  # noqa: B006  read only
    count: int = 6480,
    classes: int = 6,
    steps: int = 5,
    out: Path = Path("runs/photograph_sizes"),
    one: int | None = None,
) -> None:
    """Measure, and write `photograph_sizes.md` and `.json`.

    Args:
        sizes: heights and widths of the images.
        count: training images, by which the number of steps is chosen.
        classes: classes.
        steps: steps that are measured, after a first one.
        out: folder of the tables.
        one: measure one size, in this process, and print it; for the processes of the sizes.
    """
    if one is not None:
        print(json.dumps(measured(one, count, classes, steps)))
        return
    rows = []
    for size in sizes:
        words = [f"--one={size}", f"--count={count}", f"--classes={classes}", f"--steps={steps}"]
        done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    text = f"{machine_line()}; {count:,} training images, {classes} classes\n\n{table(rows, HEADS)}\n"
    write_whole(out / "photograph_sizes.json", json.dumps({"head": machine_line(), "rows": rows}, indent=2) + "\n")
    write_whole(out / "photograph_sizes.md", text)
    print(text)


def measured(size: int, count: int, classes: int, steps: int) -> dict[str, Any]:
    """Seconds of a step of each part, minutes of all steps and peak memory, for images of a size."""
    keep_freed_memory()
    shape = (3, size, size)
    settings = photograph_settings(shape, count)
    choice = choose(settings, shape, machine_of(torch.device("cpu")))
    torch.set_num_threads(choice.threads)
    guide = new_classifier(settings.guide, shape, classes)
    last: dict[str, Any] = {"channels_last": choice.channels_last}
    vae = settings.vae
    tasks: dict[str, tuple[Any, Optimization]] = {
        "guide": (classifier_task(settings.guide, guide, **last), settings.guide.optimization),
        "judge": (
            classifier_task(settings.judge, new_classifier(settings.judge, shape, classes), **last),
            settings.judge.optimization,
        ),
    }
    found: dict[str, Any] = {"size": size, "threads": choice.threads}
    seconds = 0.0
    for part in PARTS:
        if part in ("model", "reference"):
            how = vae if part == "model" else without_label_loss(vae)
            tasks[part] = (
                vae_task(how, new_vae(how, shape, classes), guide.freeze() if part == "model" else guide, **last),
                how.optimization,
            )
        task, optimization = tasks[part]
        images = torch.rand(optimization.batch_size, *shape)
        labels = torch.arange(optimization.batch_size) % classes
        found[f"{part}, s"] = step = a_step(task.train(), images, labels, steps, choice.precision == "bf16-mixed")
        number = steps_of(optimization, count)
        seconds += 0 if part == "reference" and choice.threads == 1 else step * number
    found["parameters"] = sum(each.numel() for each in tasks["model"][0].vae.parameters())
    return found | {"steps": number, "minutes": seconds / 60, "memory, MB": peak_kilobytes() / 1024}


def steps_of(how: Optimization, count: int) -> int:
    """The steps that a run makes: whole epochs, at least so many as are asked for.

    >>> steps_of(Optimization(epochs=3, least_steps=100, batch_size=10), 95)
    108
    """
    of_epoch = count // how.batch_size
    return of_epoch * max(how.epochs, math.ceil(how.least_steps / of_epoch))


def a_step(task: Any, images: Tensor, labels: Tensor, steps: int, bfloat16: bool) -> float:
    """Median seconds of a step, forward, backward and update, after a first one that is not counted."""
    optimizer = optimizer_of(task, fused=True)
    if task.channels_last:
        task.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = task.step(images, labels, 0.5)["total"]
        loss.backward()
        clip_gradients(optimizer)
        optimizer.step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
