"""Random changes that keep the label, drawn for every image of a batch on its own and differentiable.

A classifier that has seen shifted, sheared and noisy images is *robust*: its gradients mean something to a
person, and ghost strokes do not fool it (Engstrom et al., 2019, arXiv 1906.00945; Ganz et al., 2022,
arXiv 2207.11378). torchvision's transforms draw one change for a whole batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from labelvae.settings import Augmentation


def augment(images: Tensor, how: Augmentation, generator: torch.Generator | None = None) -> Tensor:
    """Images `(B, C, H, W)` in [0, 1], each changed by its own draw of `how`; edges are repeated.

    >>> augment(torch.rand(4, 1, 8, 8), Augmentation(rotation=10, noise=0.1)).shape
    torch.Size([4, 1, 8, 8])
    """
    if how.rotation or how.scale or how.shear or how.shift or how.flip:
        images = warp(images, draw_warp(images, how, generator), how)
    if how.noise:
        deviation = how.noise * images.new_empty(len(images), 1, 1, 1).uniform_(generator=generator)
        images = (images + deviation * torch.empty_like(images).normal_(generator=generator)).clamp(0.0, 1.0)
    return images


def draw_warp(images: Tensor, how: Augmentation, generator: torch.Generator | None = None) -> Tensor:
    """One affine map an image, `(B, 2, 3)`, from output to input coordinates in [-1, 1].

    The same maps can move several images alike: `warp` them one after the other.
    """

    def draw(largest: float) -> Tensor:
        return images.new_empty(len(images)).uniform_(-largest, largest, generator=generator)

    height, width = images.shape[-2:]
    angle, scale, shear = draw(math.radians(how.rotation)), 1.0 + draw(how.scale), draw(how.shear)
    mirror = torch.where(draw(1.0) < 0, -1.0, 1.0) if how.flip else torch.ones_like(scale)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    # Rotation and shear are in pixels; coordinates go from -1 to 1 along either side.
    across = torch.stack([cosine * mirror, (shear * cosine - sine) * (height / width), 2.0 * draw(how.shift)], dim=1)
    down = torch.stack([sine * mirror * (width / height), shear * sine + cosine, 2.0 * draw(how.shift)], dim=1)
    return torch.stack([across, down], dim=1)


def warp(images: Tensor, maps: Tensor, how: Augmentation) -> Tensor:
    """Images `(B, C, H, W)` moved by affine maps `(B, 2, 3)`, in float32: bfloat16 would miss by half a pixel."""
    with torch.autocast(images.device.type, enabled=False):
        grid = F.affine_grid(maps.float(), list(images.shape), align_corners=False)
        return F.grid_sample(images.float(), grid, mode=how.interpolation, padding_mode="border", align_corners=False)
