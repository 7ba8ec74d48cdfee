"""A thin Lightning task that trains a flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from labelvae.data.given_data import pair_of
from labelvae.inputs.checks import check_kind
from labelvae.models.flow import ConditionalFlow as ConditionalFlow  # noqa: PLC0414  where it is looked for
from labelvae.training.history import TaskWithHistory
from labelvae.training.optimizers import clip_gradients


class FlowTraining(TaskWithHistory):
    """Trains a flow by maximum likelihood with AdamW, a linear warm-up and a cosine.

    Args:
        flow: what is trained, in place.
        learning_rate: largest step size of AdamW.
        weight_decay: weight decay of AdamW.

    Attributes:
        history: for each epoch, the means of `train_nats` and, where there are held-out data, of `nats`: the negative
            log-likelihood in nats per image or code.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(self, flow: ConditionalFlow, learning_rate: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate, weight_decay)
        check_kind("flow", flow, ConditionalFlow)
        self.flow = flow

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
        self.keep(name, nats, len(labels))
        return nats

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's norm, see `clip_gradients`."""
        clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
