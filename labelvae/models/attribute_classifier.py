"""A classifier with a head for each attribute: it reads what an image is, guides a loss, or judges.

Its heads say how likely every value is: a softmax over a category, the probability of yes, a normal distribution of a
number, a von Mises distribution of an angle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from labelvae.attributes.rows import Attributes
from labelvae.inputs.checks import check_count
from labelvae.inputs.tensors import Images, ImageShape, as_images, moved
from labelvae.models.classifier import LabelClassifier
from labelvae.models.frozen import Classifier
from labelvae.models.inference import evaluation_mode
from labelvae.models.options import ClassifierKind
from labelvae.models.saving import Pretrained


class AttributeClassifier(Pretrained, Classifier):
    """Images to what each attribute of their label is.

    Args:
        image_shape: `(C, H, W)`.
        attributes: a dict from names to `Category`, `Binary` and `Continuous`.
        kind: the kind of network, see `LabelClassifier`.
        widths: channels after each halving of the resolution, or units of each layer.
        blocks: residual blocks at each resolution (not of an mlp).
        feature_dim: units of the last hidden layer.
        dropout: share of features dropped while training.

    Raises:
        ValueError: an argument out of range.

    >>> from labelvae.attributes import Binary, Continuous
    >>> classifier = AttributeClassifier((1, 8, 8), {"bright": Binary(), "width": Continuous(1, 5, "pixels")})
    >>> sorted(classifier.read(torch.rand(3, 1, 8, 8)))
    ['bright', 'width']
    """

    def __init__(
        self,
        image_shape: ImageShape,
        attributes: Mapping[str, Any],
        kind: ClassifierKind = "convolutional",
        widths: Sequence[int] = (32, 64),
        blocks: int = 0,
        feature_dim: int = 64,
        dropout: float = 0.0,
    ) -> None:
        found = Attributes(attributes)
        outputs = max(2, found.outputs)
        trunk = LabelClassifier(image_shape, outputs, kind, widths, blocks, feature_dim, dropout)
        settings = {name: value for name, value in trunk.config.items() if name != "num_classes"}
        super().__init__({**settings, "attributes": found.plain()})
        self.trunk = trunk
        self.attributes = found
        self.image_shape = trunk.image_shape
        self.feature_dim = trunk.feature_dim

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Raises `ValueError`: its label is made of attributes."""
        raise ValueError(
            f"num_classes: expected a classifier of one class, got an AttributeClassifier of "
            f"{', '.join(self.attributes)}; use what takes attributes (see docs/labels.md)"
        )

    def features(self, images: Tensor) -> Tensor:
        """Return the last hidden layer, `(B, feature_dim)`, of images `(B, C, H, W)` in [0, 1]."""
        return self.trunk.features(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return all heads' outputs `(B, O)`, side by side, of images `(B, C, H, W)` in [0, 1]."""
        outputs: Tensor = self.trunk(images)
        return outputs[:, : self.attributes.outputs]

    @property
    def map_widths(self) -> list[int]:
        """Channels of each of `coarse_maps`."""
        return self.trunk.map_widths

    def coarse_maps(self, images: Tensor, most: int | None = None) -> list[Tensor]:
        """Return the maps after each halving of the resolution, see `LabelClassifier`."""
        return self.trunk.coarse_maps(images, most)

    def whiten(self, images: Tensor) -> None:
        """Compute the first layer of a pooled classifier from images, see `LabelClassifier`."""
        self.trunk.whiten(images)

    def nll(self, images: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """Return how unlikely each attribute's value is, by name, `(B,)`, in nats; 0 for an unknown value.

        Args:
            images: `(B, C, H, W)` in [0, 1].
            rows: `(B, A)`, see `Attributes`.
        """
        return self.attributes.nll(self(images), rows)

    def rows(self, images: Images, chunk_size: int = 1024) -> Tensor:
        """Read images as rows `(B, A)`, in evaluation mode, without gradients, on the images' device."""
        found = as_images(images, self.image_shape)
        chunk_size = check_count("chunk_size", chunk_size)
        with evaluation_mode(self) as model:
            outputs = [model(moved(part, self.device, "images")) for part in found.split(chunk_size)]
        return self.attributes.readings(moved(torch.cat(outputs), found.device, "classifier"))

    def read(self, images: Images, chunk_size: int = 1024) -> dict[str, Tensor]:
        """Read each attribute of images.

        Args:
            images: in any form that `ConditionalVAE.relabel` takes.
            chunk_size: images read at a time.

        Returns:
            A column `(B,)` an attribute, by name: indices, 0 or 1, or numbers in their unit.

        Raises:
            ValueError: images of another shape, type or range.
        """
        return self.attributes.table(self.rows(images, chunk_size))
