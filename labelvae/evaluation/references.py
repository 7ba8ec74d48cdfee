"""The references that a relabelling model is compared with: the image itself, and the mean of the asked class."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from labelvae.attributes.rows import Attributes
from labelvae.data.given_data import Batches as Batches  # noqa: PLC0414  where it was before
from labelvae.data.given_data import batches_of
from labelvae.data.given_data import checked_pair as checked_pair  # noqa: PLC0414  likewise
from labelvae.inputs.tensors import ImageShape


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
        batches: the images and labels that the means are taken of, in a form of `data.given_data`.
        num_classes: K.

    Raises:
        ValueError: no batches; images or labels of another shape, type or range.
    """

    def __init__(self, batches: Batches, num_classes: int) -> None:
        sums: Tensor | None = None
        counts = torch.zeros(num_classes, dtype=torch.float64)
        shape: ImageShape | None = None
        for batch in batches_of("batches", batches):
            images, labels = checked_pair(batch, shape, num_classes)
            channels, height, width = images.shape[1:]
            shape = channels, height, width
            if sums is None:
                sums = torch.zeros(num_classes, *shape, dtype=torch.float64)
            sums.index_add_(0, labels, images.double())
            counts += torch.bincount(labels, minlength=num_classes)
        if sums is None:
            raise ValueError("batches: expected at least one batch of images, got none")
        self.means = (sums / counts.clamp_min(1.0)[:, None, None, None]).float()

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean images of the labels, `(B, C, H, W)` in [0, 1]."""
        return self.means.to(images.device)[labels]

    def relabel(self, images: Tensor, labels: Tensor, own_labels: Tensor) -> Tensor:
        """Return the mean images of the asked labels, `(B, C, H, W)` in [0, 1]."""
        return self.means.to(images.device)[labels]
