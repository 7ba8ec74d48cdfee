"""Which settings suit the images of a folder: those for strokes, or those for photographs."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from labelvae.data.image_sets import FileImages, ImageSet
from labelvae.runs.presets import FOLDER, STROKES
from labelvae.runs.settings import Settings

LOOKED_AT = 300
"""Number of training images that are looked at."""

GREY, NEAR, FAR = 4, 26, 110
"""Grey levels: the largest difference of a grey image's channels, on average; the largest of a pixel of the ground from
the ground; the smallest of a pixel of a stroke."""

GROUND, STROKE = 0.6, 0.03
"""Smallest shares of the ground's pixels, and of the strokes', in an image of strokes."""

How = TypeVar("How")


def suited(settings: Settings, train: ImageSet | FileImages) -> Settings:
    """Return the settings that suit the images of a folder.

    The preset `FOLDER` is for photographs. If the images are strokes, each of its settings that is still the preset's
    own is replaced by that of `STROKES`. Settings that were changed stay.

    Args:
        settings: the settings of the run. Those of other data are returned as they are.
        train: the training images.

    Returns:
        The settings. A line on the standard output says when they are for strokes.
    """
    if settings.data.name != "folder":
        return settings
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:LOOKED_AT]
    images = train.subset(order.sort().values).load().images
    if not are_strokes(images):
        return settings
    print("the images are strokes: grey, on an even ground; settings for strokes", flush=True)
    wanted = STROKES
    if images.shape[1] > 1 or grounds(images).median() > 127:  # style is measured of bright strokes in one channel
        wanted = replace(wanted, vae=replace(wanted.vae, objective=replace(wanted.vae.objective, style_weight=0.0)))
    chosen = {name: _taken(getattr(settings, name), getattr(FOLDER, name), getattr(wanted, name)) for name in PARTS}
    return replace(settings, **chosen)


PARTS = ("guide", "judge", "vae")
"""Settings of a run that depend on the images."""


def are_strokes(images: Tensor) -> bool:
    """Return whether images are strokes: grey, on an even ground that covers most of an image, and far from it.

    Args:
        images: the images, uint8 `(N, C, H, W)`.

    Returns:
        Whether most of the images are strokes, and nearly all are grey.
    """
    levels = images.float()
    colour = (levels.amax(dim=1) - levels.amin(dim=1)).flatten(1).mean(dim=1)
    away = (levels.mean(dim=1) - grounds(images)[:, None, None]).abs().flatten(1)
    ground, stroke = (away <= NEAR).float().mean(dim=1), (away >= FAR).float().mean(dim=1)
    grey = colour.quantile(0.95) <= GREY
    return bool(grey and ground.median() >= GROUND and stroke.median() >= STROKE)


def grounds(images: Tensor) -> Tensor:
    """Return the grey level of each image's ground, `(N,)`: the median of the pixels at its border."""
    grey = images.float().mean(dim=1)
    sides = (grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1])
    return torch.cat(sides, dim=1).median(dim=1).values


def _taken(given: How, plain: How, wanted: How) -> How:
    """Return the wanted settings where the given ones are the plain ones."""
    if given == plain:
        return wanted
    if not is_dataclass(given):
        return given
    names = [field.name for field in fields(given)]
    parts = {name: _taken(getattr(given, name), getattr(plain, name), getattr(wanted, name)) for name in names}
    return replace(given, **parts)  # type: ignore[type-var]
