"""Is a step that was recorded as a CUDA graph still the step? Its gradients against those of the step as it is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from labelvae import VAETraining
from labelvae.inputs.tensors import ImageShape
from labelvae.runs.building import new_classifier, new_vae, vae_task
from labelvae.runs.settings import Settings
from labelvae.training.graphs import GraphedStep

BATCH = 32


@dataclass
class Bench:
    """A task on the card, a batch for it, and its buffers as they were."""

    task: VAETraining
    batch: tuple[Tensor, Tensor, Tensor]
    buffers: list[Tensor]
    bf16: bool

    def gradients(self, step: Any) -> list[Tensor]:
        """The gradient of every weight, with the same random numbers and buffers each time."""
        for buffer, value in zip(self.task.buffers(), self.buffers, strict=True):
            buffer.copy_(value)
        self.task.zero_grad()
        torch.manual_seed(1)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.bf16):
            total = step(*self.batch)["total"]
        if not getattr(step, "replayed", False):
            total.backward()
        weights = [weight for weight in self.task.parameters() if weight.requires_grad]
        return [torch.zeros(1, device="cuda") if each.grad is None else each.grad.clone() for each in weights]


def recorded(settings: Settings, shape: ImageShape) -> dict[str, float]:
    """The largest difference of a weight's gradient, as a share of its norm, by precision, before and after a move.

    A step that reads values on the host cannot be recorded, and must run all the same.

    Raises:
        ValueError: it does not; or a step that could be recorded was not.
    """
    if not torch.cuda.is_available():
        return {"no GPU": 0.0}
    found = {}
    for precision in ("float32", "bfloat16"):
        bench = _bench(settings, shape, bf16=precision == "bfloat16")
        step = GraphedStep(bench.task.step, bench.task)
        bench.gradients(step)  # it records
        for name in (precision, f"{precision}, other weights"):
            made = bench.gradients(step)
            if not step.replayed:
                raise ValueError("the step was not recorded")
            found[name] = round(_difference(made, bench.gradients(bench.task.step)), 5)
            with torch.no_grad():
                for weight in bench.task.parameters():
                    weight.add_(0.1 * weight.abs().mean() * torch.randn_like(weight))
    _refused(bench)
    return found


def _bench(settings: Settings, shape: ImageShape, bf16: bool) -> Bench:
    seed_everything(0, verbose=False)
    guide = new_classifier(settings.guide, shape, 10)
    task = vae_task(settings.vae, new_vae(settings.vae, shape, 10), guide).to("cuda").train()
    images, labels = torch.rand(BATCH, *shape, device="cuda"), torch.arange(BATCH, device="cuda") % 10
    batch = images, labels, torch.full((), 0.5, device="cuda")
    return Bench(task, batch, [buffer.clone() for buffer in task.buffers()], bf16)


def _difference(made: list[Tensor], expected: list[Tensor]) -> float:
    """The largest, over the weights whose gradient is no rounding error beside that of the others."""
    norms = torch.stack([each.norm() for each in expected])
    least = 1e-3 * norms.max()
    apart = torch.stack([(one - other).norm() for one, other in zip(made, expected, strict=True)])
    return float((apart / norms.clamp_min(least)).max())


def _refused(bench: Bench) -> None:
    def reading(*batch: Tensor) -> dict[str, Tensor]:
        terms = bench.task.step(*batch)
        return terms | {"read": torch.full((), float(terms["total"]))}

    step = GraphedStep(reading, bench.task)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gradients = bench.gradients(step)
    said = any("graphs: not possible" in str(each.message) for each in caught)
    if step.replayed or not said or not all(bool(each.isfinite().all()) for each in gradients):
        raise ValueError("a step that reads values was recorded, or did not run without a graph")
