"""Where a training step spends its time: by pass, forward and backward, and by kind of operation.

    python benchmarks/step_parts.py --out runs/step_parts
    python benchmarks/step_parts.py --preset cifar10_small --threads 2 --out runs/step_parts

torch's profiler times each operation of a step on images of noise. A gradient's operation is counted where its forward
operation was: both carry the same number. Shares are medians over the steps; a busy machine moves them.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch
from jsonargparse import auto_cli
from machine import counted_flops, machine_line, peaks
from models import _task
from tables import table
from torch.profiler import ProfilerActivity, profile, record_function
from ways import optimizer_of

from labelvae import VAETraining
from labelvae.cli.parser import DashParser
from labelvae.losses import guided_elbo
from labelvae.runs import presets
from labelvae.runs.machine import choose, machine_of
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.whole_files import write_whole
from labelvae.training.optimizers import clip_gradients

PART = "part: "
SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10_small": (3, 32, 32)}
KINDS = {
    "convolutions": ("convolution",),
    "normalizations": ("norm",),
    "activations": ("silu", "sigmoid", "leaky_relu"),
    "matrix products": ("addmm", "aten::mm", "bmm", "aten::mv", "dot", "linear"),
    "layout, copies, conversions": ("copy", "clone", "cat", "pixel_", "to_copy", "fill_", "zero_", "slice", "pad"),
    "updates of the weights": ("_fused_adam", "_foreach", "linalg_vector_norm"),
}
"""Kinds of operations, by what their names contain; the first that fits counts."""


def main(
    preset: Literal["digits", "mnist", "cifar10_small"] = "mnist",
    steps: int = 6,
    threads: int = 1,
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto",
    out: Path = Path("runs/step_parts"),
) -> None:
    """Measure, and write `step_parts-PRESET.md` and `.json`.

    Args:
        preset: whose training is measured, with its networks, terms and batch size.
        steps: steps that are measured.
        threads: threads that compute.
        precision: precision of the arithmetic; auto takes what a run takes on this machine.
        out: folder of the tables.
    """
    keep_freed_memory()
    torch.set_num_threads(threads)
    settings, shape = getattr(presets, preset.upper()), SHAPES[preset]
    choice = choose(settings, shape, machine_of(torch.device("cpu")))
    precision = choice.precision if precision == "auto" else precision
    task = _task(settings, shape, torch.device("cpu"), channels_last=choice.channels_last)
    batch = settings.vae.optimization.batch_size
    images, labels = torch.rand(batch, *shape), torch.arange(batch) % 10
    flops = counted_flops(task, images, labels)
    found = list(measured(task, images, labels, steps + 2, precision == "bf16-mixed"))[2:]
    whole = statistics.median(sum(sum(times) for times in parts.values()) for parts, _ in found)
    names = list(dict.fromkeys(name for parts, _ in found for name in parts))
    rows = []
    for name in names:
        there, back = (statistics.median(parts.get(name, (0.0, 0.0))[way] for parts, _ in found) for way in (0, 1))
        rows.append({"part": name, "forward, ms": there, "backward, ms": back, "share": (there + back) / whole})
    kinds = {kind: statistics.median(of[kind] for _, of in found) for kind in [*KINDS, "other"]}
    by_kind = [{"kind": kind, "ms": spent, "share": spent / sum(kinds.values())} for kind, spent in kinds.items()]
    rate = peaks(torch.device("cpu"), 0.5)[
        f"convolution {'bfloat16' if precision != '32-true' else 'float32'}, GFLOP/s"
    ]
    head = (
        f"{preset}, batch {batch}, {precision}: {whole:.0f} ms a step, {flops / 1e9:.2f} GFLOP, "
        f"{flops / whole / 1e6 / rate:.2f} of the rate of a convolution in this run ({rate:.0f} GFLOP/s). "
        f"{machine_line()}"
    )
    text = (
        f"{head}\n\n{table(rows, {name: name for name in rows[0]})}\n\n{table(by_kind, {k: k for k in by_kind[0]})}\n"
    )
    write_whole(out / f"step_parts-{preset}.md", text)
    said = {"head": head, "parts": rows, "kinds": by_kind}
    write_whole(out / f"step_parts-{preset}.json", json.dumps(said, indent=2) + "\n")
    print(text)


def measured(task: VAETraining, images: Any, labels: Any, steps: int, bfloat16: bool) -> Iterator[Any]:
    """Milliseconds of each step: by part, forward and backward, and by kind of operation."""
    optimizer = optimizer_of(task, fused=True)
    if task.channels_last:
        task.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    task.train()
    with named_parts(task):
        for _ in range(steps):
            with profile(activities=[ProfilerActivity.CPU]) as profiler:
                optimizer.zero_grad()
                with record_function(PART + "other terms"), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                    total = task.step(images, labels, 1.0)["total"]
                total.backward()
                with record_function(PART + "clipping"):
                    clip_gradients(optimizer)
                with record_function(PART + "AdamW"):
                    optimizer.step()
            yield by_part(profiler.events()), by_kind_of(profiler.key_averages())


@contextmanager
def named_parts(task: VAETraining) -> Iterator[None]:
    """Give the passes of a step names in the profile."""
    vae, loss = task.vae, task.loss
    calls: dict[str, int] = defaultdict(int)

    def named(function: Callable[..., Any], *names: str) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            name = names[calls[names[0]] % len(names)]
            calls[names[0]] += 1
            with record_function(PART + name):
                return function(*args, **kwargs)

        return call

    again = max(loss.objective.cycle_weight, loss.objective.image_cycle_weight) > 0
    encoded = ["encoder: images and changed images", *["encoder: cycle"] * again]
    decoded = ["decoder: own, wrong, changed", *["decoder: image cycle"] * (loss.objective.image_cycle_weight > 0)]
    functions = {
        "change": "change of style",
        "style_loss": "style",
        "adversarial_terms": "discriminator",
        "augment": "augmentation",
    }
    changed: dict[str, Any] = {name: named(getattr(guided_elbo, name), said) for name, said in functions.items()}
    with patch.multiple(guided_elbo, **changed):
        vae.encode = named(vae.encode, *encoded)  # type: ignore[method-assign]
        vae.decode_logits = named(vae.decode_logits, *decoded)  # type: ignore[method-assign]
        if loss.guidance is not None:
            loss.guidance.label_loss = named(loss.guidance.label_loss, "guide")  # type: ignore[method-assign]
        yield


def by_part(events: Any) -> dict[str, tuple[float, float]]:
    """Milliseconds of each part, forward and backward."""
    found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    owner: dict[int, str] = {}
    for event in events:
        if event.name.startswith(PART):
            inner = sum(child.cpu_time_total for child in within(event))
            found[event.name.removeprefix(PART)][0] += (event.cpu_time_total - inner) / 1e3
        elif event.sequence_nr >= 0 and not event.name.startswith("autograd::"):
            part = event.cpu_parent
            while part is not None and not part.name.startswith(PART):
                part = part.cpu_parent
            if part is not None:
                owner[event.sequence_nr] = part.name.removeprefix(PART)
    for event in events:
        if event.name.startswith("autograd::engine::evaluate_function"):
            found[owner.get(event.sequence_nr, "sums of gradients")][1] += event.cpu_time_total / 1e3
    return {name: (there, back) for name, (there, back) in found.items()}


def within(event: Any) -> Iterator[Any]:
    """The outermost parts inside a part."""
    for child in event.cpu_children:
        if child.name.startswith(PART):
            yield child
        else:
            yield from within(child)


def by_kind_of(averages: Any) -> dict[str, float]:
    """Milliseconds of each kind of operation, without what it calls."""
    spent = dict.fromkeys([*KINDS, "other"], 0.0)
    for row in averages:
        if row.key.startswith("aten::"):
            kind = next((kind for kind, words in KINDS.items() if any(word in row.key for word in words)), "other")
            spent[kind] += row.self_cpu_time_total / 1e3
    return spent


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
