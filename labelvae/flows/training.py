"""A thin Lightning task that trains a flow."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from labelvae.data.given_data import pair_of
from labelvae.inputs.checks import check_kind, check_number
from labelvae.models.flow import ConditionalFlow as ConditionalFlow  # noqa: PLC0414  where it is looked for
from labelvae.training.checked_task import CheckedTask
from labelvae.training.optimizers import clip_gradients, scheduled_adamw
from labelvae.training.steps import planned_steps, skip_seen_batches


class FlowTraining(CheckedTask):
    """Trains a flow by maximum likelihood with AdamW, a linear warm-up and a cosine.

    Args:
        flow: What is trained, in place.
        learning_rate: Largest step size of AdamW.
        weight_decay: Weight decay of AdamW.

    Attributes:
        history: For each epoch, the means of `train_nats` and, where there are held-out data, of `nats`: the negative
            log-likelihood in nats per image or code.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(self, flow: ConditionalFlow, learning_rate: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__()
        check_kind("flow", flow, ConditionalFlow)
        self.flow = flow
        self.learning_rate = check_number("learning_rate", learning_rate, above=0)
        self.weight_decay = check_number("weight_decay", weight_decay, at_least=0)
        self.history: list[dict[str, float]] = []
        self._seen: dict[str, list[tuple[Tensor, int]]] = {}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the mean negative log-likelihood of a batch of data and labels `(B,)`, in nats.

        Raises:
            ValueError: a batch in no form of `data.given_data`; data or labels of another shape, type or range.
        """
        return self._nats("train_nats", batch)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep and log the same of held-out data."""
        nats = self._nats("nats", batch)
        self.log("val/nats", nats, batch_size=len(pair_of(batch)[1]))

    def _nats(self, name: str, batch: Any) -> Tensor:
        data, labels = pair_of(batch, "batch")
        nats = -self.flow.log_prob(data, labels).mean()
        self._seen.setdefault(name, []).append((nats.detach(), len(labels)))
        return nats

    def on_train_epoch_end(self) -> None:
        """Write the epoch's means into the history.

        Raises:
            FloatingPointError: the likelihood is not finite.
        """
        means = {}
        for name, kept in self._seen.items():
            values, counts = zip(*kept, strict=True)
            means[name] = float(torch.stack(values).cpu().float() @ torch.tensor(counts).float()) / sum(counts)
        self._seen = {}
        self.history.append(means)
        if not all(map(math.isfinite, means.values())):
            raise FloatingPointError("training: the likelihood is not finite; lower the learning rate")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the history."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the history."""
        self.history = list(checkpoint.get("history", []))

    def on_fit_start(self) -> None:
        """Take up training mode, and forget what a validation before the training left."""
        self.train()
        self._seen = {}

    def on_train_start(self) -> None:
        """Skip the batches that a training which was saved within an epoch has seen."""
        skip_seen_batches(self.trainer)

    def on_sanity_check_end(self) -> None:
        """Forget what Lightning's check before the training left."""
        self._seen = {}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's norm, see `clip_gradients`."""
        clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule.

        Raises:
            ValueError: a trainer without an end or without batches.
        """
        steps = planned_steps(self.trainer, self.trainer.max_epochs)
        groups = [{"params": list(self.flow.parameters())}]
        return scheduled_adamw(groups, self.learning_rate, self.weight_decay, steps, "cosine")
