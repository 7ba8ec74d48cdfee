"""A Lightning task that keeps the means of each epoch, for networks beside the conditional VAE."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from labelvae.inputs.checks import check_number
from labelvae.training.checked_task import CheckedTask
from labelvae.training.optimizers import scheduled_adamw
from labelvae.training.steps import planned_steps, skip_seen_batches


class TaskWithHistory(CheckedTask):
    """Train with AdamW, a linear warm-up and a cosine, and keep the means of each epoch.

    Args:
        learning_rate: the largest step size of AdamW.
        weight_decay: the weight decay of AdamW.

    Attributes:
        history: for each epoch, the mean of each value that `keep` got, by name.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(self, learning_rate: float, weight_decay: float) -> None:
        super().__init__()
        self.learning_rate = check_number("learning_rate", learning_rate, above=0)
        self.weight_decay = check_number("weight_decay", weight_decay, at_least=0)
        self.history: list[dict[str, float]] = []
        self._kept: dict[str, list[tuple[Tensor, int]]] = {}

    def keep(self, name: str, value: Tensor, images: int) -> None:
        """Keep a mean over some images, a scalar, for the epoch's mean."""
        self._kept.setdefault(name, []).append((value.detach(), images))

    def on_train_epoch_end(self) -> None:
        """Write the epoch's means into the history.

        Raises:
            FloatingPointError: one of them is not finite.
        """
        means = {}
        for name, kept in self._kept.items():
            values, counts = zip(*kept, strict=True)
            means[name] = float(torch.stack(values).cpu().float() @ torch.tensor(counts).float()) / sum(counts)
        self._kept = {}
        self.history.append(means)
        broken = next((name for name, mean in means.items() if not math.isfinite(mean)), None)
        if broken is not None:
            raise FloatingPointError(f"training: {broken} is not finite; lower the learning rate")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the history."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the history."""
        self.history = list(checkpoint.get("history", []))

    def on_fit_start(self) -> None:
        """Take up training mode, and forget the values of a validation before the training."""
        self.train()
        self._kept = {}

    def on_sanity_check_end(self) -> None:
        """Forget the values of Lightning's check before the training."""
        self._kept = {}

    def on_train_start(self) -> None:
        """Skip the batches that a training which was saved within an epoch has seen."""
        skip_seen_batches(self.trainer)

    def configure_optimizers(self) -> Any:
        """Return AdamW over all weights, and its schedule.

        Raises:
            ValueError: a trainer without an end or without batches.
        """
        steps = planned_steps(self.trainer, self.trainer.max_epochs)
        groups = [{"params": list(self.parameters())}]
        return scheduled_adamw(groups, self.learning_rate, self.weight_decay, steps, "cosine")
