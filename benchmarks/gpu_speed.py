"""What the card does with the step and with relabelling, against what it could do, and where the time goes."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from gpu_clock import device_of, fit, synchronize
from gpu_job import Job
from gpu_presets import preset
from gpu_ways import Moved, relabelling, training
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from machine import peaks
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from labelvae import ImageData, VAETraining
from labelvae.inputs.tensors import ImageShape
from labelvae.runs.building import new_classifier, new_vae, vae_task
from labelvae.runs.settings import Settings

BATCHES = (64, 256, 1024, 4096)
SECONDS = 0.6
"""Of one measurement."""
LEAST = 6.0
"""Seconds that must be left for another one."""
BEST = "channels-last + bf16"
LOOKED_AT = 10
"""Steps in which host synchronizations are counted, none of which logs."""


def speed(job: Job) -> None:
    """Everything below, the most wanted first; what there is no time for is left out."""
    device = device_of()
    job.note(rates=peaks(device, 0.02 if job.rehearse else 0.3))
    job.say(f"rates: {job.result['rates']}")
    settings, shape = preset("cifar10", job.rehearse)
    own = 8 if job.rehearse else settings.vae.optimization.batch_size
    parts: list[tuple[str, Callable[[], None]]] = [
        ("bound", lambda: job.note(bound=bound(settings, shape, device, own, job.result["rates"]))),
        ("step", partial(_steps, job, "step", "cifar10", [own], ("eager", "channels-last", "bf16", BEST))),
        ("synchronizations", lambda: job.note(synchronizations=synchronizations(job, settings, shape))),
        ("largest", lambda: job.note(largest=largest(settings, shape, device, own))),
        ("relabel", partial(_relabels, job, "cifar10", ("eager", BEST, f"{BEST} + graph"))),
        ("compile", partial(_steps, job, "step", "cifar10", [own], (f"{BEST} + compile",))),
        ("graph", partial(_steps, job, "step", "cifar10", [own], (f"{BEST} + graph",))),
        ("batches", partial(_steps, job, "step", "cifar10", BATCHES, (BEST,))),
        ("mnist", partial(_steps, job, "mnist step", "mnist", BATCHES, ("bf16", "bf16 + graph"))),
        ("relabel, other ways", partial(_relabels, job, "cifar10", ("channels-last", "bf16", f"{BEST} + compile"))),
    ]
    failed = []
    for name, part in parts:
        if job.left() < LEAST:
            job.say(f"{name}: no time")
            continue
        try:
            part()
        except Exception as error:  # the other parts are measured all the same
            failed.append(f"{name}: {type(error).__name__}: {str(error)[:300]}")
            job.say(failed[-1])
        if device.type == "cuda":
            torch.cuda.empty_cache()
    if failed:
        raise SystemExit("wrong: " + "; ".join(failed))


def task_of(settings: Settings, shape: ImageShape, device: torch.device, **how: Any) -> VAETraining:
    """The untrained model of a preset with every term of its objective."""
    seed_everything(0, verbose=False)
    guide = new_classifier(settings.guide, shape, 10)
    return vae_task(settings.vae, new_vae(settings.vae, shape, 10), guide, **how).to(device).train()


def batch_of(size: int, shape: ImageShape, device: torch.device) -> tuple[Tensor, Tensor]:
    """Made-up images and labels."""
    return torch.rand(size, *shape, device=device), torch.arange(size, device=device) % 10


def measured(run: Callable[[], Any], images: int, device: torch.device, few: bool) -> dict[str, float]:
    """Milliseconds a call and images a second: many calls one after the other, the host waits once."""
    run()
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    once = time.perf_counter() - start
    calls = 1 if few else max(2, min(200, round(SECONDS / max(once, 1e-6))))
    start = time.perf_counter()
    for _ in range(calls):
        run()
    synchronize(device)
    seconds = (time.perf_counter() - start) / calls
    return {"ms": round(1e3 * seconds, 3), "images a second": round(images / seconds), "calls": calls}


def _steps(job: Job, part: str, name: str, batches: Any, ways: tuple[str, ...]) -> None:
    settings, shape = preset(name, job.rehearse)
    _each(job, part, batches, ways, lambda way, batch: training(way, *_new(settings, shape, way, batch)))


def _relabels(job: Job, name: str, ways: tuple[str, ...]) -> None:
    settings, shape = preset(name, job.rehearse)
    _each(job, "relabel", BATCHES, ways, lambda way, batch: relabelling(way, *_new(settings, shape, way, batch)))


def _new(settings: Settings, shape: ImageShape, way: str, batch: int) -> tuple[VAETraining, tuple[Tensor, Tensor]]:
    device = device_of()
    return task_of(settings, shape, device, channels_last="channels-last" in way), batch_of(batch, shape, device)


def _each(
    job: Job, part: str, batches: Any, ways: tuple[str, ...], made: Callable[[str, int], Callable[[], Any]]
) -> None:
    """Measures every way at every batch size that was not measured yet; what does not go says why."""
    device, rows = device_of(), dict(job.result.get(part, {}))
    for batch in [8] if job.rehearse else batches:
        for way in ways:
            key = f"{way}, {batch}"
            if key in rows:
                continue
            try:
                if job.left() < LEAST:
                    raise TimeoutError("no time")
                rows[key] = measured(made(way, batch), batch, device, job.rehearse)
            except Exception as error:  # memory, mostly
                rows[key] = {"not measured": f"{type(error).__name__}: {str(error)[:200]}"}
            job.note(**{part: rows})
            job.say(f"{part}, {key}: {rows[key]}")
            if device.type == "cuda":
                torch.cuda.empty_cache()


def bound(
    settings: Settings, shape: ImageShape, device: torch.device, batch: int, rates: dict[str, float]
) -> dict[str, float]:
    """What counted operations at the rate of matrix products, and bytes moved at the rate of copies, allow.

    The bytes are those of every operation's operands and results without compiling; fused, fewer are moved.
    """
    task = task_of(settings, shape, device, channels_last=True)
    task.to(memory_format=torch.channels_last)
    images, labels = batch_of(batch, shape, device)
    with FlopCounterMode(display=False) as counter, Moved() as moved:
        with torch.autocast(device.type, torch.bfloat16):
            total = task.step(images.to(memory_format=torch.channels_last), labels, 1.0)["total"]
        total.backward()
    flops, moved_bytes = counter.get_total_flops() / batch, moved.bytes / batch
    products, copies = (rates[name] * 1e9 for name in ("matrix product bfloat16, GFLOP/s", "copy, GB/s"))
    return {
        "GFLOP an image": round(flops / 1e9, 3),
        "MB moved an image": round(moved_bytes / 1e6, 2),
        "operations a step": moved.operations,
        "arithmetic, images a second": round(products / flops),
        "memory, images a second": round(copies / moved_bytes),
    }


def largest(settings: Settings, shape: ImageShape, device: torch.device, batch: int) -> list[dict[str, Any]]:
    """The ten operations that take most of a step's time, with their shares."""
    run = training(BEST, task_of(settings, shape, device, channels_last=True), batch_of(batch, shape, device))
    on_card = device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CUDA if on_card else torch.profiler.ProfilerActivity.CPU]
    run()
    synchronize(device)
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(1 if not on_card else 5):
            run()
        synchronize(device)

    def own(event: Any) -> float:
        return float(event.self_device_time_total if on_card else event.self_cpu_time_total)

    events = sorted(profile.key_averages(), key=own, reverse=True)
    total = sum(own(event) for event in events) or 1.0
    return [
        {"operation": event.key[:100], "share": round(own(event) / total, 3), "calls": event.count}
        for event in events[:10]
    ]


