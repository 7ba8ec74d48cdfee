"""Read the digits in a photograph with a classifier, and say how sure the reading is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from labelvae.strokes import Found, find_digits


@dataclass(frozen=True)
class Reading:
    found: Found
    image: Tensor
    label: int
    confidence: float


def read_digits(picture: Image.Image, guide: nn.Module) -> list[Reading]:
    readings = []
    for found in find_digits(picture):
        image = found.fit(28, 28)
        p = guide(_moved(image)).detach().softmax(1).mean(0)
        readings.append(Reading(found, image, int(p.argmax()), float(p.max())))
    return readings


def _moved(image: Tensor) -> Tensor:
    turns = []
    for angle in (-0.17, 0.0, 0.17):
        for size in (0.9, 1.0, 1.12):
            for shear in (-0.1, 0.1):
                turn = torch.tensor([[1.0, shear], [0.0, 1.0]]) @ torch.tensor(
                    [[torch.cos(torch.tensor(angle)), -torch.sin(torch.tensor(angle))], [torch.sin(torch.tensor(angle)), torch.cos(torch.tensor(angle))]]
                ) * size
                turns.append(torch.cat([turn, torch.zeros(2, 1)], 1))
    theta = torch.stack(turns)
    grid = F.affine_grid(theta, [len(theta), 1, *image.shape[1:]], align_corners=False)
    return F.grid_sample(image.expand(len(theta), -1, -1, -1), grid, align_corners=False).clamp(0, 1)
