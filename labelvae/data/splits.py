"""Which images a split has: those that stay and those that are held out, and every class equally often."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelvae.data.image_sets import ImageSet, StoredImages
from labelvae.data.settings import LARGEST_SEED, Shares
from labelvae.data.split_folders import SplitName
from labelvae.inputs.checks import check_count, in_words
from labelvae.inputs.conversions import described

DARK = (15, 16)
"""Brightest levels, of 255, of images that were drawn with 16 levels."""


def in_three(
    train: StoredImages,
    validation: StoredImages | None,
    test: StoredImages | None,
    shares: Shares,
    class_names: Sequence[str] | None,
) -> dict[SplitName, StoredImages]:
    """Return the images of each split. A split that is None is taken from the training images.

    Args:
        train: the training images.
        validation: the images for choosing settings.
        test: the test images.
        shares: how much is held out, and the seed.
        class_names: the name of each class, of which each split gets its share. None for labels of attributes.

    Raises:
        ValueError: too few images; images that are black.
    """
    check_bright(train)
    if class_names is not None:
        check_enough(train, class_names, 1 + (validation is None) + (test is None))
    if test is None:
        train, test = split_off(train, shares.test_share, shares.seed, class_names)
    if validation is None:
        train, validation = split_off(train, shares.validation_share, shares.seed + 1, class_names)
    return {"train": train, "validation": validation, "test": test}


def check_enough(images: StoredImages, class_names: Sequence[str], least: int) -> None:
    """Make sure that every class has an image for each split that is taken from these images.

    Raises:
        ValueError: a class with fewer images than `least`.
    """
    for name, count in zip(class_names, images.labels.bincount(minlength=len(class_names)).tolist(), strict=True):
        if count < least:
            aims = {1: "to train", 2: "to train and to hold some out", 3: "to train, validate and test"}[least]
            raise ValueError(
                f"class {name!r}: has {in_words(count, 'image', 'images')}, at least {least} are needed {aims}; labels "
                "are indices from 0, or names"
            )


def check_bright(images: StoredImages) -> None:
    """Make sure that images in memory are not black: integers of only 0 and 1, where 255 is white.

    Warn if all are dark, as those of scikit-learn's digits are if their levels, 0 to 16, are taken for bytes.

    Raises:
        ValueError: no pixel is brighter than 1.
    """
    brightest = int(images.images.max()) if isinstance(images, ImageSet) and len(images) else 0
    if brightest in DARK:
        warnings.warn(
            f"images: the brightest level is {brightest} of 255, so all are dark; if {brightest} is white, divide by "
            "it and pass floats, or save files in which white is 255",
            stacklevel=5,
        )
    if brightest == 1:
        raise ValueError(
            "images: expected integers from 0 to 255, got only 0 and 1, which would all be black; pass images of 0 and "
            "1 as booleans or floats, or save files in which white is 255"
        )


def split_off(
    images: StoredImages, share: float, seed: int, class_names: Sequence[str] | None
) -> tuple[StoredImages, StoredImages]:
    """Split images in two: those that stay, and a share that is held out.

    Args:
        images: the images.
        share: the share that is held out, at least one image.
        seed: the seed of the draw.
        class_names: the name of each class; the share is then held out of every class. None holds it out of all images.

    Returns:
        The images that stay, and those that are held out.

    Raises:
        ValueError: fewer than two images.
    """
    generator = torch.Generator().manual_seed(seed)
    kept, held_out = [], []
    if class_names is None and len(images) < 2:
        raise ValueError(f"images: expected at least 3, to train, validate and test, got {len(images)} too few")
    groups = [torch.arange(len(images))]
    if class_names is not None:
        groups = [(images.labels == label).nonzero().flatten() for label in range(len(class_names))]
    for group in groups:
        members = group[torch.randperm(len(group), generator=generator)]
        count = max(1, round(share * len(members)))
        held_out.append(members[:count])
        kept.append(members[count:])
    return images.subset(torch.cat(kept).sort().values), images.subset(torch.cat(held_out).sort().values)


def balanced(labels: Any, seed: int = 0) -> Tensor:
    """Choose images so that every class comes equally often: the images of rarer classes are repeated.

    `train.subset(balanced(train.labels))` is a split of such images. Repeat training images only, and after the test
    images are split off; an image must not be in both.

    Args:
        labels: the class of each image, `(N,)`: indices or names, as a tensor, a list, an array or a column of a table.
        seed: chooses the images that are repeated once more than the others of their class.

    Returns:
        Places of the images, int64 `(M,)`, in order. M is the size of the largest class times the number of classes
        that have an image.

    Raises:
        ValueError: labels of another form; a seed that is no number.

    >>> balanced(torch.tensor([0, 0, 0, 0, 1, 1])).tolist()
    [0, 1, 2, 3, 4, 4, 5, 5]
    """
    generator = torch.Generator().manual_seed(check_count("seed", seed, at_least=0, at_most=LARGEST_SEED))
    try:
        given = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
        known, places = np.unique(given, return_inverse=True)
    except (TypeError, ValueError, RuntimeError):  # of several kinds, or rows of several lengths
        given = np.zeros(())
    if given.ndim != 1:
        raise ValueError(f"labels: expected the class of each image, shape (N,), got {described(labels)}")
    groups = [torch.from_numpy((places == place).nonzero()[0]) for place in range(len(known))]
    most = max(map(len, groups), default=0)
    chosen = []
    for group in groups:
        times, rest = divmod(most, len(group))
        chosen += [group.repeat(times), group[torch.randperm(len(group), generator=generator)[:rest]]]
    return torch.cat(chosen).sort().values if chosen else torch.zeros(0, dtype=torch.long)
