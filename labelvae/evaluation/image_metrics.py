"""Metrics of images alone, without a judge: how close two images are, how sharp, and how many stray marks they have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.functional.image import structural_similarity_index_measure

from labelvae.evaluation.style import regions


def peak_signal_to_noise(images: Tensor, others: Tensor) -> Tensor:
    """Compare each pair of images by the peak signal-to-noise ratio:

        -10 log10(mean((x - x')^2))

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].
        others: the images to compare with, of the same shape.

    Returns:
        The ratios, `(B,)`, in dB. Equal images have 100 dB, the largest value.

    >>> peak_signal_to_noise(torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.1))
    tensor([20.0000], dtype=torch.float64)
    """
    squared = (images - others).double().square().flatten(1).mean(dim=1)
    decibel: Tensor = -10.0 * torch.log10(squared.clamp_min(1e-10))
    return decibel


def structural_similarity(images: Tensor, others: Tensor) -> Tensor:
    """Compare each pair of images by the structural similarity, SSIM (Wang et al., 2004, doi 10.1109/TIP.2003.819861).

    In each window of 7x7 pixels, with means m and m', variances v and v' and covariance c, averaged over the windows:

        (2 m m' + 0.01^2) (2 c + 0.03^2) / ((m^2 + m'^2 + 0.01^2) (v + v' + 0.03^2))

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].
        others: the images to compare with, of the same shape.

    Returns:
        The similarities, `(B,)`, in [-1, 1].

    >>> images = torch.rand(1, 1, 8, 8)
    >>> structural_similarity(images, images)
    tensor([1.], dtype=torch.float64)
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
    """How close the reconstruction under the own label is to its image: mean PSNR (dB), SSIM and L1 over images.

    >>> metric = Composition()
    >>> metric.update(torch.zeros(2, 1, 8, 8), torch.full((2, 1, 8, 8), 0.1))
    >>> metric.by_name()["psnr"]
    tensor(20.0000, dtype=torch.float64)
    """

    higher_is_better = None
    full_state_update = False
    sums: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("sums", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, images: Tensor, reconstructions: Tensor) -> None:
        """Add a batch of images.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            reconstructions: the images to compare with, of the same shape.
        """
        distance = (images - reconstructions).double().abs().flatten(1).mean(dim=1)
        each = [peak_signal_to_noise(images, reconstructions), structural_similarity(images, reconstructions), distance]
        self.sums += torch.stack(each).sum(dim=1)
        self.count += len(images)

    def compute(self) -> Tensor:
        """Return `(3,)`: PSNR in dB, SSIM in [-1, 1], L1 in [0, 1]."""
        return self.sums / self.count

    def by_name(self) -> dict[str, Tensor]:
        """Return "psnr" (dB), "ssim" and "l1", each a scalar. High PSNR and SSIM and low L1 are better."""
        return dict(zip(("psnr", "ssim", "l1"), self.compute(), strict=True))


class Reversibility(Composition):
    """How close an image is to itself after it was relabelled and back: the distances of `Composition`."""


class Sharpness(Metric):
    """Energy of the Laplacian of counterfactuals over that of real images. 1 is as sharp, less is blurred.

    >>> metric, images = Sharpness(), torch.rand(4, 1, 8, 8)
    >>> metric.update(images, real=True)
    >>> metric.update(0.5 * images, real=False)
    >>> metric.compute()
    tensor(0.2500, dtype=torch.float64)
    """

    higher_is_better = None
    full_state_update = False
    energy: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("energy", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, images: Tensor, real: bool) -> None:
        """Add a batch of images.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            real: whether they are real images or counterfactuals.
        """
        kernel = images.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
        edges = F.conv2d(images.flatten(0, 1)[:, None], kernel[None, None])
        row = 0 if real else 1
        self.energy[row] += edges.double().square().mean(dim=(1, 2, 3)).sum()
        self.count[row] += len(edges)

    def compute(self) -> Tensor:
        """Return the ratio, a scalar above 0."""
        mean = self.energy / self.count
        return mean[1] / mean[0]


class Specks(Metric):
    """The number of separate bright regions in a counterfactual minus that in a real image, on average.

    Extra regions are marks next to the stroke. A model can hide information there to satisfy a cycle term.

    >>> metric, stroke = Specks(), torch.zeros(1, 1, 8, 8)
    >>> stroke[..., 2:6, 3] = 1.0
    >>> metric.update(stroke, real=True)
    >>> stroke[..., 0, 7] = 1.0
    >>> metric.update(stroke, real=False)
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
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
        """Add a batch of images.

        Args:
            images: the images, `(B, 1, H, W)` in [0, 1].
            real: whether they are real images or counterfactuals.
        """
        row = 0 if real else 1
        self.regions[row] += regions(images).sum()
        self.count[row] += len(images)

    def compute(self) -> Tensor:
        """Return the difference, a scalar. 0 is as in real images."""
        mean = self.regions / self.count
        return mean[1] - mean[0]
