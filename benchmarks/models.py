"""The two models of the benchmark."""

from __future__ import annotations

from typing import Any

import torch

from labelvae import ConditionalVAE, Discriminator, GuidedELBO, LabelClassifier, VAETraining
from labelvae.presets import MNIST


def small_task(device: torch.device, **how: Any) -> VAETraining:
    """The fully connected conditional VAE, 784 - 500 - 2 x 16 and 16 + 10 - 500 - 784, without a guide."""
    torch.manual_seed(0)
    vae = ConditionalVAE((1, 28, 28), 10, encoder_widths=(), decoder_widths=(), hidden_dim=500, decoder_label="onehot")
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