class _Watched(Callback):
    """Has torch warn of synchronizations in `LOOKED_AT` steps after the first few, none of which logs."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begins."""
        if trainer.global_step == self.first and pl_module.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("warn")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ends."""
        if trainer.global_step == self.last and pl_module.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def synchronizations(job: Job, settings: Settings, shape: ImageShape) -> dict[str, Any]:
    """How often the host waits in a step that does not log, through Lightning's trainer, and where."""
    steps = 1 if job.rehearse else LOOKED_AT
    images = torch.randint(256, (8 * 40 if job.rehearse else 64 * 40, *shape), dtype=torch.uint8)
    data = ImageData.from_tensors(images, torch.arange(len(images)) % 10, [str(label) for label in range(10)])
    task = task_of(settings, shape, device_of(), channels_last=True)
    optimization = replace(settings.vae.optimization, batch_size=64)  # no epoch ends and nothing is logged before
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(job, "synchronizations", task, data, optimization, 30.0, most=15, others=(_Watched(4, 4 + steps),))
    found = [each for each in caught if "synchronizing" in str(each.message)]
    where = Counter(f"{each.filename.rpartition('/')[2]}:{each.lineno}" for each in found)
    row: dict[str, Any] = {"a step": len(found) / steps, "where": dict(where.most_common(8))}
    return row if device_of().type == "cuda" else {"where": "no GPU"}
