"""How a label enters a network.

Everywhere a label is a row of *weights over the classes*, `(B, K)`, one-hot for a plain label. A blend of
two labels, or a soft label, is then just another row, and interpolation between labels needs no code.

- `LabelPlanes` lays the label beside the channels of a map: one-hot planes or an embedding spread over
  H x W (Mirza & Osindero, 2014, arXiv 1411.1784; Sohn et al., 2015, "Learning Structured Output
  Representation using Deep Conditional Generative Models").
- `ConditionalBatchNorm2d` gives every label its own scale and shift of every channel (De Vries et al.,
  2017, arXiv 1707.00683).
"""

from __future__ import annotations

import torch
from einops import repeat
from torch import Tensor, nn


class LabelPlanes(nn.Module):
    """Concatenates the label to the channels of a map.

    Args:
        num_classes: K.
        embedding_dim: channels added; the label is embedded linearly. None adds the K one-hot planes.

    Attributes:
        channels: the number of channels added.
    """

    def __init__(self, num_classes: int, embedding_dim: int | None = None) -> None:
        super().__init__()
        self.channels = embedding_dim or num_classes
        self.embedding = nn.Linear(num_classes, embedding_dim, bias=False) if embedding_dim else nn.Identity()

    def forward(self, maps: Tensor, label: Tensor) -> Tensor:
        """`(B, C, H, W)` maps and `(B, K)` label weights to `(B, C + channels, H, W)`."""
        height, width = maps.shape[-2:]
        planes = repeat(self.embedding(label.to(maps.dtype)), "b k -> b k h w", h=height, w=width)
        return torch.cat([maps, planes], dim=1)


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalization whose scale and shift are the label's: `bn(x) * (1 + scale[label]) + shift[label]`.

    It starts neutral, scale 1 and shift 0 for every label, and is then `BatchNorm2d`.

    Args:
        channels: C.
        num_classes: K.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale_and_shift = nn.Linear(num_classes, 2 * channels, bias=False)
        nn.init.zeros_(self.scale_and_shift.weight)

    def forward(self, maps: Tensor, label: Tensor) -> Tensor:
        """`(B, C, H, W)` maps and `(B, K)` label weights to `(B, C, H, W)`."""
        scale, shift = self.scale_and_shift(label.to(maps.dtype))[:, :, None, None].chunk(2, dim=1)
        normalized: Tensor = self.norm(maps)
        conditioned: Tensor = normalized * (1.0 + scale) + shift
        return conditioned
