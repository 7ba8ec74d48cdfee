"""The layers that the networks are made of: folded pixels, normalization by image, residual blocks, and halvings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelvae.models.conditioning import ConditionalBatchNorm2d


class Fold(nn.Module):
    """Fold 2x2 pixels into channels: `(B, C, H, W)` to `(B, 4C, ceil(H / 2), ceil(W / 2))`. Odd edges are repeated."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps `(B, 4C, ceil(H / 2), ceil(W / 2))` of maps `(B, C, H, W)`."""
        for dim in (2, 3):
            if maps.shape[dim] % 2:
                maps = torch.cat([maps, maps.narrow(dim, maps.shape[dim] - 1, 1)], dim=dim)
        return F.pixel_unshuffle(maps, 2)


class Unfold(nn.Module):
    """Unfold channels into 2x2 pixels, cropped: `(B, 4C, h, w)` to `(B, C, H, W)`.

    Args:
        size: `(H, W)`, at most `(2h, 2w)`.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps `(B, C, H, W)` of maps `(B, 4C, h, w)`."""
        maps = F.pixel_shuffle(maps, 2)
        cropped = maps[..., : self.size[0], : self.size[1]]
        if cropped.shape == maps.shape or maps.is_contiguous():
            return cropped
        return cropped.clone()  # channels-last, where gaps in memory slow down what follows


class ImageNorm(nn.GroupNorm):
    """Normalize each image on its own (one group of all channels), so that a code depends on its image only."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions plus the identity (He et al., 2016, arXiv 1603.05027), at the same resolution.

    Args:
        channels: C.
        norm: makes the normalization of so many channels.
    """

    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape `(B, C, H, W)`."""
        out: Tensor = maps + self.body(maps)
        return out


class ConditionalResidualBlock(nn.Module):
    """`ResidualBlock` with conditional batch normalization."""

    def __init__(self, channels: int, num_classes: int | None) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm2d(channels, num_classes)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = ConditionalBatchNorm2d(channels, num_classes)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, maps: Tensor, label: Tensor) -> Tensor:
        """Return maps `(B, C, H, W)`, given maps of this shape and label weights `(B, K)`."""
        inner = self.conv1(F.silu(self.norm1(maps, label)))
        out: Tensor = maps + self.conv2(F.silu(self.norm2(inner, label)))
        return out


def down_sampling(channels: int, widths: Sequence[int], blocks: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    """Make the layers that halve the resolution once for each width.

    Args:
        channels: the channels of the input.
        widths: the channels after each halving.
        blocks: the residual blocks after each halving.
        norm: makes the normalization of so many channels.

    Returns:
        Layers from maps `(B, channels, H, W)` to maps of `widths[-1]` channels.
    """
    layers: list[nn.Module] = [Fold(), nn.Conv2d(4 * channels, widths[0], 3, padding=1, bias=False)]
    for index, width in enumerate(widths):
        if index:
            layers += [nn.Conv2d(widths[index - 1], width, 3, stride=2, padding=1, bias=False)]
        layers += [norm(width), nn.SiLU(), *(ResidualBlock(width, norm) for _ in range(blocks))]
    return nn.Sequential(*layers)
