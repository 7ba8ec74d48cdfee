"""Random changes that keep the label. Each image of a batch gets its own change, and gradients pass through.

A classifier that has seen shifted, sheared and noisy images is *robust*: its gradients mean something to a person, and
ghost strokes do not fool it (Engstrom et al., 2019, arXiv 1906.00945; Ganz et al., 2022, arXiv 2207.11378).
torchvision's transforms draw one change for a whole batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from labelvae.data.differentiable_style import stroke_thickness
from labelvae.data.settings import Augmentation
from labelvae.inputs.checks import check_kind
from labelvae.inputs.tensors import check_rows

FINE = 2
"""Factor by which images are enlarged while the thickness of their strokes changes."""

MOST_GROWTH = 1 / 7
"""Largest growth of a stroke at each edge, as a share of the shorter side. It shrinks by at most half of that."""


@dataclass(frozen=True)
class Change:
    """One drawn change for each image. It can be made to several images alike.

    Attributes:
        maps: affine maps `(B, 2, 3)` from output to input coordinates in [-1, 1]. None leaves the pixels in place.
        thickening: the share of a pixel by which bright strokes grow (or shrink, if negative), `(B, 1, 1, 1)`, or None.
        strokes: the factor of the thickness of bright strokes, `(B, 1, 1, 1)`, or None.
        chosen: which images are changed, bool `(B, 1, 1, 1)`. None changes all.
    """

    maps: Tensor | None
    thickening: Tensor | None
    strokes: Tensor | None = None
    chosen: Tensor | None = None


def augment(images: Tensor, how: Augmentation, generator: torch.Generator | None = None) -> Tensor:
    """Change images at random, each by its own draw. Edges are repeated.

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].
        how: the largest changes.
        generator: the random number generator. None takes torch's own.

    Returns:
        The changed images, `(B, C, H, W)` in [0, 1].

    Raises:
        ValueError: images of another shape or type; no `Augmentation`. The images' range is not checked.

    >>> augment(torch.rand(4, 1, 8, 8), Augmentation(rotation=10, noise=0.1)).shape
    torch.Size([4, 1, 8, 8])
    """
    check_rows("images", images, None, None, None)
    check_kind("how", how, Augmentation)
    before, drawn = images, draw_change(images, how, generator)
    images = change(images, drawn, how)
    if how.blur:
        deviations = how.blur * images.new_empty(len(images)).uniform_(generator=generator)
        images = blurred(images, deviations, radius=math.ceil(2.0 * how.blur))
    images = noised(images, how.noise, generator).clamp(0.0, 1.0) if how.noise else images
    return images if drawn.chosen is None else torch.where(drawn.chosen, images, before)


def blurred(images: Tensor, deviations: Tensor, radius: int) -> Tensor:
    """Blur each image with a Gaussian of its own. Edges are repeated.

    Args:
        images: the images, `(B, C, H, W)`.
        deviations: the standard deviations of the Gaussians, `(B,)`, in pixels.
        radius: the distance from its centre, in pixels, at which a Gaussian is cut off.

    Returns:
        The blurred images, `(B, C, H, W)`.
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
    """Add Gaussian noise to rows. Each row has noise of its own standard deviation.

    Args:
        rows: the rows, `(B, ...)`.
        largest: the largest standard deviation, in the unit of the rows. Each row draws one from 0 to this.
        generator: the random number generator. None takes torch's own.

    Returns:
        The noisy rows, `(B, ...)`.
    """
    if not largest:
        return rows
    deviation = largest * rows.new_empty(len(rows), *[1] * (rows.ndim - 1)).uniform_(generator=generator)
    return rows + deviation * torch.empty_like(rows).normal_(generator=generator)


def draw_change(images: Tensor, how: Augmentation, generator: torch.Generator | None = None) -> Change:
    """Draw one change for each image, without blur and noise.

    Args:
        images: images `(B, C, H, W)` of the same size and device.
        how: the largest changes.
        generator: the random number generator. None takes torch's own.

    Returns:
        The drawn changes, for `change`.
    """

    def draw(largest: float) -> Tensor:
        return images.new_empty(len(images)).uniform_(-largest, largest, generator=generator)

    def draw_factor(span: tuple[float, float]) -> Tensor:
        smallest, largest = math.log(span[0]), math.log(span[1])
        return images.new_empty(len(images)).uniform_(smallest, largest, generator=generator).exp()

    thickening = draw(how.thickness)[:, None, None, None] if how.thickness else None
    strokes = draw_factor(how.strokes)[:, None, None, None] if how.strokes != (1.0, 1.0) else None
    chosen = None if how.share == 1 else (draw(1.0) < 2.0 * how.share - 1.0)[:, None, None, None]
    if not (how.rotation or how.scale or how.sizes != (1.0, 1.0) or how.shear or how.shift or how.flip):
        return Change(None, thickening, strokes, chosen)
    height, width = images.shape[-2:]
    angle, scale, shear = draw(math.radians(how.rotation)), 1.0 + draw(how.scale), draw(how.shear)
    scale = scale if how.sizes == (1.0, 1.0) else scale / draw_factor(how.sizes)
    mirror = torch.where(draw(1.0) < 0, -1.0, 1.0) if how.flip else torch.ones_like(scale)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    # Rotation and shear are in pixels; coordinates go from -1 to 1 along either side.
    across = torch.stack([cosine * mirror, (shear * cosine - sine) * (height / width), 2.0 * draw(how.shift)], dim=1)
    down = torch.stack([sine * mirror * (width / height), shear * sine + cosine, 2.0 * draw(how.shift)], dim=1)
    return Change(torch.stack([across, down], dim=1), thickening, strokes, chosen)


