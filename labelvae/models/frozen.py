"""Classifiers that are frozen for good: their base class, and normalizations that nothing can reset."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from labelvae.inputs.checks import check_count
from labelvae.inputs.tensors import ImageShape, check_rows


class FrozenNorm(nn.Module):
    """A batch normalization in evaluation mode that does not look like one.

    Callbacks that average weights visit all submodules, reset the statistics of each batch normalization, and estimate
    them again. This module has the same tensors under the same names, and gives the same values to the last bit. But it
    is not a batch normalization, and the inner batch normalization is in no list of submodules.

    Args:
        norm: the batch normalization.
    """

    norm: nn.Module

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        norm.eval()
        self._parameters, self._buffers, self._modules = norm._parameters, norm._buffers, norm._modules
        object.__setattr__(self, "norm", norm)  # not as a submodule

    def forward(self, maps: Tensor) -> Tensor:
        """Return normalized maps, by the statistics at the time the classifier was frozen."""
        normalized: Tensor = self.norm(maps)
        return normalized


class Classifier(nn.Module):
    """The base class of a guide, a judge, and a classifier to explain: from images to logits over the labels.

    Attributes:
        image_shape: `(C, H, W)` of its images, which are in [0, 1].
        num_classes: K.
        feature_dim: F, the entries of the features that realism is measured in.
        frozen: whether it is frozen for good.
    """

    image_shape: ImageShape
    num_classes: int
    feature_dim: int
    frozen: bool = False

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next((each.device for each in (*self.parameters(), *self.buffers())), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the weights."""
        floats = (each.dtype for each in (*self.parameters(), *self.buffers()) if each.is_floating_point())
        return next(floats, torch.get_default_dtype())

    def features(self, images: Tensor) -> Tensor:
        """Return the features `(B, F)` of images `(B, C, H, W)` in [0, 1]."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, K)` of images `(B, C, H, W)` in [0, 1]."""
        raise NotImplementedError

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits `(B, K)` and the features `(B, F)` of images `(B, C, H, W)` in [0, 1]."""
        return self(images), self.features(images)

    @property
    def map_widths(self) -> list[int]:
        """The channels of each of `coarse_maps`."""
        return []

    def coarse_maps(self, images: Tensor, most: int | None = None) -> list[Tensor]:
        """Return the maps after each halving of the resolution, finest first. A classifier may have none.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            most: the largest number of maps to compute, from the finest on. None computes all.

        Returns:
            One tensor `(B, width, h, w)` for each map.

        Raises:
            ValueError: images of another shape or type; `most` below 1.
        """
        if most is not None:
            check_count("most", most)
        check_rows("images", images, *self.image_shape)
        return []

    def whiten(self, images: Tensor) -> None:
        """Prepare the first layer for a training that begins with these images, `(B, C, H, W)`; most have none such."""

    def freeze(self) -> Self:
        """Freeze the weights and the batch statistics for good. Gradients still reach the images.

        Returns:
            The classifier itself, in evaluation mode.
        """
        self.frozen = True
        for parameter in self.parameters():
            if not parameter.is_leaf:  # of a copy of a program of TorchScript
                parameter.detach_()
            parameter.requires_grad_(False)
        for part in list(self.modules()):
            for name, child in part._modules.items():
                if isinstance(child, _BatchNorm):
                    part._modules[name] = FrozenNorm(child)
        return self.eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode as `nn.Module.train` does. A frozen classifier stays in evaluation mode.

        Returns:
            The classifier itself.
        """
        mode = mode and not self.frozen
        try:
            return super().train(mode)
        except NotImplementedError:  # a program of torch.export has one mode, that of its export
            for part in self.modules():
                part.training = mode
            return self

    def apply(self, fn: Any) -> Self:
        """Apply a function to every submodule, as `nn.Module.apply` does. A frozen classifier stays as it is.

        Returns:
            The classifier itself.
        """
        return self if self.frozen else super().apply(fn)
