"""A reader of MNIST's digits that is not the guide: another network, other images in its training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.datasets import MNIST


def train_reader(data_dir: str, steps: int = 600, batch: int = 128, seed: int = 0) -> nn.Module:
    """Trains a small network on MNIST's training images, turned, scaled, sheared and moved; in evaluation mode."""
    data = MNIST(data_dir, train=True)
    images, labels = data.data[:, None].float() / 255, data.targets
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 24), (24, 48)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(2), nn.GroupNorm(4, after), nn.GELU()]
    reader = nn.Sequential(*layers, nn.Flatten(), nn.Linear(48 * 9, 64), nn.GELU(), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(reader.parameters(), 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(len(images), (batch,), generator=generator)
        loss = F.cross_entropy(reader(_moved(images[chosen], generator)), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return reader.eval()


def _moved(images: Tensor, generator: torch.Generator) -> Tensor:
    theta = torch.eye(2, 3) + 0.13 * torch.randn(len(images), 2, 3, generator=generator)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
