"""Adversarial noise: small changes of an image, up to a largest one in every pixel, that raise a classifier's loss."""

from __future__ import annotations

import torch
from torch import Tensor

from labelvae.losses.terms import label_loss
from labelvae.models.frozen import Classifier


def noise_step(classifier: Classifier, images: Tensor, labels: Tensor, largest: float) -> Tensor:
    """Attack images in one step, for adversarial training.

    From uniform noise of up to twice `largest`, one step of `largest` along the sign of the gradient. The noise keeps
    the classifier from learning to mislead a single step (N-FGSM, de Jorge et al., 2022, arXiv 2202.01181), at the
    price of FGSM (Wong et al., 2020, arXiv 2001.03994).

    Args:
        classifier: the classifier under attack; its weights get no gradient here.
        images: `(B, C, H, W)` in [0, 1].
        labels: their own labels, `(B,)`.
        largest: the step, in the units of the images: 4 / 255 are 4 grey levels of 255.

    Returns:
        The attacked images `(B, C, H, W)` in [0, 1].
    """
    start = images + 2.0 * largest * torch.empty_like(images).uniform_(-1.0, 1.0)
    return (start + largest * _uphill(classifier, start, labels)).clamp(0.0, 1.0)


def projected_gradient(
    classifier: Classifier, images: Tensor, labels: Tensor, largest: float, steps: int = 10
) -> Tensor:
    """Attack images in many steps, for testing how robust a classifier is (PGD, Madry et al., 2017, arXiv 1706.06083).

    Args:
        classifier: the classifier under attack, in evaluation mode.
        images: `(B, C, H, W)` in [0, 1].
        labels: their own labels, `(B,)`.
        largest: the largest change of a pixel.
        steps: steps of a quarter of `largest`, from a random start.

    Returns:
        The attacked images `(B, C, H, W)` in [0, 1], nowhere further than `largest` from `images`.
    """
    low, high = (images - largest).clamp_min(0.0), (images + largest).clamp_max(1.0)
    attacked = images + largest * torch.empty_like(images).uniform_(-1.0, 1.0)
    for _ in range(steps):
        attacked = torch.clamp(attacked, low, high)
        attacked = attacked + 0.25 * largest * _uphill(classifier, attacked, labels)
    return torch.clamp(attacked, low, high)


def _uphill(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Where the loss rises: the sign of its gradient, `(B, C, H, W)`."""
    images = images.detach().clamp(0.0, 1.0).requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(label_loss(classifier(images), labels).sum(), images)
    return gradient.sign()
