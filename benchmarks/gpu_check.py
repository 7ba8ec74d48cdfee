"""Does everything run on this card at all? One step of every preset, a save, a load, a resume, and CPU against GPU."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from contextlib import nullcontext
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from gpu_clock import device_of, quiet
from gpu_job import Job
from gpu_presets import PRESETS, preset
from gpu_recorded import recorded
from gpu_train import warm
from lightning.pytorch import Trainer, seed_everything
from ways import optimizer_of

from labelvae import ConditionalVAE, ImageData, VAETraining
from labelvae.runs import presets
from labelvae.runs.building import new_classifier, new_vae, vae_task
from labelvae.runs.settings import Settings
from labelvae.training.callbacks import LastCheckpoint

PACKAGES = ("labelvae", "torch", "torchvision", "lightning", "torchmetrics", "triton", "numpy", "wandb")
AGREE = 1e-3
"""Largest difference of pixels in [0, 1] between CPU and GPU in float32."""
AGREE_RECORDED = 0.03
"""Largest difference of a weight's gradient, as a share of its norm: sums in another order, and bfloat16."""


def check(job: Job) -> None:
    """What the machine is, and whether everything runs; what is wrong is raised at the end, once all was looked at."""
    device = device_of()
    job.note(machine=machine(device))
    job.say(", ".join(f"{name} {value}" for name, value in job.result["machine"].items()))
    wrong = []
    agreement = agreements(device)
    job.note(agreement=agreement)
    job.say(f"CPU and {device.type} differ by {agreement}")
    if not agreement["float32"] <= AGREE:
        wrong.append(f"CPU and {device.type} differ by {agreement['float32']:.2g} with the same weights")
    losses: dict[str, dict[str, float | str]] = {}
    for name in PRESETS:
        settings, shape = preset(name, job.rehearse)
        losses[name] = {}
        for precision in ("float32", "bfloat16"):
            try:
                loss: float | str = one_step(
                    settings, shape, device, precision == "bfloat16", 4 if job.rehearse else 64
                )
            except Exception as error:  # the others are looked at all the same
                loss = f"{type(error).__name__}: {str(error)[:300]}"
            losses[name][precision] = loss
            if isinstance(loss, str) or not math.isfinite(loss):
                wrong.append(f"{name} in {precision}: {loss}")
        job.note(losses=losses)
        job.say(f"one step of {name}: {losses[name]}")
    job.note(finite=not any("in float32" in each or "in bfloat16" in each for each in wrong))
    try:
        job.note(graphs=recorded(*preset("cifar10_small", job.rehearse)))
        job.say(f"graphs: {job.result['graphs']}")
        if not max(job.result["graphs"].values()) <= AGREE_RECORDED:
            wrong.append(f"gradients of a recorded step differ: {job.result['graphs']}")
    except Exception as error:
        wrong.append(f"graphs: {type(error).__name__}: {str(error)[:300]}")
    try:
        job.note(resumed=resumed(job, device))
    except Exception as error:
        wrong.append(f"save, load or resume: {type(error).__name__}: {str(error)[:300]}")
    if wrong:
        raise SystemExit("wrong: " + "; ".join(wrong))


def machine(device: torch.device) -> dict[str, str | float]:
    """The card, its driver, and the versions of what computes on it."""
    facts: dict[str, str | float] = {"python": platform.python_version(), "cores": float(os.cpu_count() or 0)}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "absent"
    if device.type != "cuda":
        return facts | {"device": "no GPU"}
    card = torch.cuda.get_device_properties(device)
    facts |= {
        "device": card.name,
        "capability": f"{card.major}.{card.minor}",
        "memory, GB": round(card.total_memory / 1e9, 1),
        "multiprocessors": float(card.multi_processor_count),
        "CUDA": str(torch.version.cuda),
        "cuDNN": str(torch.backends.cudnn.version()),
    }
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version,clocks.sm,power.limit", "--format=csv,noheader"]
        facts["driver, clock, power"] = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        facts["driver, clock, power"] = "nvidia-smi does not say"
    return facts


