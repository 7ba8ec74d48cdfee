"""Residual networks for images of 32x32: one of He et al. (2015), and one with few layers that are wide."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalization, and the input added by a shortcut without weights (option A)."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, (out_channels - channels) // 2
        self.first = nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps at the resolution of the block."""
        found = self.second_norm(self.second(F.relu(self.first_norm(self.first(maps)))))
        kept = maps[:, :, :: self.stride, :: self.stride]
        return F.relu(found + F.pad(kept, (0, 0, 0, 0, self.more, self.more)))


def resnet56(num_classes: int) -> nn.Sequential:
    """Return a network of 55 convolutions and one linear layer, 0.85 million weights.

    Args:
        num_classes: K.

    Returns:
        The network: from images `(B, 3, H, W)` in [0, 1] to logits `(B, K)`.
    """
    layers: list[nn.Module] = [v2.Normalize([0.5] * 3, [0.25] * 3), nn.Conv2d(3, 16, 3, 1, 1, bias=False)]
    layers += [nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for width in WIDTHS:
        for place in range(9):
            layers.append(Block(before, width, 2 if place == 0 and width > 16 else 1))
            before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes))


def resnet9(num_classes: int) -> nn.Sequential:
    """Return a network of eight convolutions and one linear layer, 2.0 million weights.

    Args:
        num_classes: K.

    Returns:
        The network: from images `(B, 3, H, W)` in [0, 1] to logits `(B, K)`.
    """
    layers: list[nn.Module] = [v2.Normalize([0.5] * 3, [0.25] * 3)]
    for before, width in ((3, 32), (32, 64), (64, 128), (128, 256)):
        layers += [nn.Conv2d(before, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        if width > 32:
            layers += [nn.MaxPool2d(2), Block(width, width, 1)]
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(256, num_classes))
