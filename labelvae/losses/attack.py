"""Adversarial noise: small changes of an image that raise a classifier's loss, with a largest change of each pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from labelvae.losses.terms import label_loss
from labelvae.models.frozen import Classifier


def noise_step(classifier: Classifier, images: Tensor, labels: Tensor, largest: float) -> Tensor:
    """Attack images in one step, for adversarial training.

    The images first get uniform noise in `[-2 * largest, 2 * largest]`. Then each pixel moves by `largest` along the
    sign of the gradient of the cross-entropy. The noise keeps a classifier from learning to mislead a single step
    (N-FGSM, de Jorge et al., 2022, arXiv 2202.01181). The cost is that of FGSM (Wong et al., 2020, arXiv 2001.03994).

    Args:
        classifier: the classifier under attack. Its weights get no gradient here.
        images: the images, `(B, C, H, W)` in [0, 1].
        labels: their own labels, int64 `(B,)`.
        largest: the size of the step, in the range [0, 1] of the images. For example, 4 / 255 is 4 grey levels of 255.

    Returns:
        The attacked images, `(B, C, H, W)` in [0, 1].
    """
    start = images + 2.0 * largest * torch.empty_like(images).uniform_(-1.0, 1.0)
    return (start + largest * _uphill(classifier, start, labels)).clamp(0.0, 1.0)


@torch.inference_mode(False)
def projected_gradient(
    classifier: Classifier, images: Tensor, labels: Tensor, largest: float, steps: int = 10
) -> Tensor:
    """Attack images in many steps, to test how robust a classifier is (PGD, Madry et al., 2017, arXiv 1706.06083).

    Args:
        classifier: the classifier under attack, in evaluation mode.
        images: the images, `(B, C, H, W)` in [0, 1].
        labels: their own labels, int64 `(B,)`.
        largest: the largest change of a pixel, in the range [0, 1] of the images.
        steps: the number of steps. Each moves a pixel by a quarter of `largest`. The start is random.

    Returns:
        The attacked images, `(B, C, H, W)` in [0, 1]. No pixel differs by more than `largest` from that of `images`.
    """
    images, labels = differentiable(images), differentiable(labels)
    low, high = (images - largest).clamp_min(0.0), (images + largest).clamp_max(1.0)
    attacked = images + largest * torch.empty_like(images).uniform_(-1.0, 1.0)
    for _ in range(steps):
        attacked = torch.clamp(attacked, low, high)
        attacked = attacked + 0.25 * largest * _uphill(classifier, attacked, labels)
    return torch.clamp(attacked, low, high)


def differentiable(values: Tensor) -> Tensor:
    """Return a tensor itself, or a copy if it was made in `torch.inference_mode` and can have no gradient."""
    return values.clone() if values.is_inference() else values


def _uphill(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Return the sign of the gradient of the cross-entropy, `(B, C, H, W)`."""
    images = images.detach().clamp(0.0, 1.0).requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(label_loss(classifier(images), labels).sum(), images)
    return gradient.sign()