def agreements(device: torch.device) -> dict[str, float]:
    """Largest differences between pixels relabelled on the CPU in float32 and on the device, by precision."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(64, 1, 28, 28, generator=generator), torch.arange(64) % 10
    expected = ConditionalVAE.from_pretrained("mnist").relabel(images, labels)
    vae = ConditionalVAE.from_pretrained("mnist", device)
    images = images.to(device)
    allowed, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    found = {"float32": vae.relabel(images, labels)}
    torch.backends.cudnn.allow_tf32 = allowed
    found["as torch comes"] = vae.relabel(images, labels)
    with torch.autocast(device.type, torch.bfloat16):
        found["bfloat16"] = vae.relabel(images, labels)
    return {name: float((made.cpu() - expected).abs().max()) for name, made in found.items()}


def one_step(settings: Settings, shape: tuple[int, int, int], device: torch.device, bf16: bool, batch: int) -> float:
    """The loss after one step of the optimizer, on made-up images."""
    seed_everything(0, verbose=False)
    guide = new_classifier(settings.guide, shape, 10)
    task = vae_task(settings.vae, new_vae(settings.vae, shape, 10), guide).to(device).train()
    optimizer = optimizer_of(task, fused=True)
    images, labels = torch.rand(batch, *shape, device=device), torch.arange(batch, device=device) % 10
    total = torch.zeros(())
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
            total = task.step(images, labels, 1.0)["total"]
        total.backward()
        optimizer.step()
    return round(float(total.detach()), 3)


def resumed(job: Job, device: torch.device) -> bool:
    """Trains an epoch, saves, loads, goes on from the checkpoint; every weight must be the same before and after.

    Raises:
        ValueError: a weight that is not.
    """
    quiet()
    data = ImageData("digits", batch_size=640)
    path = job.scratch / "resumed.ckpt"

    def task() -> VAETraining:
        seed_everything(1, verbose=False)
        vae = new_vae(presets.DIGITS.vae, data.image_shape, data.num_classes)
        guide = new_classifier(presets.DIGITS.guide, data.image_shape, 10)
        return vae_task(presets.DIGITS.vae, vae, guide, graphed=True)

    def fit(what: VAETraining, epochs: int, checkpoint: str | None = None) -> Trainer:
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            max_epochs=epochs,
            logger=False,
            callbacks=[LastCheckpoint(path)],
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            log_every_n_steps=1,
            default_root_dir=job.scratch,
        )
        trainer.fit(what, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        return trainer

    first, second = task(), task()
    fit(first, 1)
    first.vae.save_pretrained(job.scratch / "saved")
    loaded = ConditionalVAE.from_pretrained(job.scratch / "saved", device).state_dict()
    now = first.vae.to(device).state_dict()
    different = [name for name, value in now.items() if not torch.equal(value, loaded[name])]
    steps = fit(second, 2, str(path)).global_step
    if different or steps != 4 or not all(torch.isfinite(value).all() for value in second.vae.parameters()):
        raise ValueError(f"different after loading: {different}; {steps} steps after the resumption, expected 4")
    return True


def compile_steps(job: Job) -> None:
    """Some compiled steps of every preset's model, beside the steps that follow; what is compiled is kept for them.

    A rehearsal compiles one of them, and only as far as no compiler of the machine is needed.
    """
    if job.rehearse:
        torch.compile = partial(torch.compile, backend="eager")
    wrong = []
    for name in list(PRESETS)[: 1 if job.rehearse else None]:
        if job.left() < 20.0:
            job.note(**{name: "not measured: no time"})
            continue
        try:
            row: Any = warm(job, name, *preset(name, job.rehearse), compiled=True)
        except Exception as error:
            row = f"{type(error).__name__}: {str(error)[:500]}"
            wrong.append(f"{name}: {row}")
        job.note(**{name: row})
        job.say(f"compiled {name}: {row}")
    if wrong:
        raise SystemExit("wrong: " + "; ".join(wrong))
