"""Random changes that keep the label, drawn for every image of a batch on its own and differentiable.

A classifier that has seen shifted, sheared and noisy images is *robust*: its gradients mean something to a
person, and ghost strokes do not fool it (Engstrom et al., 2019, arXiv 1906.00945; Ganz et al., 2022,
arXiv 2207.11378). torchvision's transforms draw one change for a whole batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from labelvae.inputs import check_rows
from labelvae.objective import Augmentation


@dataclass(frozen=True)
class Change:
    """One drawn change an image: the same can be done to several images alike.

    Attributes:
        maps: affine maps `(B, 2, 3)` from output to input coordinates in [-1, 1]; None leaves the pixels in place.
        thickening: `(B, 1, 1, 1)`, the share of a pixel by which bright strokes grow, or shrink where it is
            negative; None leaves them.
    """

    maps: Tensor | None
    thickening: Tensor | None


def augment(images: Tensor, how: Augmentation, generator: torch.Generator | None = None) -> Tensor:
    """Images `(B, C, H, W)` in [0, 1], each changed by its own draw of `how`; edges are repeated.

    Raises:
        ValueError: images of another shape or type; their range is not looked at.

    >>> augment(torch.rand(4, 1, 8, 8), Augmentation(rotation=10, noise=0.1)).shape
    torch.Size([4, 1, 8, 8])
    """
    check_rows("images", images, None, None, None)
    images = change(images, draw_change(images, how, generator), how)
    if how.blur:
        deviations = how.blur * images.new_empty(len(images)).uniform_(generator=generator)
        images = blurred(images, deviations, radius=math.ceil(2.0 * how.blur))
    return noised(images, how.noise, generator).clamp(0.0, 1.0) if how.noise else images


def blurred(images: Tensor, deviations: Tensor, radius: int) -> Tensor:
    """Images `(B, C, H, W)`, each blurred by a Gaussian of its own standard deviation `(B,)`, pixels; edges repeated.

    The Gaussian is cut off `radius` pixels from its centre.
    """
    steps = torch.arange(-radius, radius + 1, device=images.device)
    weights = torch.softmax(-0.5 * (steps / deviations.clamp_min(1e-3)[:, None]).square(), dim=1)
    for dim in (3, 2):
        size = images.shape[dim]
        # Not by F.pad: its gradient, compiled, fails on images in channels-last layout.
        first, last = images.narrow(dim, 0, 1), images.narrow(dim, size - 1, 1)
        padded = torch.cat([*[first] * radius, images, *[last] * radius], dim=dim)
        images = sum(  # type: ignore[assignment]
            weights[:, tap, None, None, None] * padded.narrow(dim, tap, size) for tap in range(len(steps))
        )
    return images


def noised(rows: Tensor, largest: float, generator: torch.Generator | None = None) -> Tensor:
    """Rows `(B, ...)` with Gaussian noise, each of its own standard deviation, drawn up to `largest`."""
    if not largest:
        return rows
    deviation = largest * rows.new_empty(len(rows), *[1] * (rows.ndim - 1)).uniform_(generator=generator)
    return rows + deviation * torch.empty_like(rows).normal_(generator=generator)


def draw_change(images: Tensor, how: Augmentation, generator: torch.Generator | None = None) -> Change:
    """One change an image, without the noise."""

    def draw(largest: float) -> Tensor:
        return images.new_empty(len(images)).uniform_(-largest, largest, generator=generator)

    thickening = draw(how.thickness)[:, None, None, None] if how.thickness else None
    if not (how.rotation or how.scale or how.shear or how.shift or how.flip):
        return Change(None, thickening)
    height, width = images.shape[-2:]
    angle, scale, shear = draw(math.radians(how.rotation)), 1.0 + draw(how.scale), draw(how.shear)
    mirror = torch.where(draw(1.0) < 0, -1.0, 1.0) if how.flip else torch.ones_like(scale)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    # Rotation and shear are in pixels; coordinates go from -1 to 1 along either side.
    across = torch.stack([cosine * mirror, (shear * cosine - sine) * (height / width), 2.0 * draw(how.shift)], dim=1)
    down = torch.stack([sine * mirror * (width / height), shear * sine + cosine, 2.0 * draw(how.shift)], dim=1)
    return Change(torch.stack([across, down], dim=1), thickening)


def change(images: Tensor, drawn: Change, how: Augmentation) -> Tensor:
    """Images `(B, C, H, W)` changed alike.

    Maps are applied in float32: bfloat16 would miss by half a pixel. Strokes grow towards the brightest pixel, and
    shrink towards the darkest one, of each 3x3 neighbourhood (grey-scale dilation and erosion).
    """
    if drawn.maps is not None:
        with torch.autocast(images.device.type, enabled=False):
            grid = F.affine_grid(drawn.maps.float(), list(images.shape), align_corners=False)
            images = F.grid_sample(
                images.float(), grid, mode=how.interpolation, padding_mode="border", align_corners=False
            )
    if drawn.thickening is not None:
        grown, shrunk = F.max_pool2d(images, 3, 1, 1), -F.max_pool2d(-images, 3, 1, 1)
        images = images + torch.where(
            drawn.thickening > 0, drawn.thickening * (grown - images), drawn.thickening * (images - shrunk)
        )
    return images
