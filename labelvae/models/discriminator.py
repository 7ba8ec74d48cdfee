"""The discriminator: how real an image is, as its label."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from labelvae.inputs.checks import LARGEST_SIZE, check_count, check_widths
from labelvae.inputs.tensors import ImageShape, check_image_shape, check_rows
from labelvae.models.layers import Fold
from labelvae.models.pyramids import pyramid


class Discriminator(nn.Module):
    """A projection discriminator with spectral normalization: how real an image is *as its label*.

    With h the sum of the last maps over their pixels:

        score = psi(h) + <embedding(label), h>

    (Miyato & Koyama, 2018, arXiv 1802.05637; Miyato et al., 2018, arXiv 1802.05957.)

    Args:
        image_shape: `(C, H, W)` of the images.
        num_classes: K, at least 2.
        widths: the channels after each halving of the resolution.
        beside: the channels of another network's maps after each halving, finest first. They are concatenated to the
            discriminator's own maps after every halving but the last. With a classifier's maps it learns faster (Sauer
            et al., 2021, "Projected GANs", arXiv 2111.01007).

    Raises:
        ValueError: an argument out of range.

    >>> discriminator = Discriminator(image_shape=(1, 28, 28), num_classes=10)
    >>> discriminator(torch.rand(5, 1, 28, 28), torch.eye(10)[:5]).shape
    torch.Size([5])
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int,
        widths: Sequence[int] = (32, 64, 64),
        beside: Sequence[int] = (),
    ) -> None:
        image_shape = check_image_shape(image_shape)
        num_classes = check_count("num_classes", num_classes, at_least=2, at_most=LARGEST_SIZE)
        widths = check_widths("widths", widths)
        super().__init__()
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.widths = widths
        self.beside = check_widths("beside", beside, at_least=0)[: len(widths) - 1]
        steps: list[nn.Module] = [
            nn.Sequential(Fold(), spectral_norm(nn.Conv2d(4 * image_shape[0], widths[0], 3, padding=1)))
        ]
        for index, (narrow, wide) in enumerate(pairwise(widths)):
            seen = narrow + sum(self.beside[index : index + 1])
            steps.append(spectral_norm(nn.Conv2d(seen, wide, 3, stride=2, padding=1)))
        self.steps = nn.ModuleList(steps)
        self.score = spectral_norm(nn.Linear(widths[-1], 1))
        self.embedding = spectral_norm(nn.Linear(num_classes, widths[-1], bias=False))

    def forward(self, images: Tensor, label: Tensor, beside: Sequence[Tensor] = ()) -> Tensor:
        """Score images as their labels.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            label: the label weights, `(B, K)`.
            beside: the maps of another network, finest first, if the discriminator was made to see any.

        Returns:
            The scores, `(B,)`, without unit. A high score means real.

        Raises:
            ValueError: images, label weights or maps of another shape.
        """
        check_rows("images", images, *self.image_shape)
        check_rows("label", label, self.num_classes, batch=images.shape[0])
        if len(beside) < len(self.beside):
            raise ValueError(f"beside: expected maps of {len(self.beside)} resolutions, got {len(beside)}")
        sizes = pyramid(self.image_shape, len(self.steps))[1:]
        for channels, seen, size in zip(self.beside, beside, sizes, strict=False):
            check_rows("beside", seen, channels, *size, batch=images.shape[0])
        dtype = next(self.parameters()).dtype  # whatever the images come in
        images, label = images.to(dtype), label.to(dtype)
        maps = images * 2.0 - 1.0
        for index, step in enumerate(self.steps):
            if 0 < index <= len(self.beside):
                maps = torch.cat([maps, beside[index - 1].to(maps.dtype)], dim=1)
            maps = F.leaky_relu(step(maps), 0.2)
        features = maps.sum(dim=(2, 3))
        score: Tensor = self.score(features).squeeze(1) + (self.embedding(label) * features).sum(dim=1)
        return score
