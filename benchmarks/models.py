"""The models of the benchmark."""

from __future__ import annotations

from typing import Any

import torch

from labelvae import ConditionalVAE, GuidedELBO, VAETraining
from labelvae.runs.building import new_classifier, new_vae, vae_task
from labelvae.runs.presets import CIFAR10, CIFAR10_SMALL, MNIST
from labelvae.runs.settings import Settings


def small_task(device: torch.device, **how: Any) -> VAETraining:
    """The fully connected conditional VAE, 784 - 500 - 2 x 16 and 16 + 10 - 500 - 784, without a guide."""
    torch.manual_seed(0)
    vae = ConditionalVAE((1, 28, 28), 10, encoder_widths=(), decoder_widths=(), hidden_dim=500, decoder_label="onehot")
    return VAETraining(vae, GuidedELBO(), **how).to(device)


def preset_task(device: torch.device, **how: Any) -> VAETraining:
    """The convolutional model of the MNIST preset with every term of its objective."""
    return _task(MNIST, (1, 28, 28), device, **how)


def colour_preset(device: torch.device) -> Settings:
    """CIFAR10's preset for a GPU, or for two cores."""
    return CIFAR10 if device.type == "cuda" else CIFAR10_SMALL


def colour_task(device: torch.device, **how: Any) -> VAETraining:
    """Its model with every term of its objective."""
    return _task(colour_preset(device), (3, 32, 32), device, **how)


def _task(preset: Settings, image_shape: tuple[int, int, int], device: torch.device, **how: Any) -> VAETraining:
    torch.manual_seed(0)
    vae = new_vae(preset.vae, image_shape, 10)
    return vae_task(preset.vae, vae, new_classifier(preset.guide, image_shape, 10), **how).to(device)
