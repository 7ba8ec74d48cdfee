"""The two models of the benchmark."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelvae import ConditionalVAE, Discriminator, GuidedELBO, LabelClassifier, VAETraining
from labelvae.latent import DiagonalGaussian
from labelvae.presets import MNIST


class DenseEncoder(nn.Module):
    """784 - 500 - 2 x 16."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.gaussian = nn.Linear(784, 500), nn.Linear(500, 32)

    def forward(self, images: Tensor, label: Tensor | None = None) -> DiagonalGaussian:
        """`(B, 1, 28, 28)` to a posterior `(B, 16)`."""
        mean, log_variance = self.gaussian(F.silu(self.hidden(images.flatten(1)))).chunk(2, dim=1)
        return DiagonalGaussian(mean, log_variance.clamp(-8.0, 4.0))


class DenseDecoder(nn.Module):
    """16 + 10 - 500 - 784."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.pixels = nn.Linear(26, 500), nn.Linear(500, 784)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """`(B, 16)` and `(B, 10)` to logits `(B, 1, 28, 28)`."""
        hidden = F.silu(self.hidden(torch.cat([z, label.to(z.dtype)], dim=1)))
        logits: Tensor = self.pixels(hidden).unflatten(1, (1, 28, 28))
        return logits


def small_task(device: torch.device, **how: Any) -> VAETraining:
    """The fully connected conditional VAE, without a guide."""
    torch.manual_seed(0)
    vae = ConditionalVAE((1, 28, 28), 10)
    vae.encoder, vae.decoder = DenseEncoder(), DenseDecoder()  # type: ignore[assignment]
    return VAETraining(vae, GuidedELBO(), **how).to(device)


def preset_task(device: torch.device, **how: Any) -> VAETraining:
    """The convolutional model of the MNIST preset with every term of its objective."""
    torch.manual_seed(0)
    made = MNIST.vae
    vae = ConditionalVAE(
        (1, 28, 28),
        10,
        latent_dim=made.latent_dim,
        encoder_widths=made.encoder_widths,
        decoder_widths=made.decoder_widths,
        hidden_dim=made.hidden_dim,
        blocks=made.blocks,
    )
    guide = LabelClassifier((1, 28, 28), 10, widths=MNIST.guide.widths, blocks=MNIST.guide.blocks)
    discriminator = Discriminator((1, 28, 28), 10, made.discriminator_widths)
    return VAETraining(vae, GuidedELBO(guide, discriminator, made.objective), **how).to(device)
