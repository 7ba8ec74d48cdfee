"""The style that a counterfactual keeps, as differentiable functions for the objective.

For strokes, these are other estimators than those of `evaluation.style`, which score a model, though the two agree
closely. For images in colour, they include what `evaluation.style` scores. So a good score for style does not replace a
look at the pictures.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def stroke_thickness(images: Tensor) -> Tensor:
    """Measure the width of strokes: their area over half their outline.

    The outline is the total variation. A stroke of length L and width w has the area L w and the outline 2 L.

    Args:
        images: the images, `(B, 1, H, W)` in [0, 1].

    Returns:
        The width, `(B,)`, in pixels.
    """
    images = F.pad(images.float(), (1, 1, 1, 1))
    across = 0.5 * (images[..., 1:-1, 2:] - images[..., 1:-1, :-2])
    down = 0.5 * (images[..., 2:, 1:-1] - images[..., :-2, 1:-1])
    outline = (across.square() + down.square() + 1e-8).sqrt().flatten(1).sum(dim=1)
    return 2.0 * images.flatten(1).sum(dim=1) / outline


def stroke_slant(images: Tensor) -> Tensor:
    """Measure how strokes lean: the slope of the line through the rows' centres of mass.

    Each row with ink counts the same, however much ink it has. So a long bar does not weigh more than a thin stem.

    Args:
        images: the images, `(B, 1, H, W)` in [0, 1].

    Returns:
        The slope, `(B,)`, in columns a row. It is positive for strokes that lean to the right.
    """
    rows = images.float().sum(dim=1)
    height, width = rows.shape[1:]
    mass = rows.sum(dim=2)
    centres = (rows * torch.arange(width, device=rows.device)).sum(dim=2) / mass.clamp_min(1e-6)
    counts = mass / (mass + 1.0)  # nearly 1 from some pixels on
    up = torch.arange(height - 1, -1, -1.0, device=rows.device)
    total = counts.sum(dim=1, keepdim=True).clamp_min(1e-6)
    up = up - (counts * up).sum(dim=1, keepdim=True) / total
    centres = centres - (counts * centres).sum(dim=1, keepdim=True) / total
    return (counts * up * centres).sum(dim=1) / (counts * up.square()).sum(dim=1).clamp_min(1e-6)


def window_colours(images: Tensor) -> Tensor:
    """Measure the mean colours of 7x7 windows. Each has a quarter of the image's size, and overlaps the next by half.

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].

    Returns:
        The colours, `(B, 49 C)`, in [0, 1].
    """
    return F.avg_pool2d(F.adaptive_avg_pool2d(images.float(), 8), 2, 1).flatten(1)


def style_of(images: Tensor) -> Tensor:
    """Measure the style that a counterfactual keeps.

    Args:
        images: the images, `(B, C, H, W)` in [0, 1]. Strokes are bright on dark.

    Returns:
        The style, `(B, S)`: thickness in pixels and slant in columns a row for images of one channel, else
        `window_colours`.
    """
    if images.shape[1] != 1:
        return window_colours(images)
    return torch.stack([stroke_thickness(images), stroke_slant(images)], dim=1)


def class_centred(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Subtract from each value the mean of its class in the batch.

    Args:
        values: the values, `(B, S)`.
        labels: the labels, int64 `(B,)`.
        num_classes: K.

    Returns:
        The differences, `(B, S)`.
    """
    one_hot = F.one_hot(labels, num_classes).to(values.dtype)
    with torch.autocast(values.device.type, enabled=False):  # a sum in bfloat16 would miss by tenths of a pixel
        means = one_hot.mT @ values / one_hot.sum(dim=0).clamp_min(1.0)[:, None]
    return values - means[labels]
