"""Training images in two parts: those that stay, and those that are held out."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from labelvae.data.image_sets import StoredImages


def check_enough(images: StoredImages, class_names: Sequence[str], least: int) -> None:
    """Make sure that every class has an image for each split that is taken from these images.

    Raises:
        ValueError: a class with fewer images than `least`.
    """
    for name, count in zip(class_names, images.labels.bincount(minlength=len(class_names)).tolist(), strict=True):
        if count < least:
            aims = {1: "to train", 2: "to train and to hold some out", 3: "to train, validate and test"}[least]
            raise ValueError(f"class {name!r}: has {count} images, at least {least} are needed {aims}")


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
