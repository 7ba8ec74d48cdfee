"""Thickness and slant of pen strokes, bright on dark, as differentiable functions for the objective.

They are other estimators than those of `style`, which evaluate: a model that is trained towards these cannot
flatter those by their own mistakes.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

LARGEST_SIDE = 32
"""Pixels; larger images are made smaller before their slant is looked for."""
SHEARS = (-1.0, -0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SHARPNESS = 10.0


def stroke_thickness(images: Tensor) -> Tensor:
    """Area over half the outline of the strokes of images `(B, 1, H, W)`, `(B,)`, in pixels.

    The outline is the total variation: a stroke of length L and width w has the area L w and the outline 2 L.
    """
    images = F.pad(images.float(), (1, 1, 1, 1))
    across = 0.5 * (images[..., 1:-1, 2:] - images[..., 1:-1, :-2])
    down = 0.5 * (images[..., 2:, 1:-1] - images[..., :-2, 1:-1])
    outline = (across.square() + down.square() + 1e-8).sqrt().flatten(1).sum(dim=1)
    return 2.0 * images.flatten(1).sum(dim=1) / outline


def stroke_slant(images: Tensor) -> Tensor:
    """The shear that stands the strokes of images `(B, 1, H, W)` upright, `(B,)`, columns a row, in [-1, 1].

    Upright strokes gather in few columns, so each of a range of shears is weighed by how sharp the sums of the
    columns become: deslanting by projection profiles (Vinciarelli & Luettin, 2001, "A new normalization technique
    for cursive handwritten words").
    """
    images = images.float()
    factor = max(1, min(images.shape[-2:]) // LARGEST_SIDE)
    images = F.avg_pool2d(images, factor)
    height, width = images.shape[-2:]
    with torch.autocast(images.device.type, enabled=False):
        columns = images.flatten(1) @ _shears(height, width, images.device)
    sharp = columns.unflatten(1, (len(SHEARS), -1)).square().sum(dim=2)
    sharp = sharp / sharp.mean(dim=1, keepdim=True).clamp_min(1e-6)
    weights = torch.softmax(SHARPNESS * sharp, dim=1)
    return weights @ torch.tensor(SHEARS, device=images.device)


@lru_cache(maxsize=4)
def _shears(height: int, width: int, device: torch.device) -> Tensor:
    """From the pixels of an image to the sums of its columns after each shear, `(H W, shears (H + W))`."""
    up = torch.arange(height - 1, -1, -1.0)[:, None, None] - 0.5 * (height - 1)
    column = torch.arange(width)[None, :, None] + 0.5 * height
    after = torch.arange(height + width)
    parts = [(1.0 - (column - shear * up - after).abs()).clamp_min(0.0) for shear in SHEARS]
    return torch.cat(parts, dim=2).flatten(0, 1).to(device)


def stroke_style(images: Tensor) -> Tensor:
    """Thickness and slant of images `(B, 1, H, W)`, `(B, 2)`."""
    return torch.stack([stroke_thickness(images), stroke_slant(images)], dim=1)


def class_centred(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Values `(B, S)` minus the mean of their class, `(B, S)`."""
    one_hot = F.one_hot(labels, num_classes).to(values.dtype)
    means = one_hot.mT @ values / one_hot.sum(dim=0).clamp_min(1.0)[:, None]
    return values - means[labels]
