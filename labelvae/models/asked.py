"""A model of several attributes in the place of one of classes: its classes are some labels that are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from labelvae.inputs.tensors import Images, ImageShape
from labelvae.models.attribute_classifier import AttributeClassifier
from labelvae.models.vae import ConditionalVAE


class Asked:
    """Answers as a model of classes does, whose class `k` is `labels[k]`.

    Args:
        vae: a model of several attributes.
        labels: what is asked for, each a dict from attributes to values.
        own: what all images are, by attribute.
        reader: a classifier that reads the attributes that `own` does not say; None where nothing is left to read.
    """

    def __init__(
        self,
        vae: ConditionalVAE,
        labels: Sequence[Mapping[str, Any]],
        own: Mapping[str, Any] | None = None,
        reader: AttributeClassifier | None = None,
    ) -> None:
        self.vae, self.labels, self.own, self.reader = vae, list(labels), dict(own or {}), reader

    @property
    def image_shape(self) -> ImageShape:
        """`(C, H, W)` of the images."""
        return self.vae.image_shape

    def relabel(self, images: Images, label: int, own_labels: Any = None) -> Tensor:
        """Return images as one of the labels, see `ConditionalVAE.relabel`; own labels are read, not given."""
        own: Any = self.own or None
        if self.reader is not None:  # rows, in which a category's value always is its index
            attributes, read = self.vae.attributes, list(self.reader.attributes)
            own = self.reader.rows(images)[:, [read.index(name) for name in attributes or ()]]
            if attributes is not None and self.own:
                said = attributes.rows(self.own).to(own)
                own = torch.where(said.isnan(), own, said)
        return self.vae.relabel(images, self.labels[label], own)

    def sample(self, labels: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Return new images of the labels, see `ConditionalVAE.sample`."""
        columns = {name: [self.labels[label][name] for label in labels] for name in self.labels[labels[0]]}
        return self.vae.sample(columns, generator)
