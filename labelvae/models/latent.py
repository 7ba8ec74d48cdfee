"""The latent code of an image is a Gaussian with a diagonal covariance.

    q(z | x) = N(mean, diag(exp(log_variance)))        p(z) = N(0, I)

The prior does not depend on the label: a label-conditional prior would invite z to carry the label
itself (Kingma & Welling, 2014, "Auto-Encoding Variational Bayes", arXiv 1312.6114, appendix B, has the
closed form of the divergence).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labelvae.inputs.peeking import readable

LOG_VARIANCE_RANGE = (-8.0, 4.0)
"""Log-variances are clamped to this range: outside it exp() is of no use and gradients explode."""


@dataclass(frozen=True)
class DiagonalGaussian:
    """A batch of Gaussians over the latent space.

    Args:
        mean: `(B, D)`.
        log_variance: `(B, D)`, natural logarithm of the variance.
    """

    mean: Tensor
    log_variance: Tensor

    @property
    def standard_deviation(self) -> Tensor:
        """`(B, D)`, positive."""
        return torch.exp(0.5 * self.log_variance)

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw one code from each Gaussian, `(B, D)`, differentiable in mean and log-variance."""
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return self.mean + self.standard_deviation * noise

    def kl_per_dimension(self) -> Tensor:
        """Return the divergence from the prior N(0, 1) of each latent dimension, `(B, D)`, in nats, float32."""
        mean, log_variance = self.mean.float(), self.log_variance.float()
        return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)

    def kl(self) -> Tensor:
        """Return the divergence from the prior N(0, I), `(B,)`, in nats per image.

        >>> posterior = DiagonalGaussian(torch.ones(2, 3), torch.zeros(2, 3))
        >>> posterior.kl()
        tensor([1.5000, 1.5000])
        """
        return self.kl_per_dimension().sum(dim=1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density of `z` `(B, D)` under each Gaussian, `(B,)`, in nats."""
        mean, log_variance = self.mean.float(), self.log_variance.float()
        squared = (z.float() - mean).square() * torch.exp(-log_variance)
        return -0.5 * (squared + log_variance + math.log(2.0 * math.pi)).sum(dim=1)

    def __getitem__(self, index: slice | Tensor) -> DiagonalGaussian:
        """Return the Gaussians at `index` of the batch."""
        return DiagonalGaussian(self.mean[index], self.log_variance[index])

    def __len__(self) -> int:
        return len(self.mean)


def check_codes(z: Any, latent_dim: int) -> None:
    """Make sure that codes are a tensor `(B, D)`, and finite where their values may be read.

    Raises:
        ValueError: codes of another shape or type; NaN or infinity.
    """
    if not isinstance(z, Tensor) or z.ndim != 2 or z.shape[1] != latent_dim or z.shape[0] == 0:
        shape = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise ValueError(f"z: expected latent codes of shape (B, {latent_dim}), got {shape}")
    if not torch.is_grad_enabled() and readable(z) and not bool(torch.isfinite(z).all()):
        raise ValueError("z: expected finite latent codes, got NaN or infinity")
