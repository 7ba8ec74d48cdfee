"""The references that a relabelling model is compared with, and the batches that both are scored on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from labelvae.attributes.rows import Attributes
from labelvae.inputs.labels import label_tensor
from labelvae.inputs.tensors import ImageShape, as_images, check_labels

Batches = Iterable[tuple[Any, Any]]
"""Batches of images `(B, C, H, W)` in [0, 1] and labels `(B,)`: a DataLoader, or a list of pairs."""


def repeatable(argument: str, source: Any) -> Batches:
    """Return batches that can be gone through more than once; a torch `Dataset` in batches of 256.

    Args:
        argument: its name in the caller's words.
        source: batches, or a `Dataset` of images and labels.

    Raises:
        ValueError: batches for one pass only, or none.
    """
    if isinstance(source, Dataset) and not isinstance(source, IterableDataset):
        return DataLoader(source, batch_size=256, collate_fn=_listed)
    if isinstance(source, Iterator) or not isinstance(source, Iterable):
        raise ValueError(
            f"{argument}: expected batches to go through more than once, got {type(source).__name__}; "
            "a list of batches, a DataLoader or a Dataset is"
        )
    return source


def _listed(rows: list[Any]) -> tuple[list[Any], ...]:
    """The images and the labels of examples, each as a list."""
    for row in rows:
        _pair(row)
    return tuple(list(part) for part in zip(*rows, strict=True))


def checked_pair(
    batch: object, image_shape: ImageShape, num_classes: int, class_names: Sequence[str] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the images and the labels of a batch, on the CPU: float32 `(B, C, H, W)` and int64 `(B,)`.

    Images and labels may come in any form that `ConditionalVAE.relabel` accepts, but each image has one class.

    Raises:
        ValueError: a batch that is no pair; images or labels of another shape, type or range.
    """
    images, labels = _pair(batch)
    images = as_images(images, image_shape)
    found = label_tensor(labels, num_classes, len(images), class_names=class_names)
    if found.ndim == 2:
        raise ValueError("labels: expected one class index an image, got rows of weights")
    return images.cpu().float(), check_labels(found, num_classes, len(images)).cpu()


def _pair(batch: object) -> tuple[Any, Any]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        got = type(batch).__name__ if not isinstance(batch, tuple | list) else f"{len(batch)} parts"
        raise ValueError(
            f"batches: expected pairs of images (B, C, H, W) and labels (B,), got {got}; "
            "[(images, labels)] is a list of one batch"
        )
    return batch[0], batch[1]


class Relabeller(Protocol):
    """The methods that `evaluate` needs of a model. `ConditionalVAE` has them."""

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return images `(B, C, H, W)` in [0, 1] under their own labels `(B,)`."""

    def relabel(self, images: Tensor, labels: Tensor, own_labels: Tensor) -> Tensor:
        """Return images `(B, C, H, W)` in [0, 1] under other labels `(B,)`."""


class ImageItself:
    """The reference that returns the image itself: all of the style, none of the label."""

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the images."""
        return images

    def relabel(self, images: Tensor, labels: Tensor, own_labels: Tensor) -> Tensor:
        """Return the images."""
        return images


class UnchangedImages(ImageItself):
    """The same reference for a label of several attributes: everything is left alone, nothing is followed.

    Args:
        attributes: what a label is made of.
        image_shape: `(C, H, W)` of the images.
    """

    def __init__(self, attributes: Attributes, image_shape: ImageShape) -> None:
        self.attributes, self.image_shape = attributes, image_shape


class ClassMean:
    """The reference that returns the mean image of the asked class: all of the label, none of the style.

    Args:
        batches: the images and labels that the means are taken of.
        num_classes: K.

    Raises:
        ValueError: no batches; images or labels of another shape, type or range.
    """

    def __init__(self, batches: Batches, num_classes: int) -> None:
        sums: Tensor | None = None
        counts = torch.zeros(num_classes, dtype=torch.float64)
        for batch in batches:
            images, labels = _pair(batch)
            images, labels = checked_pair(batch, tuple(images.shape[1:]), num_classes)
            if sums is None:
                sums = torch.zeros(num_classes, *images.shape[1:], dtype=torch.float64)
            sums.index_add_(0, labels.cpu(), images.cpu().double())
            counts += torch.bincount(labels.cpu(), minlength=num_classes)
        if sums is None:
            raise ValueError("batches: expected at least one batch of images, got none")
        self.means = (sums / counts.clamp_min(1.0)[:, None, None, None]).float()

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean images of the labels, `(B, C, H, W)` in [0, 1]."""
        return self.means.to(images.device)[labels]

    def relabel(self, images: Tensor, labels: Tensor, own_labels: Tensor) -> Tensor:
        """Return the mean images of the asked labels, `(B, C, H, W)` in [0, 1]."""
        return self.means.to(images.device)[labels]
