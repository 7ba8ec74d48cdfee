"""A training step on one thread and on two, on a quiet machine and beside one busy process.

    python benchmarks/threads.py --out runs/threads
    python benchmarks/threads.py --instructions AVX2 --out runs/threads-avx2

A point is a training as `labelvae train` sets it up, in a process of its own: its precision, its memory layout, idle
threads that sleep, freed memory that is kept. The images are noise. Every point is measured several times in turn, and
the median counts. Take it on a machine that does nothing else.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import torch
from demo_time import BUSY, INSTRUCTIONS
from jsonargparse import auto_cli
from machine import machine_line
from models import _task
from step_parts import SHAPES
from tables import table
from ways import optimizer_of

from labelvae.cli.parser import DashParser
from labelvae.runs import presets
from labelvae.runs.machine import choose, machine_of
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.whole_files import write_whole

Preset = Literal["digits", "mnist", "cifar10_small"]
SLEEP = {"OMP_WAIT_POLICY": "passive"}


def main(
    out: Path = Path("runs/threads"),
    only: list[Preset] = ["digits", "mnist", "cifar10_small"],  # noqa: B006  read only
    instructions: Literal["all", "AVX2"] = "all",
    seconds: float = 4.0,
    rounds: int = 3,
    point: tuple[Preset, int] | None = None,
) -> None:
    """Measure, and write `threads.md` and `threads.json`.

    Args:
        out: folder of the results.
        only: the presets.
        instructions: all that the processor has, or AVX2 alone.
        seconds: how long a point is measured, after its first two steps.
        rounds: rounds of all points.
        point: measure one point, in this process, and print it; for the processes of the points.
    """
    if point is not None:
        print(json.dumps(measured(*point, seconds)))
        return
    keys = [(preset, threads, busy) for preset in only for threads in (1, 2) for busy in (False, True)]
    found: dict[tuple[Preset, int, bool], list[float]] = {key: [] for key in keys}
    for _ in range(rounds):
        for key, times in found.items():
            times.append(timed(key[:2], key[2], instructions, seconds))
            print(*key, f"{times[-1]:.0f} ms", flush=True)
    rows: list[dict[str, Any]] = []
    for (preset, threads, busy), times in found.items():
        alone = statistics.median(found[preset, 1, False])
        beside = "one busy process" if busy else "nothing"
        middle = statistics.median(times)
        row = {"preset": preset, "threads": threads, "beside": beside, "ms a step": middle}
        rows.append(row | {"least": min(times), "most": max(times), "over one quiet thread": middle / alone})
    head = f"{machine_line()}; instructions: {instructions}"
    write_whole(out / "threads.json", json.dumps({"head": head, "rows": rows}, indent=2) + "\n")
    write_whole(out / "threads.md", f"{head}\n\n{table(rows, {name: name for name in rows[0]})}\n")
    print((out / "threads.md").read_text())


def timed(point: tuple[Preset, int], busy: bool, instructions: str, seconds: float) -> float:
    """Milliseconds of a step in a process of its own."""
    words = [sys.executable, __file__, "--point", json.dumps(point), "--seconds", str(seconds)]
    other = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    try:
        environment = os.environ | SLEEP | INSTRUCTIONS[instructions]
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    finally:
        if other is not None:
            other.kill()
            other.wait()
    return float(json.loads(done.stdout.splitlines()[-1]))


def measured(preset: Preset, threads: int, seconds: float) -> float:
    """The median of the milliseconds that a step of a preset takes."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    settings, shape = getattr(presets, preset.upper()), SHAPES[preset]
    choice = choose(settings, shape, machine_of(torch.device("cpu")))
    task = _task(settings, shape, torch.device("cpu"), channels_last=choice.channels_last)
    images = torch.rand(settings.vae.optimization.batch_size, *shape)
    labels = torch.arange(len(images)) % 10
    if task.channels_last:
        task.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    task.train()
    optimizer, times, until = optimizer_of(task, fused=True), list[float](), float("inf")
    while len(times) < 5 or time.perf_counter() < until:
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=choice.precision == "bf16-mixed"):
            total = task.step(images, labels, 1.0)["total"]
        total.backward()
        optimizer.step()
        times.append(1e3 * (time.perf_counter() - start))
        if len(times) == 2:
            until = time.perf_counter() + seconds
    return statistics.median(times[2:])


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
