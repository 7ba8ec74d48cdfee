"""Metrics of images alone, without a judge: how near two are, how sharp, and how many marks lie beside a stroke."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.functional.image import structural_similarity_index_measure

from labelvae.evaluation.style import regions


def peak_signal_to_noise(images: Tensor, others: Tensor) -> Tensor:
    """Compare each pair of images by the peak signal-to-noise ratio.

    Args:
        images: `(B, C, H, W)` in [0, 1].
        others: what they are compared with, of the same shape.

    Returns:
        `(B,)`, in dB; at most 100 dB, for equal images.
    """
    squared = (images - others).double().square().flatten(1).mean(dim=1)
    decibel: Tensor = -10.0 * torch.log10(squared.clamp_min(1e-10))
    return decibel


def structural_similarity(images: Tensor, others: Tensor) -> Tensor:
    """Compare each pair of images by SSIM with a uniform 7x7 window (Wang et al., 2004).

    Args:
        images: `(B, C, H, W)` in [0, 1].
        others: what they are compared with, of the same shape.

    Returns:
        `(B,)`, in [-1, 1].
    """
    _, maps = structural_similarity_index_measure(
        images.double(),
        others.double(),
        gaussian_kernel=False,
        kernel_size=7,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    inside: Tensor = maps[..., 3:-3, 3:-3]  # where the window lies inside the image
    return inside.flatten(1).mean(dim=1)


class Composition(Metric):
    """How near the own-label reconstruction is to its image, as the mean over images of PSNR (dB), SSIM and L1."""

    higher_is_better = None
    full_state_update = False
    sums: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("sums", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, images: Tensor, reconstructions: Tensor) -> None:
        """Add images and what they are compared with, both `(B, C, H, W)` in [0, 1]."""
        distance = (images - reconstructions).double().abs().flatten(1).mean(dim=1)
        each = [peak_signal_to_noise(images, reconstructions), structural_similarity(images, reconstructions), distance]
        self.sums += torch.stack(each).sum(dim=1)
        self.count += len(images)

    def compute(self) -> Tensor:
        """Return `(3,)`: PSNR in dB, SSIM in [-1, 1], L1 in [0, 1]."""
        return self.sums / self.count

    def by_name(self) -> dict[str, Tensor]:
        """Return "psnr" (dB), "ssim" and "l1", each a scalar; PSNR and SSIM are better high, L1 is better low."""
        return dict(zip(("psnr", "ssim", "l1"), self.compute(), strict=True))


class Reversibility(Composition):
    """How near an image is to itself after being relabelled to another label and back: the same three distances."""


class Sharpness(Metric):
    """Energy of the Laplacian of counterfactuals over that of real images: 1 is as sharp, less is blurred."""

    higher_is_better = None
    full_state_update = False
    energy: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("energy", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, images: Tensor, real: bool) -> None:
        """Add images `(B, C, H, W)` in [0, 1], real ones or counterfactuals."""
        kernel = images.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
        edges = F.conv2d(images.flatten(0, 1)[:, None], kernel[None, None])
        row = 0 if real else 1
        self.energy[row] += edges.double().square().mean(dim=(1, 2, 3)).sum()
        self.count[row] += len(edges)

    def compute(self) -> Tensor:
        """Return the ratio, above 0."""
        mean = self.energy / self.count
        return mean[1] / mean[0]


class Specks(Metric):
    """How many separate regions counterfactuals have more than real images do, on average: marks beside the stroke.

    Information that a cycle hides beside the strokes shows up here.
    """

    higher_is_better = False
    full_state_update = False
    regions: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("regions", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, images: Tensor, real: bool) -> None:
        """Add images `(B, 1, H, W)` in [0, 1], real ones or counterfactuals."""
        row = 0 if real else 1
        self.regions[row] += regions(images).sum()
        self.count[row] += len(images)

    def compute(self) -> Tensor:
        """Return the difference, a scalar; 0 is as in real images."""
        mean = self.regions / self.count
        return mean[1] - mean[0]
