"""How time and memory grow: a training step with image size, classes and latent size, and batches with images.

    python benchmarks/scaling.py --out runs/scaling
    python benchmarks/scaling.py --axes '[classes]' --out runs/scaling

A step has every term of the MNIST preset's objective. Images of the last axis are 8-bit noise of 8x8 pixels in a file
that the system maps into memory; a point is 100 batches of 64 of them, with the draw of their order. Every point is a
process of its own, so that its peak memory is its own. Time is processor time of one thread, the least of some rounds.
An exponent is the slope of the logarithms over the upper half of an axis; 1 is in proportion.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch
from jsonargparse import auto_cli
from machine import machine_line
from matplotlib.figure import Figure
from speed import peak_kilobytes
from tables import table
from ways import optimizer_of

from labelvae.cli.parser import DashParser
from labelvae.data.image_sets import ImageSet
from labelvae.data.loaders import ImageLoader
from labelvae.runs.building import new_classifier, new_vae, vae_task
from labelvae.runs.presets import MNIST
from labelvae.system.whole_files import write_whole

POINTS = {
    "image size": [8, 16, 32, 64, 128, 256],
    "classes": [2, 10, 100, 1000, 3000, 10_000],
    "latent size": [2, 8, 32, 128, 512, 2048],
    "images": [1000, 10_000, 100_000, 1_000_000, 10_000_000],
}
BATCH = {"image size": 4, "classes": 32, "latent size": 32}
COLUMNS = ["axis", "value", "ms", "peak memory, MB", "exponent of time", "exponent of memory"]
Axis = Literal["image size", "classes", "latent size", "images"]


def main(
    out: Path = Path("runs/scaling"),
    axes: list[Axis] = ["image size", "classes", "latent size", "images"],  # noqa: B006  read only
    rounds: int = 3,
    point: tuple[Axis, int] | None = None,
) -> None:
    """Measure, and write `scaling.md`, `scaling.json` and `scaling.png`.

    Args:
        out: folder of the results.
        axes: what grows.
        rounds: rounds of each point; the least time counts.
        point: measure one point, in this process, and print it; for the processes of the points.
    """
    torch.set_num_threads(1)
    if point is not None:
        print(json.dumps(measured(*point, rounds)))
        return
    rows: list[dict[str, Any]] = []
    for axis in axes:
        found = []
        for value in POINTS[axis]:
            words = [sys.executable, __file__, "--point", json.dumps([axis, value]), "--rounds", str(rounds)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            found.append({"axis": axis, "value": value, **json.loads(done.stdout.splitlines()[-1])})
            print(found[-1], flush=True)
        for name, key in (("exponent of time", "ms"), ("exponent of memory", "peak memory, MB")):
            found[-1][name] = exponent([(row["value"], row[key]) for row in found])
        rows += found
    write_whole(out / "scaling.json", json.dumps({"head": machine_line(), "rows": rows}, indent=2) + "\n")
    write_whole(out / "scaling.md", f"{machine_line()}\n\n{table(rows, {name: name for name in COLUMNS})}\n")
    drawn(rows).savefig(out / "scaling.png")
    print((out / "scaling.md").read_text())


def exponent(points: list[tuple[float, float]]) -> float:
    """The slope of log(value) over log(place) in the upper half of an axis.

    >>> round(exponent([(1, 5.0), (10, 6.0), (100, 60.0), (1000, 600.0)]), 3)
    1.0
    """
    upper = np.log(np.asarray(points[len(points) // 2 :], dtype=float))
    return float(np.polyfit(upper[:, 0], upper[:, 1], 1)[0])


def measured(axis: Axis, value: int, rounds: int) -> dict[str, float]:
    """Milliseconds of processor time, and the most megabytes that this process held beyond libraries and networks."""
    if axis == "images":
        return batches(value, rounds)
    size = value if axis == "image size" else 16
    classes = value if axis == "classes" else 10
    how = replace(MNIST.vae, latent_dim=value if axis == "latent size" else MNIST.vae.latent_dim)
    vae = new_vae(how, (1, size, size), classes)
    task = vae_task(how, vae, new_classifier(MNIST.guide, (1, size, size), classes))
    optimizer = optimizer_of(task, fused=True)
    images, labels = torch.rand(BATCH[axis], 1, size, size), torch.randint(classes, (BATCH[axis],))

    def step() -> None:
        optimizer.zero_grad()
        task.step(images, labels, 1.0)["total"].backward()
        optimizer.step()

    return least(step, rounds)


def batches(count: int, rounds: int) -> dict[str, float]:
    """The same for 100 batches out of so many images."""
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder) / "images.uint8")
        pixels = torch.from_file(name, shared=True, size=count * 64, dtype=torch.uint8).view(count, 1, 8, 8)
        loader = ImageLoader(ImageSet(pixels, torch.zeros(count, dtype=torch.uint8)), 64, shuffle=True)
        return least(lambda: sum(float(images.mean()) for images, _ in islice(loader, 100)), rounds)


def least(run: Any, rounds: int) -> dict[str, float]:
    """The least processor time of some rounds after a first one, and the peak memory above that of the networks."""
    before, times = psutil.Process().memory_info().rss / 2**20, []
    for _ in range(rounds + 1):
        start = time.process_time()
        run()
        times.append(1e3 * (time.process_time() - start))
    return {"ms": min(times[1:]), "peak memory, MB": peak_kilobytes() / 1024 - before}


def drawn(rows: list[dict[str, Any]]) -> Figure:
    """One panel an axis: time and memory over the value, both logarithmic."""
    axes = list(dict.fromkeys(row["axis"] for row in rows))
    figure = Figure(figsize=(4 * len(axes), 3.2), layout="constrained")
    for panel, axis in zip(figure.subplots(1, len(axes), squeeze=False)[0], axes, strict=True):
        some = [row for row in rows if row["axis"] == axis]
        for key in ("ms", "peak memory, MB"):
            panel.loglog([row["value"] for row in some], [row[key] for row in some], marker="o", label=key)
        panel.set_xlabel(axis)
        panel.legend()
    return figure


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
