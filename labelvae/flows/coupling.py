"""Coupling layers on maps, as `labelvae.models.coupling` has them on codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labelvae.models.conditioning import LabelPlanes
from labelvae.models.coupling import Coupling as Coupling  # noqa: PLC0414  where it is looked for
from labelvae.models.coupling import FlatNetwork as FlatNetwork  # noqa: PLC0414
from labelvae.models.coupling import zero
from labelvae.models.layers import ImageNorm, ResidualBlock


class MapNetwork(nn.Module):
    """A residual block on maps with the label as planes beside them; its first answer is 0.

    Args:
        kept: channels that it sees.
        changed: channels that it scales and shifts.
        label_dim: K.
        width: channels inside.
    """

    def __init__(self, kept: int, changed: int, label_dim: int, width: int) -> None:
        super().__init__()
        self.planes = LabelPlanes()
        self.hidden = nn.Sequential(
            nn.Conv2d(kept + label_dim, width, 3, padding=1),
            ResidualBlock(width, ImageNorm),
            ImageNorm(width),
            nn.SiLU(),
        )
        self.last = nn.Conv2d(width, 2 * changed, 3, padding=1)
        zero(self.last)

    def forward(self, kept: Tensor, label: Tensor) -> Tensor:
        """`(B, kept, H, W)` and label weights `(B, K)` to `(B, 2 changed, H, W)`."""
        answer: Tensor = self.last(self.hidden(self.planes(kept, label)))
        return answer


def map_layers(channels: int, count: int, label_dim: int, width: int) -> list[nn.Module]:
    """Return layers on `(B, channels, H, W)`, maps of which every four channels are a square of 2x2 finer pixels.

    Masks in turn: a checkerboard of the finer pixels, the other colour of it, one half of the channels, the other half.
    """
    half = channels // 2
    layers: list[nn.Module] = []
    for index in range(count):
        if index % 4 < 2:
            black = torch.tensor([0, 1, 1, 0], device="cpu").repeat(channels // 4)  # rows of each 2x2 square
            order = torch.argsort(black, stable=True)
        else:
            order = torch.arange(channels, device="cpu")
        order = order.flip(0) if index % 2 else order
        layers.append(Coupling(order, half, MapNetwork(half, channels - half, label_dim, width)))
    return layers
