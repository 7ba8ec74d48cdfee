"""Losses of a segmentation, as pure functions. Each returns one number an image, `(B,)`."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from labelvae.inputs.checks import check_choice

PixelLoss = Literal["cross-entropy", "dice"]


def pixel_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the cross-entropy of the pixels' classes, summed over the pixels: `(B,)`, in nats per image.

    Args:
        logits: the logits, `(B, K, H, W)`.
        masks: the class of every pixel, integers `(B, H, W)` in [0, K).

    Raises:
        ValueError: masks of another shape, type or range.

    >>> pixel_cross_entropy(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)) / 16
    tensor([0.6931])
    """
    masks = check_masks(logits, masks)
    return F.cross_entropy(logits.float(), masks, reduction="none").sum(dim=(1, 2))


def dice_loss(logits: Tensor, masks: Tensor, smooth: float = 1.0) -> Tensor:
    """Return 1 minus the mean Dice coefficient of the classes, `(B,)` in [0, 1].

    With p the probability of a class at a pixel, and t 1 at pixels of the class and 0 elsewhere, the coefficient of the
    class is a sum over pixels (Milletari et al., 2016, arXiv 1606.04797, but without squares below the line):

        (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth)

    Args:
        logits: the logits, `(B, K, H, W)`.
        masks: the class of every pixel, integers `(B, H, W)` in [0, K).
        smooth: a number of pixels. With it, a class that is neither in the image nor predicted counts as right.

    Raises:
        ValueError: masks of another shape, type or range.
    """
    masks = check_masks(logits, masks)
    probabilities = logits.float().softmax(dim=1)
    truth = F.one_hot(masks, logits.shape[1]).movedim(3, 1).to(probabilities.dtype)
    both = (probabilities * truth).sum(dim=(2, 3))
    each = probabilities.sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    return 1.0 - ((2.0 * both + smooth) / (each + smooth)).mean(dim=1)


def pixel_loss(name: PixelLoss, logits: Tensor, masks: Tensor) -> Tensor:
    """Return the loss of this name, `(B,)`: "cross-entropy", in nats per image, or "dice", in [0, 1]."""
    check_choice("loss", name, get_args(PixelLoss))
    return pixel_cross_entropy(logits, masks) if name == "cross-entropy" else dice_loss(logits, masks)


def check_masks(logits: Tensor, masks: Tensor) -> Tensor:
    """Return masks `(B, H, W)` as int64, checked against logits `(B, K, H, W)`.

    Raises:
        ValueError: masks of another shape, type or range.
    """
    expected = (len(logits), *logits.shape[2:])
    if not isinstance(masks, Tensor) or masks.shape != expected or masks.is_floating_point():
        got = f"{masks.dtype} {tuple(masks.shape)}" if isinstance(masks, Tensor) else type(masks).__name__
        raise ValueError(f"masks: expected integers of shape {expected}, got {got}")
    masks = masks.long()
    if masks.device.type == "cpu" and masks.numel():  # elsewhere the host would wait
        lowest, highest = (int(value) for value in torch.aminmax(masks))
        if lowest < 0 or highest >= logits.shape[1]:
            raise ValueError(f"masks: expected classes in [0, {logits.shape[1]}), got {lowest} to {highest}")
    return masks
