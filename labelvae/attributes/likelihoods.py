"""How likely a value is under what a classifier's head says: negative log-likelihoods `(B,)`, in nats."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LOG_SCALES = (-5.0, 3.0)
"""Bounds of a normal distribution's log scale, in half ranges: a head may not grow certain without limit."""

LARGEST_CONCENTRATION = 1e3
"""Bound of a von Mises distribution's concentration: a deviation of 1.8 degrees."""


def category_nll(logits: Tensor, index: Tensor) -> Tensor:
    """Compute the cross-entropy of logits `(B, K)` with class indices `(B,)`."""
    return F.cross_entropy(logits.float(), index.long(), reduction="none")


def binary_nll(logits: Tensor, truth: Tensor) -> Tensor:
    """Compute the binary cross-entropy of logits `(B, 1)` with 0 or 1 `(B,)`."""
    return F.binary_cross_entropy_with_logits(logits[:, 0].float(), truth.float(), reduction="none")


def normal_nll(parameters: Tensor, values: Tensor) -> Tensor:
    """Compute -log N(value; mean, scale^2).

    Args:
        parameters: mean and log scale, `(B, 2)`; the log scale is held within `LOG_SCALES`.
        values: `(B,)`, in the mean's unit.
    """
    mean, log_scale = parameters.float().unbind(dim=1)
    log_scale = log_scale.clamp(*LOG_SCALES)
    squared = ((values - mean) * torch.exp(-log_scale)).square()
    return 0.5 * squared + log_scale + 0.5 * math.log(2.0 * math.pi)


def von_mises_nll(parameters: Tensor, radians: Tensor) -> Tensor:
    """Compute -log of the von Mises density, per radian.

    Its parameters are the natural ones, `(k cos m, k sin m)` for a mean direction m and a concentration k. The
    density is `exp(k cos(x - m)) / (2 pi I0(k))` (Mardia and Jupp, 2000, "Directional Statistics").

    Args:
        parameters: `(B, 2)`; their length, the concentration, is held below `LARGEST_CONCENTRATION`.
        radians: `(B,)`; whole turns make no difference.
    """
    parameters = parameters.float()
    length = parameters.square().sum(dim=1).add(1e-12).sqrt()
    shrink = (LARGEST_CONCENTRATION / length).clamp_max(1.0)
    concentration = length * shrink
    along = (parameters[:, 0] * torch.cos(radians) + parameters[:, 1] * torch.sin(radians)) * shrink
    log_bessel = torch.log(torch.special.i0e(concentration)) + concentration
    return log_bessel + math.log(2.0 * math.pi) - along
