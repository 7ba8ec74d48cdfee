"""Between gradients and weights: how the learning rate moves, and how gradients are clipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from labelvae.training.options import Schedule

CLIP_NORM = 200.0
"""Largest norm of a parameter group's gradient. Losses are sums over pixels, so gradients are large."""


def learning_rate_factor(step: int, steps: int, schedule: Schedule = "cosine") -> float:
    """Return the factor of the learning rate at a step, in [0, 1].

    "cosine": a linear rise from 0 to 1 over the first tenth, then a cosine down to 0 (Loshchilov & Hutter, 2017, arXiv
    1608.03983). "one-cycle": a cosine up from 1/25 over the first 30 %, then a cosine down to 0 (Smith & Topin, 2018,
    arXiv 1708.07120). Both depend on the step alone, so a run can be resumed with more epochs.

    Args:
        step: the number of the step, from 0.
        steps: the number of steps of the training.
        schedule: "cosine" or "one-cycle".

    >>> [round(learning_rate_factor(step, 100), 2) for step in (0, 5, 10, 55, 100)]
    [0.09, 0.55, 1.0, 0.5, 0.0]
    >>> [round(learning_rate_factor(step, 100, "one-cycle"), 2) for step in (0, 15, 30, 65, 100)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """
    warm_up = (0.1 if schedule == "cosine" else 0.3) * steps
    if step >= warm_up:
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1.0, steps - warm_up))))
    if schedule == "cosine":
        return (step + 1.0) / (warm_up + 1.0)
    return 1.0 - 0.96 * 0.5 * (1.0 + math.cos(math.pi * step / warm_up))


def clip_gradients(
    optimizer: torch.optim.Optimizer, largest: float | None = None, algorithm: str | None = None
) -> None:
    """Clip the gradients of each parameter group on its own, so that a discriminator does not shrink the model's steps.

    Args:
        optimizer: the optimizer of the parameters.
        largest: the largest norm, or the largest absolute value. 0 clips nothing. None clips the norm to `CLIP_NORM`.
        algorithm: "norm" or "value"; None for "norm".
    """
    if largest == 0:
        return
    for group in optimizer.param_groups:
        if largest is not None and algorithm == "value":
            torch.nn.utils.clip_grad_value_(group["params"], largest)
        else:
            torch.nn.utils.clip_grad_norm_(group["params"], CLIP_NORM if largest is None else largest)


class ScheduledRate(torch.optim.lr_scheduler.LambdaLR):
    """Move the learning rates of an optimizer by `learning_rate_factor`.

    Args:
        optimizer: the optimizer.
        steps: the number of steps of the training.
        schedule: "cosine" or "one-cycle".
    """

    def __init__(self, optimizer: torch.optim.Optimizer, steps: int, schedule: Schedule) -> None:
        super().__init__(optimizer, lambda step: learning_rate_factor(step, steps, schedule))

    def plan(self, steps: int, schedule: Schedule, rates: Sequence[float] | None = None) -> None:
        """Go on with another number of steps, from the next step on.

        Args:
            steps: the number of steps of the whole training.
            schedule: "cosine" or "one-cycle".
            rates: the largest learning rate of each parameter group. None keeps the rates.
        """
        self.base_lrs = list(rates or self.base_lrs)
        self.lr_lambdas = [lambda step: learning_rate_factor(step, steps, schedule)] * len(self.lr_lambdas)
        factor = learning_rate_factor(self.last_epoch, steps, schedule)
        for group, rate in zip(self.optimizer.param_groups, self.base_lrs, strict=False):
            group["initial_lr"], group["lr"] = rate, rate * factor
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def scheduled_adamw(
    groups: list[dict[str, Any]], learning_rate: float, weight_decay: float, steps: int, schedule: Schedule
) -> dict[str, Any]:
    """Return AdamW and its schedule over `steps` steps, in the form that Lightning accepts."""
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)
    moved = ScheduledRate(optimizer, steps, schedule)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": moved, "interval": "step"}}


def lay_out_like_weights(optimizer: torch.optim.Optimizer) -> None:
    """Lay an optimizer's state out in memory like the weights: AdamW's fused kernel walks through both side by side."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape and value.ndim > 0:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
