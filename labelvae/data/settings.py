"""Which images a run reads, how they are split, and how they may be changed. Nothing here imports torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, get_args

from labelvae.inputs.checks import (
    as_size,
    check_choice,
    check_count,
    check_flag,
    check_number,
    check_span,
    plain_fields,
)

Interpolation = Literal["bilinear", "nearest"]
DataName = Literal["digits", "mnist", "fashion_mnist", "kmnist", "cifar10", "folder", "table", "celeba"]
WITH_ATTRIBUTES = ("table", "celeba")
"""Data sets whose labels are rows of attributes."""
RESIZED = ("folder", *WITH_ATTRIBUTES)
"""Data sets whose images are files of any size."""
LARGEST_SEED = 2**32 - 1
"""Largest seed of a split and of an order."""


@dataclass(frozen=True)
class Shares:
    """How images are split, and how much memory they may take. A number out of range raises `ValueError`.

    Attributes:
        validation_share: share of the training images held out for choosing settings, in (0, 0.5).
        test_share: share of the images held out for the final table, in (0, 0.5), if there are no test images.
        memory_share: largest share of the free memory that images may take, in [0, 1).
        seed: seed of the split.
    """

    validation_share: float = 0.1
    test_share: float = 0.2
    memory_share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("validation_share", "test_share"):
            check_number(name, getattr(self, name), above=0, below=0.5)
        check_number("memory_share", self.memory_share, at_least=0, below=1)
        check_count("seed", self.seed, at_least=0, at_most=LARGEST_SEED)


@dataclass(frozen=True)
class DataSettings:
    """The images of a run, and how they are split. A number out of range raises `ValueError`.

    Attributes:
        name: data set; `folder` reads images in class folders, `table` a folder with labels.csv, `celeba`
            the faces of that data set.
        image_size: height and width to resize the images of a folder to, such as 64, 64x48 or [64, 48]; null keeps
            their own if all have the same and it is at most 128x128, and takes 64x64 otherwise.
        validation_share: share of the training images held out for choosing settings, in (0, 0.5).
        test_share: share of the images held out for the final table, in (0, 0.5), if the data set has no test images.
        memory_share: largest share of the free memory that images may take, in [0, 1). More images of a folder stay in
            their files, and are decoded while the network trains.
        seed: seed of the split.
        skip_unreadable: leave out images of a folder that cannot be read, with a warning. Otherwise they are an error.
        attributes: what the columns of labels.csv are, such as {"angle": {"kind": "continuous", "low": 0, "high": 360,
            "periodic": true}, "object": null}. null infers a column. Columns that are not named are left out. Without
            this setting all columns are inferred. Of CelebA it names attributes, such as {"Smiling": null}.
    """

    name: DataName = "digits"
    image_size: tuple[int, int] | int | str | None = None
    validation_share: float = 0.1
    test_share: float = 0.2
    memory_share: float = 0.5
    seed: int = 0
    skip_unreadable: bool = False
    attributes: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        plain_fields(self)
        check_flag("skip_unreadable", self.skip_unreadable)
        if self.name not in get_args(DataName) and isinstance(self.name, str | PurePath) and os.path.isdir(self.name):
            raise ValueError(f"name: {str(self.name)!r} is a folder; ImageData('folder', {str(self.name)!r}) reads it")
        check_choice("name", self.name, get_args(DataName))
        _ = self.shares  # which checks them
        if self.image_size is not None:
            object.__setattr__(self, "image_size", as_size("image_size", self.image_size))
            if self.name not in RESIZED:
                raise ValueError(f"image_size: is for a folder of images only, got it beside {self.name!r}")
        if isinstance(self.attributes, Mapping):
            kinds = {name: kind.plain() if hasattr(kind, "plain") else kind for name, kind in self.attributes.items()}
            object.__setattr__(self, "attributes", kinds)
        if self.attributes is not None and self.name not in WITH_ATTRIBUTES:
            raise ValueError(
                f"attributes: are for a folder with labels.csv, 'table', or 'celeba', got them beside {self.name!r}"
            )

    @property
    def shares(self) -> Shares:
        """How the images are split, and how much memory they may take."""
        return Shares(self.validation_share, self.test_share, self.memory_share, self.seed)


@dataclass(frozen=True)
class Augmentation:
    """How far each image of a batch may be changed without changing its label. Each image draws its own change.

    A number out of range raises `ValueError`.

    Attributes:
        rotation: largest angle, in degrees.
        scale: largest relative change of the size, in [0, 1). The size is divided by 1 - scale to 1 + scale; 0.1 is
            0.91 to 1.11.
        sizes: smallest and largest size, as shares of the image's own, from 0.1 to 10. The logarithm is drawn evenly;
            scale comes on top.
        shear: largest horizontal shear, as a share of the height.
        shift: largest translation, as a share of the side.
        flip: mirror half of the images left to right.
        thickness: largest share of a pixel, below 1, by which bright strokes grow or shrink at every edge.
        strokes: smallest and largest thickness of bright strokes, as shares of their own, from 0.2 to 3. The logarithm
            is drawn evenly. A stroke grows at each edge by at most a seventh of the image's shorter side, and a thin
            stroke never vanishes.
        blur: largest standard deviation of a Gaussian blur, in pixels, at most 100.
        noise: largest standard deviation of Gaussian noise, in the range [0, 1] of a pixel.
        interpolation: how moved pixels are computed. nearest moves whole pixels, without blur.
        share: share of the images that are changed, in [0, 1].
    """

    rotation: float = 0.0
    scale: float = 0.0
    sizes: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    shift: float = 0.0
    flip: bool = False
    thickness: float = 0.0
    strokes: tuple[float, float] = (1.0, 1.0)
    blur: float = 0.0
    noise: float = 0.0
    interpolation: Interpolation = "bilinear"
    share: float = 1.0

    def __post_init__(self) -> None:
        plain_fields(self)
        for name, most in (("rotation", 360), ("shear", 100), ("shift", 100), ("blur", 100), ("noise", 100)):
            check_number(name, getattr(self, name), at_least=0, at_most=most)
        for name in ("scale", "thickness"):
            check_number(name, getattr(self, name), at_least=0, below=1)
        object.__setattr__(self, "sizes", check_span("sizes", self.sizes, at_least=0.1, at_most=10))
        object.__setattr__(self, "strokes", check_span("strokes", self.strokes, at_least=0.2, at_most=3))
        check_number("share", self.share, at_least=0, at_most=1)
        check_flag("flip", self.flip)
        check_choice("interpolation", self.interpolation, get_args(Interpolation))
