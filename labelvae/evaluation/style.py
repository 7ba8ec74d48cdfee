"""Style statistics: what should survive when the label changes, measured on the pixels.

Pen strokes, bright on dark, have an amount of ink, a thickness and a slant (Castro et al., 2019, "Morpho-MNIST:
Quantitative Assessment and Diagnostics for Representation Learning"). Natural images have a layout of colours.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy.ndimage import label
from scipy.spatial import KDTree
from skimage.morphology import skeletonize
from torch import Tensor
from torch.nn import functional as F


def ink(images: Tensor) -> Tensor:
    """Measure the amount of ink: the mean brightness of each image.

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].

    Returns:
        The ink, `(B,)`, in [0, 1].
    """
    return images.double().flatten(1).mean(dim=1)


def slant(images: Tensor) -> Tensor:
    """Measure how far strokes lean to the right, from second moments.

    The tangent of the slant is the covariance of column and height over the variance of height, weighted by brightness.
    This is the shear that would set the image upright.

    Args:
        images: the images, `(B, 1, H, W)` in [0, 1].

    Returns:
        The slant, `(B,)`, in radians from upright.
    """
    weight = images.double().sum(dim=1)
    total = weight.sum(dim=(1, 2), keepdim=True).clamp_min(1e-9)
    height, width = weight.shape[1:]
    up = torch.arange(height - 1, -1, -1, dtype=weight.dtype, device=weight.device)[:, None]
    across = torch.arange(width, dtype=weight.dtype, device=weight.device)[None, :]
    up = up - (weight * up).sum(dim=(1, 2), keepdim=True) / total
    across = across - (weight * across).sum(dim=(1, 2), keepdim=True) / total
    covariance = (weight * up * across).sum(dim=(1, 2))
    return torch.atan(covariance / (weight * up * up).sum(dim=(1, 2)).clamp_min(1e-9))


def thickness(images: Tensor) -> Tensor:
    """Measure the mean width of strokes.

    The width is twice the distance from the skeleton to the edge. It is measured on the image enlarged to at least 112
    pixels and cut at half of its brightest value. The ends of a stroke count as thinner than its middle.

    Args:
        images: the images, `(B, 1, H, W)` in [0, 1].

    Returns:
        The width, `(B,)`, in pixels; 0 for an image without a stroke.
    """
    factor = max(2, math.ceil(112 / min(images.shape[-2:])))
    enlarged = F.interpolate(images.float(), scale_factor=factor, mode="bilinear", align_corners=False)
    with ThreadPoolExecutor() as threads:  # most of the work holds no lock
        widths = [width / factor for width in threads.map(_width, enlarged.sum(dim=1).cpu().numpy())]
    return torch.tensor(widths, dtype=torch.float64, device=images.device)


def _width(image: np.ndarray) -> float:
    stroke = image > max(0.5 * float(image.max()), 1e-3)
    rows, columns = (np.flatnonzero(stroke.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return 0.0
    stroke = np.pad(
        stroke[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1
    )  # what is dark around is not needed
    skeleton = np.argwhere(skeletonize(stroke))
    beside = np.zeros_like(stroke)  # dark pixels that touch the stroke: the nearest to any of its pixels is one of them
    beside[1:] |= stroke[:-1]
    beside[:-1] |= stroke[1:]
    beside[:, 1:] |= stroke[:, :-1]
    beside[:, :-1] |= stroke[:, 1:]
    distances = np.asarray(KDTree(np.argwhere(beside & ~stroke)).query(skeleton)[0])
    # Distances are to the centre of the nearest dark pixel; the skeleton of n pixels lies at (n + 1) / 2 or n / 2.
    return float((2.0 * distances - 0.5).mean())


def regions(images: Tensor) -> Tensor:
    """Count the separate bright regions of each image: a stroke counts 1, and each speck adds 1.

    A region is a set of touching pixels (corners count) above a quarter of the brightest value.

    Args:
        images: the images, `(B, 1, H, W)` in [0, 1].

    Returns:
        The counts, float64 `(B,)`.
    """
    bright = images.float() > 0.25 * images.float().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-3)
    counts = [label(image, structure=np.ones((3, 3)))[1] for image in bright.any(dim=1).cpu().numpy()]
    return torch.tensor(counts, dtype=torch.float64, device=images.device)


def layout(images: Tensor) -> Tensor:
    """Measure where the colours are: a 4x4 thumbnail.

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].

    Returns:
        The colours of the thumbnail, `(B, 16 C)`, in [0, 1].
    """
    return F.adaptive_avg_pool2d(images.double(), 4).flatten(1)


def style_statistics(images: Tensor) -> dict[str, Tensor]:
    """Measure every style statistic that images of this kind have.

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].

    Returns:
        The statistics by name, each `(B, S)`: `ink`, `thickness` and `slant` for one channel, `layout` for more.

    >>> sorted(style_statistics(torch.rand(5, 1, 8, 8)))
    ['ink', 'slant', 'thickness']
    """
    if images.shape[1] != 1:
        return {"layout": layout(images)}
    return {"ink": ink(images)[:, None], "thickness": thickness(images)[:, None], "slant": slant(images)[:, None]}
