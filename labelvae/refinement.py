"""Counterfactuals taken further towards their label by the gradient of a robust guide."""

from __future__ import annotations

import torch
from torch import Tensor

from labelvae.checks import check_count, check_number
from labelvae.frozen import Classifier
from labelvae.inference import evaluation_mode
from labelvae.inputs import check_images, check_labels
from labelvae.terms import label_loss


def refined(
    guide: Classifier, images: Tensor, labels: Tensor, radius: float = 2.0, steps: int = 20, chunk_size: int = 1024
) -> Tensor:
    """Change images a little so that a guide takes them for their labels.

    Gradient descent on the guide's cross-entropy, in steps of equal length, projected to a ball around each image. The
    gradient of a guide trained on attacked images (`ClassifierSettings.adversarial`) draws what a person sees too;
    that of others draws noise (Ganz & Elad, 2021, "BIGRoC", arXiv 2108.03702).

    Args:
        guide: the classifier; it is used in evaluation mode.
        images: counterfactuals `(B, C, H, W)` in [0, 1].
        labels: what they were asked to be, `(B,)`.
        radius: the largest change of an image, the root of its squares' sum; 0 changes nothing.
        steps: steps of 2.5 * radius / steps.
        chunk_size: images at a time.

    Returns:
        `(B, C, H, W)` in [0, 1], on the device of `images`.

    Raises:
        ValueError: an argument out of range; images or labels of another shape, type or range.
    """
    check_number("radius", radius, at_least=0)
    check_count("steps", steps)
    check_count("chunk_size", chunk_size)
    check_images(images, guide.image_shape)
    labels = check_labels(labels, guide.num_classes, len(images))
    with evaluation_mode(guide) as network:
        parts = [
            _refined(network, some.to(guide.device), asked.to(guide.device), radius, steps).to(images.device)
            for some, asked in zip(images.split(chunk_size), labels.split(chunk_size), strict=True)
        ]
    return torch.cat(parts)


def _refined(guide: Classifier, images: Tensor, labels: Tensor, radius: float, steps: int) -> Tensor:
    now = images
    for _ in range(steps):
        now = now.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(label_loss(guide(now), labels).sum(), now)
        change = now.detach() - 2.5 * radius / steps * gradient / _length(gradient) - images
        now = (images + change * (radius / _length(change)).clamp_max(1.0)).clamp(0.0, 1.0)
    return now.detach()


def _length(images: Tensor) -> Tensor:
    """The root of the sum of squares, `(B, 1, 1, 1)`."""
    length: Tensor = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True)
    return length.clamp_min(1e-12)
