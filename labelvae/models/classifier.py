"""The label classifier: a guide inside the loss, or a judge outside it.

One class serves both. They differ in architecture (`kind`, `widths`), in seed, and in their use. `frozen` says what a
frozen classifier is. `LabelClassifier.wrap` makes one of a network of your own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelvae.inputs.checks import LARGEST_DEPTH, LARGEST_SIZE, check_choice, check_count, check_number, check_widths
from labelvae.inputs.tensors import ImageShape, check_image_shape, check_images, check_rows
from labelvae.models.frozen import Classifier
from labelvae.models.layers import ResidualBlock, down_sampling
from labelvae.models.loaded import check_both
from labelvae.models.options import ClassifierKind
from labelvae.models.pyramids import pyramid
from labelvae.models.saving import Pretrained
from labelvae.models.wrapped import WrappedClassifier
from labelvae.system.compiling import uncompiled

FAINTEST = 1e-3
"""Variance added to every direction before it is scaled to 1. Anything fainter is noise, or left by compression."""


ENOUGH = 256
"""Largest number of images that the whitening is computed from."""


class Whitening(nn.Module):
    """Turn patches of 2x2 pixels into uncorrelated features of equal variance, and their negatives, through a SiLU.

    Neighbouring pixels are nearly alike, and a first layer learns slowly from them. So this layer is computed instead
    (Coates et al., 2011; Jordan, 2024, arXiv 2404.00498). Before `fit`, the patches pass unchanged.

    Args:
        channels: C.
    """

    mean: Tensor
    filters: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        # On the device "meta", torch.eye would load torch's compiler.
        same = torch.zeros(4 * channels, 4 * channels).fill_diagonal_(1.0)
        self.register_buffer("filters", same.unflatten(1, (channels, 2, 2)))

    @property
    def fitted(self) -> bool:
        """Whether the filters were computed. Reading this makes the host wait for the device."""
        return not torch.equal(self.filters.flatten(1), torch.eye(len(self.filters)).to(self.filters))

    def fit(self, maps: Tensor) -> None:
        """Compute the filters from maps `(B, C, H, W)`."""
        maps = maps.cpu().double()  # where every machine can
        mean = maps.mean(dim=(0, 2, 3))[:, None, None]
        patches = F.unfold(maps - mean, 2).transpose(1, 2).flatten(0, 1)
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (directions / torch.sqrt(variances.clamp_min(0.0) + FAINTEST)).T
        self.mean.copy_(mean)
        self.filters.copy_(filters.unflatten(1, self.filters.shape[1:]))

    def forward(self, maps: Tensor) -> Tensor:
        """Return features `(B, 8C, H, W)` of maps `(B, C, H, W)`, padded with the mean on the right and below."""
        features = F.conv2d(F.pad(maps - self.mean, (0, 1, 0, 1)), self.filters)
        return F.silu(torch.cat([features, -features], dim=1))


class LabelClassifier(Pretrained, Classifier):
    """A classifier from images to logits over the labels.

    Args:
        image_shape: `(C, H, W)` of the images.
        num_classes: K, at least 2.
        kind: the architecture. "convolutional": strided convolutions, and a fully connected layer on all of the
            coarsest maps; for strokes, whose place matters. "pooled": whitened pixels (see `whiten`), and convolutions
            whose maps are halved by maxima and pooled over the image; for natural images. "mlp": fully connected layers
            on the pixels; as a judge of another kind.
        widths: the channels after each halving of the resolution, or the units of each layer of an mlp.
        blocks: the residual blocks at each resolution; 0 for an mlp.
        feature_dim: the units of the last hidden layer. Its activations are the classifier's features.
        dropout: the share of features dropped in training, in [0, 1).

    Raises:
        ValueError: an argument out of range.

    >>> classifier = LabelClassifier(image_shape=(1, 28, 28), num_classes=10)
    >>> classifier(torch.rand(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int,
        kind: ClassifierKind = "convolutional",
        widths: Sequence[int] = (32, 64),
        blocks: int = 0,
        feature_dim: int = 64,
        dropout: float = 0.0,
    ) -> None:
        image_shape = check_image_shape(image_shape)
        check_choice("kind", kind, get_args(ClassifierKind))
        num_classes = check_count("num_classes", num_classes, at_least=2, at_most=LARGEST_SIZE)
        blocks = check_count("blocks", blocks, at_least=0, at_most=LARGEST_DEPTH)
        feature_dim = check_count("feature_dim", feature_dim, at_most=LARGEST_SIZE)
        dropout = check_number("dropout", dropout, at_least=0, below=1)
        if kind == "mlp" and blocks:
            raise ValueError(f"blocks: an mlp has no residual blocks, got {blocks}; leave it at 0")
        widths = check_widths("widths", widths)
        super().__init__(
            {
                "image_shape": image_shape,
                "num_classes": num_classes,
                "kind": kind,
                "widths": widths,
                "blocks": blocks,
                "feature_dim": feature_dim,
                "dropout": dropout,
            }
        )
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.feature_dim = feature_dim
        size = widths[-1]
        if kind == "convolutional":
            self.maps = down_sampling(image_shape[0], widths, blocks, nn.BatchNorm2d)
            size *= math.prod(pyramid(image_shape, len(widths))[-1])
        elif kind == "pooled":
            self.maps = _pooled(image_shape[0], widths, blocks)
        else:
            self.maps = _dense(image_shape, widths)
        self.to_features = nn.Sequential(
            nn.Flatten(), nn.Linear(size, feature_dim), nn.BatchNorm1d(feature_dim), nn.SiLU()
        )
        self.dropout = nn.Dropout(dropout)
        self.to_logits = nn.Linear(feature_dim, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the features `(B, feature_dim)` of images `(B, C, H, W)` in [0, 1]."""
        check_images(images, self.image_shape)
        check_both(self, "images", images)
        features: Tensor = self.to_features(self.maps(images.to(self.dtype) * 2.0 - 1.0))
        return features

    @property
    def map_widths(self) -> list[int]:
        """The channels of each of `coarse_maps`."""
        return [] if self.config["kind"] == "mlp" else list(self.config["widths"])

    def coarse_maps(self, images: Tensor, most: int | None = None) -> list[Tensor]:
        """Return the maps after each halving of the resolution, finest first. An mlp has none.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            most: the largest number of maps to compute, from the finest on. None computes all.

        Returns:
            One tensor `(B, width, h, w)` for each of `map_widths`, or for the first `most`. Each size is half the one
            before, rounded up.

        Raises:
            ValueError: images of another shape or type; `most` below 1.
        """
        if most is not None:
            check_count("most", most)
        check_rows("images", images, *self.image_shape)
        check_both(self, "images", images)
        maps = images.to(self.dtype) * 2.0 - 1.0
        found: list[Tensor] = []
        for layer in self.maps if self.map_widths else ():
            if len(found) == most and not isinstance(layer, ResidualBlock):
                break
            maps = layer(maps)
            if isinstance(layer, nn.SiLU):
                found.append(maps)
            elif isinstance(layer, ResidualBlock):  # the last at this resolution counts
                found[-1] = maps
        return found

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits `(B, K)` of features `(B, feature_dim)`."""
        check_rows("features", features, self.feature_dim)
        logits: Tensor = self.to_logits(self.dropout(features))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, K)` of images `(B, C, H, W)` in [0, 1].

        Raises:
            ValueError: images of another shape, type or range.
        """
        return self.logits(self.features(images))

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits `(B, K)` and the features `(B, feature_dim)` of images `(B, C, H, W)` in [0, 1].

        One pass gives both. A subclass with a `forward` of its own takes two, and so does a classifier with hooks.
        """
        own = type(self).forward is not LabelClassifier.forward or "forward" in vars(self)
        if own or type(self).__call__ is not nn.Module.__call__ or self._forward_hooks or self._forward_pre_hooks:
            return super().logits_and_features(images)
        features = self.features(images)
        return self.logits(features), features

    @staticmethod
    def wrap(
        module: nn.Module,
        image_shape: ImageShape,
        num_classes: int,
        *,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        size: int | Sequence[int] | None = None,
        features: Callable[[Tensor], Tensor] | None = None,
    ) -> WrappedClassifier:
        """Make a guide or a judge of a network of your own: torchvision's, timm's, or any from images to logits.

        Args:
            module: the network. It is used as it is, not copied, and frozen when it becomes a guide.
            image_shape: `(C, H, W)` of your images, which are in [0, 1].
            num_classes: K.
            mean: the mean of each channel, subtracted from an image. None for 0.
            std: the standard deviation of each channel, by which an image is then divided. None for 1.
            size: the size `(H, W)` that images are resized to before that. None keeps their size.
            features: a function from the network's input to the features `(B, F)` that realism is measured in. None
                takes the input of the last fully connected layer, or the logits if there is no such layer.

        Returns:
            The network as a classifier.

        Raises:
            ValueError: an argument out of range; a network that does not return logits `(B, K)`.

        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))
        >>> judge = LabelClassifier.wrap(network, (1, 8, 8), 3, mean=0.5, std=0.5)
        >>> judge.num_classes, judge.feature_dim
        (3, 16)
        """
        return WrappedClassifier(uncompiled(module), image_shape, num_classes, mean, std, size, features)

    @torch.no_grad()
    def whiten(self, images: Tensor) -> None:
        """Compute the first layer of a pooled classifier, once, before it is trained.

        `ClassifierTraining` does this with its first batch. Nothing happens to a classifier that is whitened already
        (its weights would not fit other filters), to a frozen one, and to other kinds, which have no such layer.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1]. A hundred are enough; at most the first `ENOUGH` are used.

        Raises:
            ValueError: images of another shape, type or range.
        """
        check_images(images, self.image_shape)
        first = self.maps[0]
        if isinstance(first, Whitening) and not (self.frozen or first.fitted):
            first.fit(images[:ENOUGH] * 2.0 - 1.0)


def _pooled(channels: int, widths: Sequence[int], blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = [Whitening(channels)]
    for narrow, wide in pairwise([8 * channels, *widths]):
        layers += [nn.Conv2d(narrow, wide, 3, padding=1, bias=False), nn.MaxPool2d(2, ceil_mode=True)]
        layers += [nn.BatchNorm2d(wide), nn.SiLU(), *(ResidualBlock(wide, nn.BatchNorm2d) for _ in range(blocks))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))


def _dense(image_shape: ImageShape, widths: Sequence[int]) -> nn.Sequential:
    channels, height, width = image_shape
    layers: list[nn.Module] = [nn.Flatten()]
    size = channels * height * width
    for units in widths:
        layers += [nn.Linear(size, units, bias=False), nn.BatchNorm1d(units), nn.SiLU()]
        size = units
    return nn.Sequential(*layers)
