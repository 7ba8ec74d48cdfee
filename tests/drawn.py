import math

import torch
from torch import Tensor


def stroke(width: float, angle: float, size: int = 64, length: float = 40.0) -> Tensor:
    """One straight stroke of a width in pixels, leaning right by an angle in degrees from upright, `(1, 1, H, W)`."""
    ys, xs = torch.meshgrid(torch.arange(size) - (size - 1) / 2, torch.arange(size) - (size - 1) / 2, indexing="ij")
    lean = math.radians(angle)
    along = xs * math.sin(lean) - ys * math.cos(lean)
    across = xs * math.cos(lean) + ys * math.sin(lean)
    inside = torch.clamp(width / 2 + 0.5 - across.abs(), 0, 1) * torch.clamp(length / 2 + 0.5 - along.abs(), 0, 1)
    return inside[None, None]
