"""The two models of the benchmark."""

from __future__ import annotations

from typing import Any

import torch

from labelvae import ConditionalVAE, GuidedELBO, VAETraining
from labelvae.building import new_classifier, new_vae, vae_task
from labelvae.presets import MNIST


def small_task(device: torch.device, **how: Any) -> VAETraining:
    """The fully connected conditional VAE, 784 - 500 - 2 x 16 and 16 + 10 - 500 - 784, without a guide."""
    torch.manual_seed(0)
    vae = ConditionalVAE((1, 28, 28), 10, encoder_widths=(), decoder_widths=(), hidden_dim=500, decoder_label="onehot")
    return VAETraining(vae, GuidedELBO(), **how).to(device)


def preset_task(device: torch.device, **how: Any) -> VAETraining:
    """The convolutional model of the MNIST preset with every term of its objective."""
    torch.manual_seed(0)
    vae = new_vae(MNIST.vae, (1, 28, 28), 10)
    return vae_task(MNIST.vae, vae, new_classifier(MNIST.guide, (1, 28, 28), 10), **how).to(device)