def change(images: Tensor, drawn: Change, how: Augmentation) -> Tensor:
    """Make drawn changes to images.

    Strokes grow towards the brightest pixel, and shrink towards the darkest pixel, of each 3x3 neighbourhood
    (grey-scale dilation and erosion). A factor of their thickness is applied to the enlarged image. The brightest pixel
    stays as bright, so that thin lines do not become paler. Positions are computed in float32: bfloat16 would be off by
    half a pixel.

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].
        drawn: one change for each image.
        how: the settings that the changes were drawn from.

    Returns:
        The changed images, `(B, C, H, W)` in [0, 1].
    """
    before, fine = images, 1 if drawn.strokes is None else FINE
    if drawn.maps is not None or fine > 1:
        images = _sampled(images, drawn.maps, fine, how)
    if drawn.strokes is not None:
        again = F.avg_pool2d(_drawn_again(images, drawn.strokes), fine)
        brightest = [each.detach().amax(dim=(1, 2, 3), keepdim=True) for each in (images, again)]
        images = (again * (brightest[0] / brightest[1].clamp_min(1e-6))).clamp(0.0, 1.0)
    if drawn.thickening is not None:
        grown, shrunk = _brightest(images, 1), -_brightest(-images, 1)
        images = images + torch.where(
            drawn.thickening > 0, drawn.thickening * (grown - images), drawn.thickening * (images - shrunk)
        )
    return images if drawn.chosen is None else torch.where(drawn.chosen, images, before)


def _sampled(images: Tensor, maps: Tensor | None, fine: int, how: Augmentation) -> Tensor:
    """Return images under affine maps, enlarged `fine` times."""
    with torch.autocast(images.device.type, enabled=False):
        if maps is None:
            maps = torch.eye(2, 3, device=images.device).expand(len(images), -1, -1)
        height, width = images.shape[-2:]
        grid = F.affine_grid(maps.float(), [*images.shape[:2], height * fine, width * fine], align_corners=False)
        return F.grid_sample(images.float(), grid, mode=how.interpolation, padding_mode="border", align_corners=False)


def _drawn_again(images: Tensor, factors: Tensor) -> Tensor:
    """Return images `(B, C, H, W)` with strokes `factors` `(B, 1, 1, 1)` times as thick.

    A stroke grows or shrinks by the same distance at every edge, measured in the mean thickness of the image's strokes.
    If a stroke would vanish, its middle stays: the part that an opening removes from the rest.
    """
    width = stroke_thickness(images.detach().mean(dim=1, keepdim=True))[:, None, None, None]
    reach = 0.5 * width * (factors - 1.0)
    grown = shrunk = images
    middle = torch.zeros_like(images)
    steps = math.ceil(MOST_GROWTH * min(images.shape[-2:]))
    for step in range(steps):
        grown = grown + (reach - step).clamp(0.0, 1.0) * (_brightest(grown, step) - grown)
    for step in range(math.ceil(steps / 2)):
        share = (-reach - step).clamp(0.0, 1.0)
        less = -_brightest(-shrunk, step)
        middle = torch.maximum(middle, share * (shrunk - _brightest(less, step)).clamp_min(0.0))
        shrunk = shrunk + share * (less - shrunk)
    return torch.where(factors > 1.0, grown, torch.maximum(shrunk, middle))


def _brightest(images: Tensor, step: int) -> Tensor:
    """Return the brightest of each pixel and its 8 neighbours, or 4 at every other step, to keep edges round."""
    across = _brighter(images, dim=3)
    return _brighter(across, dim=2) if step % 2 else torch.maximum(across, _brighter(images, dim=2))


def _brighter(images: Tensor, dim: int) -> Tensor:
    """Return the brightest of each pixel and its two neighbours along a side, several times as fast as `max_pool2d`."""
    size = images.shape[dim]
    first, last = images.narrow(dim, 0, 1), images.narrow(dim, size - 1, 1)
    after = torch.cat([images.narrow(dim, 1, size - 1), last], dim=dim)
    before = torch.cat([first, images.narrow(dim, 0, size - 1)], dim=dim)
    return torch.maximum(images, torch.maximum(before, after))
