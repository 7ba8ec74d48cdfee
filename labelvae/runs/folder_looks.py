"""Look at some images of a folder, and choose the settings that suit them: photographs, strokes, or other images."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from labelvae.data.image_data import ImageData
from labelvae.runs.photographs import photograph_settings
from labelvae.runs.presets import FOLDER, STROKES
from labelvae.runs.settings import Settings

Kind = Literal["photographs in colour", "strokes", "other images"]

LOOKED_AT = 300
"""Images that are looked at."""

NEARLY = 1
"""Largest difference, in grey levels of 255, of neighbouring pixels that count as alike."""

MOST_ALIKE = 0.45
"""Largest share of neighbours that are alike in photographs. In scenes of 32x32 to 96x96 pixels it is 0.12 to 0.17, in
those of the sea 0.23, and 0.31 if they are blurred; in CIFAR10 0.08; in digits that are saved as RGB 0.82, in nuclei
under a microscope 0.73, in scenes on a white ground 0.58.
"""

LEAST_COLOUR = 0.025
"""Smallest mean difference, in [0, 1], of a pixel's channels in photographs in colour. In scenes and in CIFAR10 it is
0.13, in pale or dark ones 0.03 to 0.04; in grey images saved as RGB 0.
"""

GREY, NEAR, FAR = 4, 26, 110
"""Grey levels of strokes: the largest mean difference of a grey image's channels; the largest difference of a pixel of
the ground from the ground; the smallest of a pixel of a stroke.
"""

GROUND, STROKE = 0.6, 0.03
"""Smallest shares of pixels of the ground, and of strokes, in an image of strokes. In MNIST they are 0.83 and 0.14, in
printed letters 0.89 and 0.09; in Fashion-MNIST 0.53 and 0.35, in nuclei under a microscope 0.93 and 0.00.
"""


def folder_settings(data: ImageData, kind: Kind | None = None) -> Settings:
    """Choose the settings for images in class folders by looking at some training images.

    Args:
        data: the images.
        kind: what the images are. None takes that of `kind_of`.

    Returns:
        `photograph_settings` for photographs in colour; `STROKES` for strokes, with a weight for their style if they
        are bright and in one channel, as `style_of` measures it; and `FOLDER` for other images.
    """
    kind = kind_of(data) if kind is None else kind
    if kind == "photographs in colour":
        return photograph_settings(data.image_shape, len(data.splits["train"]))
    if kind == "other images":
        return FOLDER
    if data.image_shape[0] == 1 and grounds(_some(data)).median() < 128:
        return STROKES
    return replace(STROKES, vae=replace(STROKES.vae, objective=replace(STROKES.vae.objective, style_weight=0.0)))


def kind_of(data: ImageData) -> Kind:
    """Look at some training images, and return what they are."""
    images = _some(data)
    return "photographs in colour" if are_photographs(images) else "strokes" if are_strokes(images) else "other images"


def are_photographs(images: Tensor) -> bool:
    """Return whether images are photographs in colour: they have colours, and few flat areas.

    Drawings, strokes, icons and objects on an even ground have large areas of one colour.

    Args:
        images: some of the images, uint8 `(N, C, H, W)`.

    >>> are_photographs(torch.randint(256, (9, 3, 16, 16), dtype=torch.uint8))
    True
    >>> are_photographs(torch.zeros(9, 3, 16, 16, dtype=torch.uint8))
    False
    """
    if images.shape[1] != 3:
        return False
    levels = images.int()
    alike = (levels[..., 1:] - levels[..., :-1]).abs().amax(dim=1) <= NEARLY
    colour = (levels.amax(dim=1) - levels.amin(dim=1)).float().mean() / 255.0
    return float(alike.float().mean()) <= MOST_ALIKE and float(colour) >= LEAST_COLOUR


def are_strokes(images: Tensor) -> bool:
    """Return whether images are strokes: nearly all grey, most on an even ground, with something far from its grey.

    Args:
        images: some of the images, uint8 `(N, C, H, W)`.
    """
    levels = images.float()
    colour = (levels.amax(dim=1) - levels.amin(dim=1)).flatten(1).mean(dim=1)
    away = (levels.mean(dim=1) - grounds(images)[:, None, None]).abs().flatten(1)
    ground, stroke = (away <= NEAR).float().mean(dim=1), (away >= FAR).float().mean(dim=1)
    return bool(colour.quantile(0.95) <= GREY and ground.median() >= GROUND and stroke.median() >= STROKE)


def grounds(images: Tensor) -> Tensor:
    """Return the grey level of the ground of each image, `(N,)`: the median of the pixels at its border.

    Args:
        images: the images, uint8 `(N, C, H, W)`.
    """
    grey = images.float().mean(dim=1)
    sides = (grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1])
    return torch.cat(sides, dim=1).median(dim=1).values


def _some(data: ImageData) -> Tensor:
    train = data.splits["train"]
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    return train.subset(order[:LOOKED_AT]).load().images
